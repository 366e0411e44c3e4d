"""How each run is made: a runner takes the bench, and yields gradients with what they are held against."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations import layouts
from mlp_torch.check.operations.calls import Graph, Side
from mlp_torch.check.operations.floor import Floor, U, own
from mlp_torch.check.operations.judging import near
from mlp_torch.check.operations.memory import filled
from mlp_torch.check.operations.standard import Standard, standard, upstreams
from mlp_torch.check.operations.tensors import alike, differentiable, same

SINGLE = {torch.float64: torch.float32, torch.complex128: torch.complex64}
MANY = 8  # outputs, beyond which only the first and the last are left out or taken alone


@dataclass(frozen=True)
class Trial:
    """Gradients of one run, what they are held against, and what would be there if `why` were the cause."""

    hand: Mapping[str, Array]
    true: Mapping[str, Array]
    floor: Floor
    weight: float = 1.0
    label: str = ""
    remark: str = ""
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
        return self.cast(graph, self.standard.up, make)

    def cast(
        self, graph: Graph, up: Sequence[Tensor | None], make: layouts.Make = same
    ) -> list[Tensor | None]:
        return [
            None if u is None or not differentiable(o) else made(make, u.to(o.dtype))
            for u, o in zip(up, graph.out, strict=True)
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


def some_outputs(bench: Bench) -> Iterator[Trial]:
    """Every choice of up to three outputs; each alone and all but one beyond; of many, the first and last."""
    graph = bench.graph()
    roots, count = graph.roots, len(graph.roots)
    sizes = range(1, count) if count <= 3 else (1, count - 1)
    choices = [some for size in sizes for some in combinations(roots, size)]
    for some in choices if count <= MANY else (roots[:1], roots[-1:], roots[1:], roots[:-1]):
        graph = bench.graph()
        up = [g if k in some else None for k, g in enumerate(bench.up(graph))]
        hand, true = bench.side.gradients(graph, up), bench.true(up)
        zeros = [g if k in some or g is None else torch.zeros_like(g) for k, g in enumerate(bench.up(graph))]
        if all(np.array_equal(t, true[n]) for n, t in bench.true(zeros).items()):
            # else the reference itself takes no gradient for another thing than 0, as native_group_norm does
            label = f"{' and '.join(graph.names[k] for k in some)} alone {'is' if len(some) == 1 else 'are'}"
            yield Trial(hand, true, bench.floor, 1.0, label=label)


def redrawn(bench: Bench) -> Iterator[Trial]:
    """Other numbers, the opposite sign; of several outputs, some far smaller than others."""
    again = upstreams(bench.standard.graph.out, seed=1, steps=1 << 40)  # digits that a cast would lose
    base = bench.standard.up
    given = {
        "that is drawn again": again,
        "of the opposite sign": [None if u is None else -u for u in base],
        "that is small for some outputs": [
            None if u is None else u * 2.0 ** (-10 * (k % 2)) for k, u in enumerate(again)
        ],
        "that is small for the other outputs": [
            None if u is None else u * 2.0 ** (-10 * (1 - k % 2)) for k, u in enumerate(again)
        ],
    }
    for label, some in given.items():
        if "outputs" in label and len(bench.standard.graph.roots) < 2:
            continue
        graph = bench.graph()
        up = bench.cast(graph, some)
        kept = [None if g is None else same(g) for g in up]
        true = bench.true(kept)
        trial = Trial(bench.side.gradients(graph, up), true, bench.floor, 1.0, label=label)
        if not _is_right(trial):
            trial = replace(trial, floor=_under(bench, some, true))
        yield _in_single(bench, trial, kept) or trial


def _is_right(trial: Trial) -> bool:
    return all(near(h, trial.true[n], trial.floor, n) for n, h in trial.hand.items())


def _under(bench: Bench, up: list[Tensor | None], true: Mapping[str, Array]) -> Floor:
    """The floor with what rounding does under another upstream, of the author too where that is asked for."""
    there = replace(bench.standard, up=up, true=dict(true), moved={}, outputs={}, cancelling=None)
    more, base = there.floor(bench.floor.unit), bench.floor
    floor = replace(base, noise={n: max(v, more.noise[n]) for n, v in base.noise.items()})
    rounding = own(bench.side, bench.values, there) if bench.wide else None
    return rounding.widened(floor, true) if rounding else floor


def _in_single(bench: Bench, trial: Trial, up: Sequence[Tensor | None]) -> Trial | None:
    """The trial at float32's precision, where further digits of the upstream change nothing: it is cast."""
    if bench.floor.unit > U or _is_right(trial):
        return None
    graph = bench.graph()
    short = [None if g is None else g.to(SINGLE.get(g.dtype, g.dtype)).to(g.dtype) for g in up]
    hand = bench.side.gradients(graph, short)
    if not all(alike(h, trial.hand[n]) for n, h in hand.items()):
        return None
    return replace(trial, floor=bench.standard.floor(2.0**-23), remark="the upstream is cast to float32")


def uninitialized(bench: Bench) -> Iterator[Trial]:
    with filled(math.nan):
        graph = bench.graph()
        hand = bench.side.gradients(graph, bench.up(graph))
    yield bench.trial(hand)
