"""Runs with other inputs: a forward in between, inputs written into, other values, another batch size."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations import layouts
from mlp_torch.check.operations.bench import Bench, Runner, Trial, made
from mlp_torch.check.operations.calls import Graph, RaisedError
from mlp_torch.check.operations.floor import TOO_FAR_FROM_ZERO, of, own
from mlp_torch.check.operations.tensors import differentiable, raised, same

# what autograd says where something that backward needs was written into: a saved tensor, a view's base
CHANGED = ("modified by an inplace operation", "has been modified inplace")


def laid_out(make: layouts.Make) -> Runner:
    def run(bench: Bench) -> Iterator[Trial]:
        for_each = [v for v in bench.values if differentiable(v)]
        if any(make(v) is not None for v in for_each):
            graph = bench.graph(layout=lambda v: made(make, v).detach())
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
            label = f"{' and '.join(names)} {'needs' if size == 1 else 'need'}"
            nothing = {n: 0 * bench.standard.true[n] for n in hand} if bench.side.reentrant else None
            yield bench.trial(hand, label=label, suspect=partial(lambda some: some, nothing))


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
