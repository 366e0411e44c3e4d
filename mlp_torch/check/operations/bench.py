"""How each run is made: a runner takes the bench, and yields gradients with what they are held against."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations import layouts
from mlp_torch.check.operations.calls import Graph, Side, poisoned
from mlp_torch.check.operations.floor import Floor
from mlp_torch.check.operations.standard import Standard, standard
from mlp_torch.check.operations.tensors import differentiable, same


@dataclass(frozen=True)
class Trial:
    """Gradients of one run, what they are held against, and what would be there if `why` were the cause."""

    hand: Mapping[str, Array]
    true: Mapping[str, Array]
    floor: Floor
    weight: float = 1.0
    label: str = ""
    suspect: Callable[[], Mapping[str, Array] | None] = lambda: None


@dataclass(frozen=True)
class Bench:
    """The author's function at the inputs given, its base run right: what every run starts from."""

    side: Side
    standard: Standard
    floor: Floor
    values: list[Any]
    wanted: list[int]
    wide: bool = False  # the floor holds the author's own rounding

    def graph(self, wanted: Sequence[int] | None = None, layout: Any = same) -> Graph:
        return self.side.forward(self.values, self.wanted if wanted is None else wanted, layout)

    def up(self, graph: Graph, make: layouts.Make = same) -> list[Tensor | None]:
        """The random upstream in the dtype of each output, a fresh copy laid out by `make`."""
        return [
            None if u is None or not differentiable(o) else made(make, u.to(o.dtype))
            for u, o in zip(self.standard.up, graph.out, strict=True)
        ]

    def true(self, up: Sequence[Tensor | None]) -> Mapping[str, Array]:
        exact = [
            None if g is None or u is None else g.to(u.dtype)
            for g, u in zip(up, self.standard.up, strict=True)
        ]
        return self.standard.side.gradients(self.standard.graph, exact, retain=True)

    def weight(self, up: Sequence[Tensor | None]) -> float:
        """‖up‖ against the random upstream's."""

        def size(some: Sequence[Tensor | None]) -> float:
            return float(sum(float(g.abs().double().square().sum()) for g in some if g is not None)) ** 0.5

        return size(up) / max(size(self.standard.up), 1e-300)

    def elsewhere(self, values: list[Any]) -> Standard:
        return standard(self.standard.side, values, self.wanted, self.standard.inexact)

    def trial(self, hand: Mapping[str, Array], **more: Any) -> Trial:
        return Trial(hand, {n: self.standard.true[n] for n in hand}, self.floor, **more)


def made(make: layouts.Make, v: Tensor) -> Tensor:
    laid = make(v)
    return same(v) if laid is None else laid


Runner = Callable[[Bench], Iterator[Trial]]


def upstream(make: layouts.Make) -> Runner:
    def run(bench: Bench) -> Iterator[Trial]:
        graph = bench.graph()
        if not any(make(graph.out[i].detach()) is not None for i in graph.roots):
            return
        up = bench.up(graph, make)
        kept = [None if g is None else same(g) for g in up]
        hand = bench.side.gradients(graph, up)

        def suspect() -> Mapping[str, Array] | None:
            read = [None if g is None else layouts.as_if_contiguous(g) for g in up]
            return bench.true([None if r is None else same(r) for r in read])

        yield Trial(hand, bench.true(kept), bench.floor, bench.weight(kept), suspect=suspect)

    return run


def sparse(bench: Bench) -> Iterator[Trial]:
    """A row of zeros shows who takes an entry of the upstream for a mask."""
    graph = bench.graph()
    for label, make in layouts.SPARSE.items():
        if any(make(graph.out[i].detach()) is not None for i in graph.roots):
            up = bench.up(graph, make)
            true = bench.true(up)
            # all of the noise may lie where the upstream is not 0
            yield Trial(bench.side.gradients(graph, up), true, bench.floor, 1.0, label)
            graph = bench.graph()


def twice(bench: Bench) -> Iterator[Trial]:
    """The second time with another upstream."""
    graph = bench.graph()
    bench.side.gradients(graph, bench.up(graph), retain=True)
    up = bench.up(graph, lambda v: -0.5 * v.flatten().roll(1).view(v.shape))
    kept = [None if g is None else same(g) for g in up]
    hand = bench.side.gradients(graph, up)
    # rolled, all of the noise may lie where the upstream has become large
    yield Trial(hand, bench.true(kept), bench.floor, 1.0, suspect=lambda: bench.standard.true)


def alone(bench: Bench) -> Iterator[Trial]:
    """Only one of several outputs is used."""
    graph = bench.graph()
    if len(graph.roots) < 2:
        return
    for i in dict.fromkeys((graph.roots[0], graph.roots[-1])):
        graph = bench.graph()
        up = [g if k == i else None for k, g in enumerate(bench.up(graph))]
        hand, true = bench.side.gradients(graph, up), bench.true(up)
        zeros = [g if k == i or g is None else torch.zeros_like(g) for k, g in enumerate(bench.up(graph))]
        if all(np.array_equal(t, true[n]) for n, t in bench.true(zeros).items()):
            # else the reference itself takes no gradient for another thing than 0, as native_group_norm does
            yield Trial(hand, true, bench.floor, 1.0, label=graph.names[i])


def uninitialized(bench: Bench) -> Iterator[Trial]:
    with poisoned():
        graph = bench.graph()
        hand = bench.side.gradients(graph, bench.up(graph))
    yield bench.trial(hand)
