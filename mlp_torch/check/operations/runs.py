"""The runs that kernels fail in: one row a run, how it is made, and the words where it fails."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations import layouts
from mlp_torch.check.operations.calls import FROZEN_LEAF, Graph, Raised, Side, poisoned
from mlp_torch.check.operations.floor import TOO_FAR_FROM_ZERO, Floor, Standard, of, standard
from mlp_torch.check.operations.judging import near
from mlp_torch.check.operations.tensors import differentiable, raised, same
from mlp_torch.check.report import Fault

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
        exact = [None if g is None or u is None else g.to(u.dtype) for g, u in zip(up, self.standard.up, strict=True)]
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
    except Raised:
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
    except Raised as error:
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
        except Raised:
            return
        exact = all(4 * noise <= of(TOO_FAR_FROM_ZERO, floor.unit) * there.scale for noise in floor.noise.values())
        if not finite or not exact or any(m.any() for m in floor.kinked.values()):
            return
        graph = bench.side.forward(given, bench.wanted, layout)
        if [tuple(o.shape) for o in graph.out] != [tuple(o.shape) for o in there.graph.out]:
            return
        moved = Bench(bench.side, there, floor, given, bench.wanted)
        yield Trial(bench.side.gradients(graph, moved.up(graph)), there.true, floor)

    return run


def _broadcast(bench: Bench) -> list[Any] | None:
    made = [layouts.broadcast(v) if differentiable(v) else None for v in bench.values]
    if all(m is None for m in made):
        return None
    return [v if m is None else m for v, m in zip(bench.values, made, strict=True)]


def _strides_kept(v: Tensor) -> Tensor:
    return v.detach().as_strided(v.shape, v.stride()) if 0 in v.stride() else same(v)


def batch_of(rows: int) -> Callable[[Bench], list[Any] | None]:
    """The first rows of all that has as many; None where a length is ambiguous, which no kernel need survive."""

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
        given = [same(v[:rows]) if isinstance(v, Tensor) and v.ndim and v.shape[0] == n else v for v in bench.values]
        try:  # on the CPU, where an index out of range is an error and not the end of the process
            side = bench.standard.side
            out = side.forward([raised(v.cpu() if isinstance(v, Tensor) else v) for v in given], bench.wanted).out
        except Raised:
            return None
        before = bench.standard.graph.out
        return given if all(o.ndim == b.ndim for o, b in zip(out, before, strict=False)) else None

    return values


@dataclass(frozen=True)
class Run:
    """`when` follows "wrong only"; `why` is said where the suspected arrays are the author's ("" else).

    `optional`: a function that raises here refuses what it need not take.
    """

    name: str
    kind: str
    make: Runner
    when: str
    why: str = ""
    always: str = ""
    optional: bool = False


READ = "it is read as if it were contiguous"
RUNS = (
    Run("expanded upstream", "upstream_layout", upstream(layouts.expanded),
        "for an expanded upstream, as .sum().backward() hands down", READ),
    Run("broadcast upstream", "upstream_layout", upstream(layouts.rows),
        "for an upstream broadcast along the first axis, as .mean(0) hands down", READ),
    Run("strided upstream", "upstream_layout", upstream(layouts.strided),
        "for a strided upstream, as [..., ::2]", READ),
    Run("offset upstream", "upstream_layout", upstream(layouts.offset),
        "for an upstream that begins inside its memory", ""),
    Run("transposed upstream", "upstream_layout", upstream(layouts.transposed),
        "for a transposed upstream", READ),
    Run("channels-last upstream", "upstream_layout", upstream(layouts.channels_last),
        "for an upstream in channels-last format", READ),
    Run("zero upstream", "upstream_layout", upstream(layouts.zero), "where the upstream is 0"),
    Run("strided inputs", "input_layout", laid_out(layouts.strided), "for strided inputs", optional=True),
    Run("offset inputs", "input_layout", laid_out(layouts.offset),
        "for inputs that begin inside their memory", optional=True),
    Run("transposed inputs", "input_layout", laid_out(layouts.transposed),
        "for transposed inputs", optional=True),
    Run("channels-last inputs", "input_layout", laid_out(layouts.channels_last),
        "for inputs in channels-last format", optional=True),
    Run("broadcast inputs", "input_layout", elsewhere(_broadcast, _strides_kept),
        "for expanded inputs", optional=True),
    Run("subsets of requires_grad", "requires_grad_subset", subsets, "where only {label} needs a gradient"),
    Run("backward twice", "backward_twice", twice,
        "in a second backward on one graph (retain_graph=True)",
        always="the first one changes what forward saved"),
    Run("two forwards, then backward", "two_forwards", two_forwards,
        "where another forward comes between forward and backward",
        "the other forward's values are used: what backward needs lies outside of its ctx"),
    Run("inputs changed in between", "changed_inputs", changed,
        "where inputs are changed in place between forward and backward",
        always="nothing is raised: ctx.save_for_backward would"),
    Run("one output used", "unused_output", alone, "where {label} alone is used"),
    Run("uninitialized memory", "uninitialized_memory", uninitialized,
        "where fresh memory holds NaN", always="entries of torch.empty are read before they are written"),
    Run("batch of 1", "batch_size", elsewhere(batch_of(1)), "for a batch of 1", optional=True),
    Run("batch of 0", "batch_size", elsewhere(batch_of(0)), "for a batch of 0", optional=True),
)  # fmt: skip


def outcome(run: Run, bench: Bench, reference: Callable[[], Bench], tag: str) -> tuple[str, Fault | None]:
    """(what the report lists, the fault): "right", "" where the run does not apply, "refused: …", "wrong".

    Nobody is held to a run that the reference fails in: as_strided reads its memory by definition.
    """
    said, fault = _made_run(run, bench, tag)
    if fault and _made_run(run, reference(), tag)[0] not in ("right", ""):
        return "not judged: the reference fails too", None
    return said, fault


def _made_run(run: Run, bench: Bench, tag: str) -> tuple[str, Fault | None]:
    made = 0
    label = ""
    try:
        for trial in run.make(bench):
            made += 1
            label = trial.label
            wrong = [n for n, h in trial.hand.items() if not near(h, trial.true[n], trial.floor, n, trial.weight)]
            if wrong:
                return "wrong", _fault(run, trial, wrong, tag)
    except Raised as error:
        if error.who != bench.side.who or FROZEN_LEAF in str(error.error):
            return "", None
        if run.optional:
            return f"refused: {error.line}", None
        when = run.when.format(label=label or "one input")
        text = f"raises only {when}: {error.line}"
        return "wrong", Fault(run.kind, None, (error.stage,), text, f"{tag}: {error.stage}")
    return ("right" if made else ""), None


def _fault(run: Run, trial: Trial, wrong: list[str], tag: str) -> Fault:
    why = run.always
    if run.why:
        try:
            suspected = trial.suspect()
        except Raised:
            suspected = None
        if suspected and all(near(trial.hand[n], suspected[n], trial.floor, n, trial.weight) for n in wrong):
            why = run.why
    h, t = trial.hand[wrong[0]], trial.true[wrong[0]]
    evidence = f"{tag}: shape {h.shape}, true {t.shape}"
    if h.shape == t.shape:
        with np.errstate(all="ignore"):
            gap = np.where(np.isfinite(h), np.abs(h - t), np.inf)
        at = np.unravel_index(int(np.argmax(gap)), gap.shape) if gap.size else ()
        place = f"[{', '.join(str(int(i)) for i in at)}]"
        evidence = f"{tag}: {wrong[0]}{place} is {h[at]:.6g}, the true one {t[at]:.6g}"
    text = f"wrong only {run.when.format(label=trial.label)}" + (f": {why}" if why else "")
    return Fault(run.kind, None, tuple(wrong), text, evidence)
