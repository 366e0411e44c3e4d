"""What a page shows, read off traces: the drawn units, the chain of each of their entries, all numbers.

A scene has what stays (`units`, `stages`, `factors`, `chains`) and one `moment` an epoch with the numbers
of each, in the same order. A factor that several chains share stands once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.trace import Stage, Trace
from mlp_torch.explain.chain import START, Explanation, Factor, explain, to_units
from mlp_torch.explain.factors import LAST
from mlp_torch.explain.markdown import rule
from mlp_torch.explain.page.mathml import mathml
from mlp_torch.explain.page.numbers import array, number, pair
from mlp_torch.explain.text import held_units
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.verdicts import compare_traces

MOST, SHOWN = 1024, 64  # numbers of a factor at the current moment, and of a whole stage
KINDS = {"W": "weight", "b": "bias", "gamma": "scale", "beta": "shift", "slope": "slope"}


@dataclass(frozen=True)
class Moment:
    """One state of the network: what it is called, and its two traces."""

    label: str
    ours: Trace
    theirs: Trace


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


@dataclass(frozen=True)
class Size:
    """How much is shown: units of a layer, those of largest gradient; numbers of an array at other moments."""

    units: int = 8
    numbers: int = MOST


def scene(moments: Sequence[Moment], subject: Subject, current: int, size: Size) -> dict[str, Any]:
    """All that the page needs of these moments, `current` the one it opens with.

    A layer of too many units is cut to those of largest gradient at the current moment.
    """
    now = moments[current]
    drawn = shown(now, subject, size.units)
    book = _Book()
    tables = [_moment(m, subject, drawn, MOST if m is now else size.numbers, book) for m in moments]
    chains = list(book.chains.values())
    return {
        "title": subject.title,
        "current": current,
        "open": _first(chains, subject),
        "samples": len(now.ours["x"]),
        "columns": _columns(now.ours, drawn, subject),
        "stages": _stages(now.ours),
        "factors": book.factors,
        "lines": book.lines,
        "chains": chains,
        "moments": tables,
        "parameters": sum(g.size for g in now.ours.gradients.values()),
        "embedded": sum(c["kind"] in KINDS.values() for c in chains),
    }


# ------------------------------------------------------------------ what is drawn


def depth(trace: Trace) -> int:
    """The number of layers."""
    return max(s.layer for s in trace)


def _delta(column: int) -> str:
    """The stage that holds ∂L/∂z of that layer, ∂L/∂x of the inputs."""
    return f"dz{column}" if column else "dx"


def _parts(name: str) -> tuple[str, int]:
    """Letters and layer: ("dz", 2) of `dz2`, ("dx", 0) of `dx`."""
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def shown(moment: Moment, subject: Subject, widest: int) -> list[list[int]]:
    """The units of x and of each layer that are drawn: all, or those of largest |∂L/∂z| and the entry's."""
    trace, found = moment.ours, []
    for i in range(depth(trace) + 1):
        gradient = np.abs(trace[_delta(i)]).max(axis=0)
        largest = np.argsort(-gradient, kind="stable")[:widest]
        found.append({int(j) for j in largest})
    if subject.entry is not None:
        name, index = subject.entry
        stage = next(s for s in trace if s.parameter == name)
        if stage.kind != "slope_gradient":  # one slope is all units'
            for column, unit in zip((stage.layer, stage.layer - 1), index, strict=False):
                found[column].add(unit)
    return [sorted(units) for units in found]


def _columns(trace: Trace, drawn: Sequence[Sequence[int]], subject: Subject) -> list[dict[str, Any]]:
    """x and each layer's activations: their stages, and how many units are not drawn."""
    found = []
    for i, units in enumerate(drawn):
        name = f"a{i}" if i else "x"
        names = subject.inputs if i == 0 else subject.outputs if i == len(drawn) - 1 else ()
        size = int(trace[name].shape[1])
        labels = [names[j] if len(names) == size else "" for j in units]
        column = {"name": name, "gradient": _delta(i), "units": units, "labels": labels, "size": size}
        found.append(column)
    return found


def _first(chains: Sequence[Mapping[str, Any]], subject: Subject) -> str:
    wanted = "" if subject.entry is None else f"{subject.entry[0]}[{','.join(map(str, subject.entry[1]))}]"
    return next((c["id"] for c in chains if c["name"] == wanted), str(chains[0]["id"]))


def _stages(trace: Trace) -> list[dict[str, Any]]:
    """Every stage with its shape; a backward stage stands under the forward stage whose gradient it reads."""
    output = trace.stage("loss").reads[0]
    forward = {f"d{s.name}": s.name for s in trace} | {"dloss": output}
    return [
        {
            "name": s.name,
            "layer": s.layer,
            "formula": s.formula,
            "shape": list(np.shape(trace[s.name])),
            "under": "loss" if s.kind == "loss_gradient" else forward.get(s.reads[0], "") * _is_backward(s),
        }
        for s in trace
    ]


def _is_backward(stage: Stage) -> bool:
    return stage.name.startswith("d")


# ------------------------------------------------------------------ chains and their numbers


@dataclass
class _Book:
    """Factors, chains and formulas that stay the same over the moments, each entered once."""

    factors: list[dict[str, Any]] = field(default_factory=list)
    chains: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[tuple[Any, ...], int] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)

    def place(self, factor: Factor, trace: Trace, entry: str) -> int:
        """The factor's number; a new factor is entered."""
        key = (factor.stage, factor.units, factor.rule)
        if key not in self.places:
            self.places[key] = len(self.factors)
            last = factor.rule == LAST
            self.factors.append(
                {
                    "stage": factor.stage,
                    "above": factor.numerator,
                    "below": entry if last else factor.denominator,
                    "label": factor.label,
                    "rule": factor.rule,
                    "shape": list(factor.values.shape),
                    "held": f"d{entry}" if last else held_units(factor, trace),
                }
            )
            if factor.rule != START:
                self.lines.setdefault(factor.stage, mathml(rule(factor)))
        return self.places[key]


def _moment(
    moment: Moment, subject: Subject, drawn: Sequence[Sequence[int]], most: int, book: _Book
) -> dict[str, Any]:
    """The numbers of one moment; what is met for the first time is entered into the book."""
    ours, theirs = moment.ours, moment.theirs
    report = compare_traces(ours, theirs)
    factors: dict[int, list[Any]] = {}
    numbers: list[list[Any]] = []
    for chain in _chains(moment, subject, drawn, report):
        places = [book.place(f, ours, chain.entry) for f in chain.factors]
        for place, f in zip(places, chain.factors, strict=True):
            if place not in factors:
                factors[place] = [array(f.values, most), *pair(f.manual, f.autograd, most)]
        book.chains.setdefault(chain.id, chain.table(places, drawn))
        numbers.append(chain.numbers(ours, theirs, most))
    return {
        "label": moment.label,
        "loss": number(ours.loss),
        "verdicts": {name: row.verdict for name, row in report.stages.items()},
        "notes": {n: row.blame() or row.note for n, row in report.stages.items() if row.verdict == "wrong"},
        "stages": [pair(ours[s.name], theirs[s.name], min(most, SHOWN)) for s in ours],
        "factors": [factors[place] for place in sorted(factors)],
        "chains": numbers,
    }


@dataclass(frozen=True)
class _Chain:
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

    def table(self, places: Sequence[int], drawn: Sequence[Sequence[int]]) -> dict[str, Any]:
        """What stays of it. `path` are the drawn units [column, unit] that its factors go through."""
        e = self.explanation
        passed = [(_parts(f.denominator), f.units) for f in self.factors if f.rule != LAST]
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

    def numbers(self, ours: Trace, theirs: Trace, most: int) -> list[Any]:
        """Of an entry its value, both gradients, product, tolerance, |Δ|; of a unit its column of each stage."""
        e = self.explanation
        if e is None:
            return [pair(ours[s][:, self.to], theirs[s][:, self.to], most) for s in self.stages]
        value = ours[e.symbol][e.index]
        gap = abs(e.product - e.manual)
        found = [number(v) for v in (value, e.manual, e.autograd, e.product, e.tolerance, gap)]
        return [*found, e.multiplies, e.row.verdict, e.row.equal, e.row.size]


def _chains(
    moment: Moment, subject: Subject, drawn: Sequence[Sequence[int]], report: ComparisonReport
) -> Iterator[_Chain]:
    """Every chain of the scene: drawn units, entries of the parameters between them, stages."""
    ours, theirs = moment.ours, moment.theirs
    for i, units in enumerate(drawn):
        stages = tuple(s.name for s in ours if _of_units(s, i, ours))
        stages = stages if i else ("x", *stages)
        for j in units:
            factors = to_units(ours, theirs, _delta(i), [j], report)
            name = f"a{i}[{j}]" if i else f"x[{j}]"
            yield _Chain(name, "unit", f"{_delta(i)[1:]}[{j}]", factors, i, j, stages=stages)
    for s in ours:
        if s.parameter is None or s.name[1:] in subject.without:
            continue
        for index in _entries(s, drawn):
            e = explain(ours, theirs, s.parameter, index, "", report)
            kind = KINDS[_parts(e.symbol)[0]]
            source = index[1] if len(index) == 2 else -1
            yield _Chain(e.entry, kind, e.entry, e.factors, s.layer, index[0], source, explanation=e)
    for s in ours:
        if not _is_backward(s):
            yield _Chain(s.name, "stage", s.name, (), s.layer)
            continue
        end = s if s.parameter is None else ours.stage(s.reads[0])
        factors = to_units(ours, theirs, end.name, range(ours[end.name].shape[1]), report)
        yield _Chain(s.name, "stage", factors[-1].denominator, factors, s.layer)


def _of_units(stage: Stage, column: int, trace: Trace) -> bool:
    """Whether a stage has a column for each unit of a layer (or of x): its z, n, a, h and their gradients."""
    if stage.kind == "loss_gradient":
        return column == depth(trace)
    letters, layer = _parts(stage.name)
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
