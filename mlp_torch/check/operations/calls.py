"""Calls of the two functions: under one seed, forward and backward, and what they raise in one line."""

import contextlib
import functools
import io
import random
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations.tensors import (
    Arguments,
    Layout,
    differentiable,
    equal,
    outputs_of,
    placed,
    same,
    to_numpy,
)

SEED = 0
# what is drawn in a backward is never what its forward drew, nor what another backward draws
BACKWARD, ANOTHER = 1 << 20, 1 << 21
FROZEN_LEAF = "a leaf Variable that requires grad"
# torch.utils.checkpoint(use_reentrant=True) takes .backward() alone
REENTRANT = "incompatible with .grad()"


class RaisedError(Exception):
    """What one of the functions raised: `stage` is "forward" or "backward", `line` what there is to say."""

    def __init__(self, who: str, stage: str, error: BaseException) -> None:
        first = (str(error).strip().splitlines() or [""])[0]
        self.who, self.stage, self.error = who, stage, error
        self.line = f"{type(error).__name__}: {first[:240]}".removesuffix(": ") + _where(error)
        super().__init__(self.line)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    others = str(Path(__file__).parent), str(Path(torch.__file__).parent), "<"
    own = [f for f in frames if not f.filename.startswith(others)]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno}, in {own[-1].name})" if own else ""


@dataclass
class Graph:
    """One forward pass: its leaves, what it gave, and which outputs a gradient can come back from."""

    leaves: list[Any]
    wanted: list[int]
    names: list[str]
    out: list[Tensor]
    roots: list[int] = field(default_factory=list)
    again: Callable[[], "Graph"] | None = None  # the same pass once more


@dataclass(frozen=True)
class Side:
    """One of the two functions; `inplace`: it writes into its inputs, which are given as copies then.

    `reentrant` holds True once a checkpoint inside has refused torch.autograd.grad.
    """

    who: str
    function: Callable[..., Any]
    arguments: Arguments
    inplace: bool = False
    reentrant: list[bool] = field(default_factory=list)

    def into_copies(self) -> "Side":
        return replace(self, inplace=True)

    def forward(
        self, values: Sequence[Any], wanted: Sequence[int], layout: Layout = same, seed: int = SEED
    ) -> Graph:
        leaves = placed(values, wanted, layout)
        given = [v.clone() if self.inplace and differentiable(v) else v for v in leaves]
        states = [(v, v.get_state()) for v in leaves if isinstance(v, torch.Generator)]
        seeded(seed)
        try:
            with quiet():
                names, out = outputs_of(self.arguments.call(self.function, given))
        except Exception as error:
            raise RaisedError(self.who, "forward", error) from error
        finally:
            for generator, state in states:
                generator.set_state(state)
        roots = [i for i, o in enumerate(out) if o.requires_grad]
        asked = [i for i in wanted if leaves[i].requires_grad]
        return Graph(leaves, asked, names, out, roots, lambda: self.forward(values, wanted, layout, seed))

    def backward(
        self,
        graph: Graph,
        up: Sequence[Tensor | None],
        retain: bool = False,
        create: bool = False,
        seed: int = BACKWARD,
    ) -> list[Tensor]:
        """Gradients of `graph.wanted`; None in `up` is an output that nothing is made of."""
        if not graph.wanted or all(g is None or i not in graph.roots for i, g in enumerate(up)):
            return [torch.zeros_like(graph.leaves[i]) for i in graph.wanted]
        states = [(v, v.get_state()) for v in graph.leaves if isinstance(v, torch.Generator)]
        for generator, _ in states:
            generator.manual_seed(seed)
        seeded(seed)
        try:
            with quiet():
                found = self._differentiated(graph, up, retain, create)
        except Exception as error:
            if REENTRANT in str(error) and not create and not self.reentrant and graph.again:
                self.reentrant.append(True)
                fresh = graph.again()  # half of the graph is used up
                graph.leaves, graph.out = fresh.leaves, fresh.out
                return self.backward(graph, up, retain, seed=seed)
            raise RaisedError(self.who, "backward", error) from error
        finally:
            for generator, state in states:
                generator.set_state(state)
        leaves = [graph.leaves[i] for i in graph.wanted]
        return [torch.zeros_like(v) if g is None else g for g, v in zip(found, leaves, strict=True)]

    def _differentiated(
        self, graph: Graph, up: Sequence[Tensor | None], retain: bool, create: bool
    ) -> Sequence[Tensor | None]:
        leaves = [graph.leaves[i] for i in graph.wanted]
        kept = [(o, g) for i, (o, g) in enumerate(zip(graph.out, up, strict=True))
                if g is not None and i in graph.roots]  # fmt: skip
        out, given = [o for o, _ in kept], [g for _, g in kept]
        if not self.reentrant or create:
            return torch.autograd.grad(
                out, leaves, given, allow_unused=True, create_graph=create, retain_graph=retain or create
            )
        for v in leaves:
            v.grad = None
        torch.autograd.backward(out, given, retain_graph=retain)
        return [v.grad for v in leaves]

    def gradients(
        self, graph: Graph, up: Sequence[Tensor | None], retain: bool = False, seed: int = BACKWARD
    ) -> dict[str, Array]:
        found = self.backward(graph, up, retain, seed=seed)
        return {self.arguments.names[i]: to_numpy(g) for i, g in zip(graph.wanted, found, strict=True)}


def seeded(number: int = SEED) -> None:
    """The same numbers for whoever draws next."""
    # torch.manual_seed asks every kind of device, started or not, which takes longer than a small operation
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own, without types
        torch.cuda.manual_seed_all(number)
    np.random.seed(number)
    random.setstate(_state(number))


@functools.cache
def _state(number: int) -> Any:
    """What random.seed makes of a number, which takes longer than a small operation."""
    return random.Random(number).getstate()


@contextlib.contextmanager
def kept_state() -> Iterator[None]:
    """Seeds, gradient mode and warnings are the caller's again afterwards."""
    states = np.random.get_state(), random.getstate()
    with (
        torch.random.fork_rng(),
        torch.inference_mode(False),
        torch.enable_grad(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            np.random.set_state(states[0])
            random.setstate(states[1])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The two dozen calls print what one call would: nothing."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def is_random(side: Side, values: list[Any]) -> bool:
    """Another seed gives other outputs."""
    try:
        first, *others = (side.forward(values, [], seed=seed).out for seed in range(4))
    except RaisedError:
        return False
    return any(not equal(a, b) for out in others for a, b in zip(first, out, strict=True))
