"""From what was handed over to the verdict: layout, forward pass, kinks, rounding, other descriptions."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mlp_torch.check.describe import judged, kinks, layout, noise, readings, shapes, units
from mlp_torch.check.describe.compared import Asked, ambiguous, forward_mismatch, same_loss, same_output
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.describe.noise import DOUBLE, SINGLE
from mlp_torch.check.describe.targets import MisfitError
from mlp_torch.check.report import CheckReport
from mlp_torch.check.search.diagnosis import Case, diagnose
from mlp_torch.errors import UserError

KINKED = ("at z = 0", "at y ŷ = 1")  # what names a convention at a kink for a slip
PATIENCE = 40  # readings of the description that are looked at for an ambiguous layout each


def judge(given: layout.Given, case: Case, asked: Asked) -> CheckReport:
    """The report. Raises UserError where the shapes leave a choice."""
    report, p = _as_described(given, case, asked)
    if report.verdict != "right" and (p is not None or asked.output is not None):
        report = _reread(given, case, asked, report)
    return judged.told(report, given, case.hand, p)


def _as_described(given: layout.Given, case: Case, asked: Asked) -> tuple[CheckReport, Network | None]:
    """(report, the network that it is about) of the description as it stands."""
    try:
        problems = [replace(p, unit=asked.unit) for p in layout.readings(given)]
    except MisfitError as misfit:
        return CheckReport("not_comparable", {}, message=f"the shapes fit no layout: {misfit}"), None
    if asked.output is not None:
        matching = [p for p in problems if same_output(p, asked)]
        if not matching:
            return forward_mismatch(problems[0], asked.output), None
        problems = matching
    if len(problems) > 1 and asked.loss_value is not None:
        problems = [p for p in problems if same_loss(p, asked)] or problems
    if len(problems) > 1:
        for p in problems:
            report = _right(p, case, asked)
            if report is not None and report.verdict == "right":
                return report, p
        raise UserError(ambiguous(problems))
    return _diagnosed(problems[0], case, asked), problems[0]


def _loss(p: Network, asked: Asked) -> float | None:
    """The author's loss where it is to be told from ours."""
    return None if asked.loss_value is None or same_loss(p, asked) else asked.loss_value


def _right(p: Network, case: Case, asked: Asked) -> CheckReport | None:
    """The report where everything is right, under any convention at the kinks; else None."""
    strict = replace(case, floors=_excused(p, case))
    value = _loss(p, asked)
    report = diagnose(p, strict, value, search=False)
    if report is not None:
        return report
    for words, q in kinks.conventions(p):
        if _matches(q, case) == len(_parts(q, case)):
            report = diagnose(q, strict, value, search=False)
            if report is not None:
                return replace(report, notes=(*report.notes, f"note: {words}"))
    return None


def _diagnosed(p: Network, case: Case, asked: Asked) -> CheckReport:
    """The report on one network, faults and all."""
    report = _right(p, case, asked)
    if report is not None:
        return _with_resolution(report, p)
    own = noise.floors(p)
    full: dict[str, float] = {}
    for part, lost in own.full.items():
        whole = max(lost, case.floors.get(part.name, 0.0))
        if whole > own.share * own.scale[part] > 0:
            full[part.name] = max(whole, full.get(part.name, 0.0))
    value = _loss(p, asked)
    if full:
        loose = replace(case, floors={**_excused(p, case), **full})
        report = diagnose(p, loose, value, search=False)
        if report is not None:
            return judged.hidden(report, list(full), p.unit)
        case = loose
    else:
        case = replace(case, floors=_excused(p, case))
    if asked.unit == DOUBLE and units.held(case.hand) == SINGLE:
        q = replace(p, unit=SINGLE)
        report = _right(q, case, replace(asked, unit=SINGLE))
        if report is not None:
            words = "note: your gradients hold float32 numbers: float32 somewhere on the way"
            return _with_resolution(replace(report, notes=(*report.notes, words)), q)
    report = diagnose(p, case, value)
    assert report is not None
    if report.faults and not any(word in f.detail for f in report.faults for word in KINKED):
        return report
    return _beside_kinks(p, case, value, report)


def _beside_kinks(p: Network, case: Case, value: float | None, report: CheckReport) -> CheckReport:
    """What else is wrong, under the convention at the kinks that makes most arrays right."""
    best, words = _matches(p, case), ""
    chosen = p
    for said, q in kinks.conventions(p):
        count = _matches(q, case)
        if count > best:
            best, words, chosen = count, said, q
    if chosen is p:
        return report
    other = diagnose(chosen, case, value)
    if other is None or not other.faults or (report.faults and len(other.faults) >= len(report.faults)):
        return report
    return replace(other, notes=(*other.notes, f"note: {words}"))


def _excused(p: Network, case: Case) -> dict[str, float]:
    """The floors that a step brings, none more than the share of its array's own scale."""
    if not case.floors:
        return {}
    own = noise.floors(p)
    most: dict[str, float] = {}
    for part, scale in own.scale.items():
        most[part.name] = max(most.get(part.name, 0.0), own.share * scale if scale else math.inf)
    return {name: min(value, most.get(name, value)) for name, value in case.floors.items()}


def _with_resolution(report: CheckReport, p: Network) -> CheckReport:
    """Says how small a slip is not seen, where that is more than the usual."""
    own = noise.floors(p)
    coarse = {
        part.name: own.capped[part] / own.scale[part] + own.rtol
        for part in own.capped
        if part.name in report.arrays and own.scale[part] > 0
    }
    usual = 1e-6 if p.unit <= DOUBLE else 1e-4
    if not (said := {name: share for name, share in coarse.items() if share > usual}):
        return report
    what = f"note: rounding hides slips below {max(said.values()):.1g} of {', '.join(f'd{n}' for n in said)}"
    return replace(report, notes=(*report.notes, what))


def _parts(p: Network, case: Case) -> list[Part]:
    return [part for layer in p.layers for part in layer.parts if part.name in case.hand]


def _matches(p: Network, case: Case, rtol: float = 1e-5) -> int:
    """How many parts agree, roughly: asked before anything is computed with care."""
    sign = -1.0 if case.ascent else 1.0
    with np.errstate(all="ignore"):
        true = p.true()
    count, uses = 0, [part.name for part in _parts(p, case) if part.role == "W"]
    for part in _parts(p, case):
        if uses.count(part.name) > 1:
            count += 1  # the sum of several layers' terms is left to the diagnosis
            continue
        h = shapes.canonical(part, sign * case.hand[part.name], p)
        if h is None:
            continue
        gap, size = float(np.linalg.norm(h - true[part])), float(np.linalg.norm(true[part]))
        floor = case.floors.get(part.name, 0.0) + 1e-9 * _size(p, part)
        count += gap <= max(rtol, 8 * p.unit) * max(size, float(np.linalg.norm(h))) + floor
    return count


def _size(p: Network, part: Part) -> float:
    """The scale of what cancels in one part."""
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(np.nan_to_num(p.scales()[part], posinf=0)))


def _candidates(given: layout.Given, asked: Asked) -> Iterator[tuple[readings.Reading, Network]]:
    for reading in readings.changes(given):
        try:
            found = layout.readings(reading.given)
        except (MisfitError, UserError):
            continue
        for p in found[:PATIENCE]:
            p = replace(p, unit=asked.unit)
            if asked.output is None or same_output(p, asked):
                yield reading, p


def _reread(given: layout.Given, case: Case, asked: Asked, report: CheckReport) -> CheckReport:
    """The report with what a small change of the description would make of it."""
    mismatch = any(f.kind == "forward_mismatch" for f in report.faults)
    forward: readings.Reading | None = None
    proved: list[readings.Reading] = []
    fitting: list[readings.Reading] = []
    for reading, p in _candidates(given, asked):
        forward = forward or (reading if mismatch else None)
        if _matches(p, case) < len(_parts(p, case)) or not _parts(p, case):
            continue
        found = _right(p, case, replace(asked, loss_value=None))
        if found is None or found.verdict != "right":
            continue
        known = asked.loss_value is not None and same_loss(p, asked)
        (proved if known or mismatch else fitting).append(reading)
        if len(proved) + len(fitting) >= 3:
            break
    return judged.reread(report, [*proved, *fitting], bool(proved), forward)
