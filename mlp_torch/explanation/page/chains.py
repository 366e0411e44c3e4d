"""What can be clicked: every entry of the drawn parameters, every unit, every stage, each with its chain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from manual.structure.trace import Stage, Trace
from mlp_torch.explanation.chain import Explanation, Factor, explain, to_units
from mlp_torch.explanation.factors import LAST
from mlp_torch.explanation.killer import Killer
from mlp_torch.explanation.page.numbers import number, pair
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.verdicts import compare_traces

KINDS = {"W": "weight", "b": "bias", "gamma": "scale", "beta": "shift", "slope": "slope"}
FIRST = 16  # samples whose values a unit shows


@dataclass(frozen=True)
class Moment:
    """One state of the network: what it is called, its two traces, and the instrument's report on both."""

    label: str
    ours: Trace
    theirs: Trace

    @cached_property
    def report(self) -> ComparisonReport:
        return compare_traces(self.ours, self.theirs)


@dataclass(frozen=True)
class Subject:
    """What is explained: words, the names of inputs and outputs, the entry to begin with.

    `without` names parameters (`b2`) that the network has and the page leaves out.
    """

    title: str
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    entry: tuple[str, tuple[int, ...]] | None = None
    without: frozenset[str] = frozenset()


def depth(trace: Trace) -> int:
    """The number of layers."""
    return max(s.layer for s in trace)


def delta(column: int) -> str:
    """The stage that holds ∂L/∂z of that layer, ∂L/∂x of the inputs."""
    return f"dz{column}" if column else "dx"


def parts(name: str) -> tuple[str, int]:
    """Letters and layer: ("dz", 2) of `dz2`, ("dx", 0) of `dx`."""
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def is_backward(stage: Stage) -> bool:
    return stage.name.startswith("d")


@dataclass(frozen=True)
class Chain:
    """One thing that can be clicked: an entry of a parameter, a unit, or a stage."""

    id: str
    kind: str
    entry: str
    factors: tuple[Factor, ...]
    column: int = 0
    to: int = 0
    source: int = -1
    stages: tuple[str, ...] = ()
    explanation: Explanation | None = None

    @cached_property
    def killer(self) -> Killer | None:
        """The factor that kills an entry's gradient, if one does."""
        return self.explanation.killer if self.explanation else None

    @property
    def kills(self) -> int:
        """Its place among the factors; -1 where there is none."""
        stages = [f.stage for f in self.factors]
        return stages.index(self.killer.stage) if self.killer else -1

    def table(self, places: Sequence[int], drawn: Sequence[Sequence[int]]) -> dict[str, Any]:
        """What stays of it. `path` are the drawn units [column, unit] that its factors go through."""
        e = self.explanation
        passed = [(parts(f.denominator), f.units) for f in self.factors if f.rule != LAST]
        path = {(layer, unit) for (_, layer), units in passed for unit in units}
        return {
            "id": self.id,
            "kind": self.kind,
            "entry": self.entry,
            "name": e.name if e else "",
            "factors": list(places),
            "reused": sum(f.reused for f in self.factors),
            "above": f"∂L/∂W{self.factors[-1].layer + 1}" if self.factors else "",
            "column": self.column,
            "to": self.to,
            "from": self.source,
            "stages": list(self.stages),
            "path": sorted(p for p in path if p[1] in drawn[p[0]]),
        }

    def numbers(self, ours: Trace, theirs: Trace) -> list[Any]:
        """Of an entry what `answerEntry` shows, of a unit its column of each stage."""
        e = self.explanation
        if e is None:
            return [pair(ours[s][:FIRST, self.to], theirs[s][:FIRST, self.to], FIRST) for s in self.stages]
        value = ours[e.symbol][e.index]
        gap = abs(e.product - e.manual)
        found = [number(v) for v in (value, e.manual, e.autograd, e.product, e.tolerance, gap)]
        return [*found, e.multiplies, e.row.verdict, e.row.equal, e.row.size, self.kills]


def chains(moment: Moment, subject: Subject, drawn: Sequence[Sequence[int]]) -> Iterator[Chain]:
    """Every chain of the scene: drawn units, entries of the parameters between them, stages."""
    ours, theirs, report = moment.ours, moment.theirs, moment.report
    for i, units in enumerate(drawn):
        stages = tuple(s.name for s in ours if _of_units(s, i, ours))
        stages = stages if i else ("x", *stages)
        for j in units:
            factors = to_units(ours, theirs, delta(i), [j], report)
            name = f"a{i}[{j}]" if i else f"x[{j}]"
            yield Chain(name, "unit", f"{delta(i)[1:]}[{j}]", factors, i, j, stages=stages)
    for s in ours:
        if s.parameter is None or s.name[1:] in subject.without:
            continue
        for index in _entries(s, drawn):
            e = explain(ours, theirs, s.parameter, index, "", report)
            kind = KINDS[parts(e.symbol)[0]]
            source = index[1] if len(index) == 2 else -1
            yield Chain(e.entry, kind, e.entry, e.factors, s.layer, index[0], source, explanation=e)
    for s in ours:
        if not is_backward(s):
            yield Chain(s.name, "stage", s.name, (), s.layer)
            continue
        end = s if s.parameter is None else ours.stage(s.reads[0])
        factors = to_units(ours, theirs, end.name, range(ours[end.name].shape[1]), report)
        yield Chain(s.name, "stage", factors[-1].denominator, factors, s.layer)


def _of_units(stage: Stage, column: int, trace: Trace) -> bool:
    """Whether a stage has a column for each unit of a layer (or of x): its z, n, a, h and their gradients."""
    if stage.kind == "loss_gradient":
        return column == depth(trace)
    letters, layer = parts(stage.name)
    return layer == column and letters.removeprefix("d") in ("x", "z", "n", "a", "h")


def _entries(stage: Stage, drawn: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """The indices of a parameter's gradient whose units are drawn."""
    if stage.kind == "slope_gradient":
        yield (0,)
        return
    for j in drawn[stage.layer]:
        if stage.kind == "linear_backward_weight":
            yield from ((j, k) for k in drawn[stage.layer - 1])
        else:
            yield (j,)
