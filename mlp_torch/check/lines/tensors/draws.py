"""One set of inputs and upstream: what the author's code makes of it, and what is true."""

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlp_torch.check.lines.draws import Draw, anew
from mlp_torch.check.lines.program import UnavailableError
from mlp_torch.check.lines.tensors.program import TensorProgram, total
from mlp_torch.check.lines.tensors.truth import truths
from mlp_torch.check.operations.calls import RaisedError, Side
from mlp_torch.check.operations.tensors import differentiable, to_numpy

NEAR = 1e-7


@dataclass
class TensorDraw(Draw):
    """`closed`: nothing is known of the events before the backward pass."""

    closed: bool = False

    def backward(self, site: int) -> list[int]:
        ks = super().backward(site)
        return [k for k in ks if self.order[site, k] >= self.started] if self.closed else ks


def drawn(program: TensorProgram, reference: Side, values: Sequence[Any], seed: int) -> TensorDraw:
    """The draw at these leaves. Raises UnavailableError where the two forward passes differ there."""
    graph = reference.forward(values, program.wanted)
    up = upstreams(graph.out, graph.roots, seed)
    if not any(u is not None for u in up):
        raise UnavailableError("no gradient comes back from the reference")
    loss = float(total([o.detach() for o in graph.out], up))
    found = reference.backward(graph, up)
    true = dict(zip(program.names, map(to_numpy, found), strict=True))
    parameters = {n: to_numpy(values[i]).copy() for n, i in zip(program.names, program.wanted, strict=True)}
    data = (tuple(values), tuple(up))
    mine, hand = program.run(parameters, data, recording=True)
    if program.recorder.short and not program.wide:
        program.wide = True
        mine, hand = program.run(parameters, data, recording=True)
    if not abs(mine - loss) <= NEAR * max(abs(loss), 1e-12):
        raise UnavailableError("the two forward passes differ in float64")
    events, started, fallen = program.recorder.events, program.started, program.fallen
    truth = truths(program, parameters, data, mine, true)
    scale = max([1e-2, *(float(np.linalg.norm(t)) for t in true.values())])
    floors = dict.fromkeys(true, 1e-11 * scale)
    return TensorDraw(
        parameters, data, mine, hand, true, truth or {}, events, floors, started=started, fallen=fallen,
        closed=truth is None,
    )  # fmt: skip


def upstreams(out: Sequence[Tensor], roots: Sequence[int], seed: int) -> list[Tensor | None]:
    """Random numbers for every output that a gradient comes back from."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.device) for o in out]
    return [u if i in roots and differentiable(out[i]) else None for i, u in enumerate(drawn)]


def elsewhere(program: TensorProgram, reference: Side, values: Sequence[Any], seed: int) -> list[TensorDraw]:
    """Another draw of the same shapes: whole numbers change places and floats that are no tensors grow, where
    both functions take them.
    """
    for integers, numbers in itertools.product((True, False), repeat=2):
        generator = np.random.default_rng(seed)
        others = [_anew(v, i in program.wanted, generator, integers) for i, v in enumerate(values)]
        if numbers:
            others = [1.25 * v if type(v) is float else v for v in others]
        with contextlib.suppress(UnavailableError, RaisedError):
            found = drawn(program, reference, others, seed)
            if np.isfinite(found.loss) and found.wrong:
                return [found]
    return []


def _anew(v: Any, judged: bool, generator: np.random.Generator, integers: bool) -> Any:
    """A tensor drawn anew; of those that are not judged only whole numbers, in other places."""
    if not isinstance(v, Tensor) or v.is_complex() or not (judged or integers):
        return v
    if v.is_floating_point() and not judged:
        return v
    array = to_numpy(v) if v.is_floating_point() else v.cpu().numpy()
    other = anew(array, generator, integers)
    if judged and np.array_equal(other, array):  # whole numbers that are judged are numbers like others
        other = array + 0.3 * (float(np.std(array)) or 1.0) * generator.normal(size=array.shape)
    return torch.from_numpy(np.ascontiguousarray(other)).to(v.device)
