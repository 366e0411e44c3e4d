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
from mlp_torch.check.operations.own import own
from mlp_torch.check.operations.standard import Standard, standard
from mlp_torch.check.operations.tensors import differentiable, raised, same

# what autograd says where something that backward needs was written into: a saved tensor, a view's base
CHANGED = ("modified by an inplace operation", "has been modified inplace")


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
            yield bench.trial(hand, label=f"{' and '.join(names)} {'needs' if size == 1 else 'need'}")


def twice(bench: Bench) -> Iterator[Trial]:
    """The second time with another upstream."""
    graph = bench.graph()
    bench.side.gradients(graph, bench.up(graph), retain=True)
    up = bench.up(graph, lambda v: -0.5 * v.flatten().roll(1).view(v.shape))
    kept = [None if g is None else same(g) for g in up]
    hand = bench.side.gradients(graph, up)
    # rolled, all of the noise may lie where the upstream has become large
    yield Trial(hand, bench.true(kept), bench.floor, 1.0, suspect=lambda: bench.standard.true)


def _others(bench: Bench) -> list[Any]:
    """Other values of the same shapes, inside any domain that reaches down to 0."""
    return [v * 0.875 if i in bench.wanted else v for i, v in enumerate(bench.values)]


def _other_scalars(values: list[Any]) -> list[Any]:
    return [
        not v if isinstance(v, bool) else v + 1 if isinstance(v, int) else 1.5 * v + 0.125
        if isinstance(v, float) else v
        for v in values
    ]  # fmt: skip


def _forwards(bench: Bench) -> Iterator[tuple[str, list[Any], list[int]]]:
    """(what is other in the forward in between, its values, what needs a gradient in it)."""
    others = _others(bench)
    yield "", others, bench.wanted
    first = bench.values[bench.wanted[0]]
    rows = first.shape[0] if first.ndim else 0
    smaller = batch_of(rows - 1)(bench) if rows > 1 else None
    scalars = _other_scalars(bench.values)
    given = [
        (" with another batch size", smaller),
        (" with other numbers for arguments", scalars if any(
            a is not b for a, b in zip(scalars, bench.values, strict=True)) else None),
    ]  # fmt: skip
    for label, values in given:
        if values is not None:
            try:
                bench.standard.side.forward([raised(v) for v in values], [])
            except RaisedError:
                continue
            yield label, values, bench.wanted
    yield " that needs no gradient", others, []
    if len(bench.wanted) > 1:
        yield " that needs other gradients", others, bench.wanted[:1]


def two_forwards(bench: Bench) -> Iterator[Trial]:
    for label, others, wanted in _forwards(bench):
        first = bench.graph()
        try:
            bench.side.forward(others, wanted)
        except RaisedError:
            continue

        def suspect(label: str = label, others: list[Any] = others) -> Mapping[str, Array] | None:
            return None if label else bench.elsewhere(others).true

        yield bench.trial(bench.side.gradients(first, bench.up(first)), label=label, suspect=suspect)


def changed(outputs: bool) -> Runner:
    """Inputs, labels and indices among them, or outputs are changed in place before backward."""

    def run(bench: Bench) -> Iterator[Trial]:
        if bench.side.inplace:
            return
        graph = bench.graph()
        given = [v for v in graph.leaves if isinstance(v, Tensor)]
        own = {v.untyped_storage().data_ptr() for v in graph.out}
        if own & {v.untyped_storage().data_ptr() for v in given if v.numel()}:
            return  # the output is a view of it: the author gives the input itself away
        for v in graph.out if outputs else given:
            # an index of 0 is inside of whatever it counts
            try:
                v.detach().mul_(0.875 if differentiable(v) else 0)
            except RuntimeError:  # expanded: nobody can write into it
                return
        yield bench.trial(_raises_or(bench, graph))

    return run


def _raises_or(bench: Bench, graph: Graph) -> Mapping[str, Array]:
    """The gradients; the true ones where autograd says that what it needs was changed."""
    try:
        return bench.side.gradients(graph, bench.up(graph))
    except RaisedError as error:
        if any(words in str(error.error) for words in CHANGED):
            return bench.standard.true
        raise


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
        if bench.wide and (rounding := own(bench.side, given, there)):
            floor = rounding.widened(floor, there.true)
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
