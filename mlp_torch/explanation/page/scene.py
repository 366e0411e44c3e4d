"""What a page shows, read off traces: the drawn units, the chain of each of their entries, all numbers.

A scene has what stays (`units`, `stages`, `factors`, `chains`) and one `moment` an epoch with the numbers
of each, in the same order. A factor that several chains share stands once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.structure.trace import Trace
from mlp_torch.explanation.chain import START, Factor
from mlp_torch.explanation.factors import LAST
from mlp_torch.explanation.markdown import rule
from mlp_torch.explanation.page.chains import FIRST, KINDS, Moment, Subject, chains, delta, depth, is_backward
from mlp_torch.explanation.page.mathml import mathml
from mlp_torch.explanation.page.numbers import array, number, pair
from mlp_torch.explanation.text import held_units

SHOWN = 64  # numbers of a whole stage


@dataclass(frozen=True)
class Size:
    """How much is shown: units of a layer; numbers of an array where the page opens, and elsewhere."""

    units: int
    now: int
    elsewhere: int


def scene(moments: Sequence[Moment], subject: Subject, current: int, size: Size) -> dict[str, Any]:
    """All that the page needs of these moments, `current` the one it opens with.

    A layer of too many units is cut to those of largest gradient at the current moment.
    """
    now = moments[current]
    drawn = shown(now, subject, size.units)
    book = _Book()
    tables = [_moment(m, subject, drawn, size.now if m is now else size.elsewhere, book) for m in moments]
    found = list(book.chains.values())
    return {
        "title": subject.title,
        "current": current,
        "open": _first(found, subject),
        "samples": len(now.ours["x"]),
        "first": FIRST,
        "columns": _columns(now.ours, drawn, subject),
        "stages": _stages(now.ours),
        "factors": book.factors,
        "lines": book.lines,
        "chains": found,
        "moments": tables,
        "parameters": sum(g.size for g in now.ours.gradients.values()),
        "embedded": sum(c["kind"] in KINDS.values() for c in found),
    }


# ------------------------------------------------------------------ what is drawn


def shown(moment: Moment, subject: Subject, widest: int) -> list[list[int]]:
    """The units of x and of each layer that are drawn: all, or those of largest |∂L/∂z| and the entry's."""
    trace, found = moment.ours, []
    for i in range(depth(trace) + 1):
        gradient = np.abs(trace[delta(i)]).max(axis=0)
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
        column = {"name": name, "gradient": delta(i), "units": units, "labels": labels, "size": size}
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
            "under": "loss" if s.kind == "loss_gradient" else forward.get(s.reads[0], "") * is_backward(s),
        }
        for s in trace
    ]


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
    ours, theirs, report = moment.ours, moment.theirs, moment.report
    factors: dict[int, list[Any]] = {}
    marks: dict[int, str] = {}
    numbers: list[list[Any]] = []
    for chain in chains(moment, subject, drawn):
        places = [book.place(f, ours, chain.entry) for f in chain.factors]
        for place, f in zip(places, chain.factors, strict=True):
            if place not in factors:
                factors[place] = [array(f.values, most), *pair(f.manual, f.autograd, most)]
        if chain.killer:
            marks[places[chain.kills]] = chain.killer.mark
        book.chains.setdefault(chain.id, chain.table(places, drawn))
        numbers.append(chain.numbers(ours, theirs))
    return {
        "label": moment.label,
        "loss": number(ours.loss),
        "verdicts": {name: row.verdict for name, row in report.stages.items()},
        "notes": {n: row.blame() or row.note for n, row in report.stages.items() if row.verdict == "wrong"},
        "stages": [pair(ours[s.name], theirs[s.name], min(most, SHOWN)) for s in ours],
        "factors": [factors[place] for place in sorted(factors)],
        "marks": marks,
        "chains": numbers,
    }
