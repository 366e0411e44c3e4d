"""How each run is made: a runner takes the bench, and yields gradients with what they are held against."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations import layouts
from mlp_torch.check.operations.calls import Graph, RaisedError, Side, poisoned
from mlp_torch.check.operations.floor import TOO_FAR_FROM_ZERO, Floor, of
from mlp_torch.check.operations.standard import Standard, standard
from mlp_torch.check.operations.tensors import differentiable, raised, same

CHANGED = "modified by an inplace operation"


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

    def graph(self, wanted: Sequence[int] | None = None, layout: Any = same) -> Graph:
        return self.side.forward(self.values, self.wanted if wanted is None else wanted, layout)

    def up(self, graph: Graph, make: layouts.Make = same) -> list[Tensor | None]:
        """The random upstream in the dtype of each output, a fresh copy laid out by `make`."""
        return [
            None if u is None or not differentiable(o) else _made(make, u.to(o.dtype))
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


def _made(make: layouts.Make, v: Tensor) -> Tensor:
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


def laid_out(make: layouts.Make) -> Runner:
    def run(bench: Bench) -> Iterator[Trial]:
        for_each = [v for v in bench.values if differentiable(v)]
        if any(make(v) is not None for v in for_each):
            graph = bench.graph(layout=lambda v: _made(make, v).detach())
            yield bench.trial(bench.side.gradients(graph, bench.up(graph)))

    return run


def subsets(bench: Bench) -> Iterator[Trial]:
    """All where there are at most three; each alone and all but one beyond."""
    every = bench.wanted
    sizes = range(1, len(every)) if len(every) <= 3 else (1, len(every) - 1)
    for size in sizes:
        for some in combinations(every, size):
            names = [bench.side.arguments.names[i] for i in some]
            graph = bench.graph(some)
            hand = bench.side.gradients(graph, bench.up(graph))
            yield bench.trial(hand, label=" and ".join(names))


def twice(bench: Bench) -> Iterator[Trial]:
    graph = bench.graph()
    bench.side.gradients(graph, bench.up(graph), retain=True)
    yield bench.trial(bench.side.gradients(graph, bench.up(graph)))


def _others(bench: Bench) -> list[Any]:
    """Other values of the same shapes, inside any domain that reaches down to 0."""
    return [v * 0.875 if i in bench.wanted else v for i, v in enumerate(bench.values)]


def two_forwards(bench: Bench) -> Iterator[Trial]:
    first = bench.graph()
    others = _others(bench)
    try:
        bench.side.forward(others, bench.wanted)
    except RaisedError:
        return

    def suspect() -> Mapping[str, Array] | None:
        return bench.elsewhere(others).true

    yield bench.trial(bench.side.gradients(first, bench.up(first)), suspect=suspect)


def changed(bench: Bench) -> Iterator[Trial]:
    if bench.side.inplace:
        return
    graph = bench.graph()
    own = {o.untyped_storage().data_ptr() for o in graph.out}
    with torch.no_grad():
        for i in graph.wanted:
            v = graph.leaves[i]
            if v.untyped_storage().data_ptr() in own:
                return  # the output is a view of it: the author gives the input itself away
            v.mul_(0.875)
    try:
        hand = bench.side.gradients(graph, bench.up(graph))
    except RaisedError as error:
        if CHANGED in str(error.error):
            hand = {n: bench.standard.true[n] for n in bench.standard.true}
        else:
            raise
    yield bench.trial(hand)


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


def elsewhere(values: Callable[[Bench], list[Any] | None], layout: Any = same) -> Runner:
    """Other values, with a truth of their own; only where the reference takes them, away from its kinks."""

    def run(bench: Bench) -> Iterator[Trial]:
        given = values(bench)
        if given is None:
            return
        try:
            there = bench.elsewhere(given)
            finite = all(np.isfinite(t).all() for t in there.true.values())
            floor = there.floor(bench.floor.unit)
        except RaisedError:
            return
        exact = all(
            4 * noise <= of(TOO_FAR_FROM_ZERO, floor.unit) * there.scale for noise in floor.noise.values()
        )
        if not finite or not exact or any(m.any() for m in floor.kinked.values()):
            return
        graph = bench.side.forward(given, bench.wanted, layout)
        if [tuple(o.shape) for o in graph.out] != [tuple(o.shape) for o in there.graph.out]:
            return
        moved = Bench(bench.side, there, floor, given, bench.wanted)
        yield Trial(bench.side.gradients(graph, moved.up(graph)), there.true, floor)

    return run


def rows_expanded(bench: Bench) -> list[Any] | None:
    made = [layouts.broadcast(v) if differentiable(v) else None for v in bench.values]
    if all(m is None for m in made):
        return None
    return [v if m is None else m for v, m in zip(bench.values, made, strict=True)]


def expanded(v: Tensor) -> Tensor:
    return v.detach().as_strided(v.shape, v.stride()) if 0 in v.stride() else same(v)


def batch_of(rows: int) -> Callable[[Bench], list[Any] | None]:
    """The first rows of all that has as many; None where the length is ambiguous."""

    def values(bench: Bench) -> list[Any] | None:
        first = bench.values[bench.wanted[0]]
        tensors = [v for v in bench.values if isinstance(v, Tensor)]
        if first.ndim < 2 or first.shape[0] < 2:
            return None
        n = first.shape[0]
        elsewhere = any(n in v.shape[1:] for v in tensors)
        indices = [v for v in tensors if not differentiable(v) and v.numel()]
        if elsewhere or any(not v.ndim or v.shape[0] != n for v in indices):
            return None
        given = [
            same(v[:rows]) if isinstance(v, Tensor) and v.ndim and v.shape[0] == n else v
            for v in bench.values
        ]
        try:  # on the CPU, where an index out of range is an error and not the end of the process
            side = bench.standard.side
            out = side.forward(
                [raised(v.cpu() if isinstance(v, Tensor) else v) for v in given], bench.wanted
            ).out
        except RaisedError:
            return None
        before = bench.standard.graph.out
        return given if all(o.ndim == b.ndim for o, b in zip(out, before, strict=False)) else None

    return values
