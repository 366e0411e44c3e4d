"""From what was handed over to the verdict: layout, forward pass, kinks, rounding, other descriptions."""

import math
import time
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
INSIDE = "note: your gradients hold float32 numbers: float32 somewhere on the way"
TRIED = 3  # conventions at the kinks that are searched for further faults
PATIENCE = 4.0  # seconds of work for other descriptions


def judge(given: layout.Given, case: Case, asked: Asked) -> CheckReport:
    """The report. Raises UserError where the shapes leave a choice."""
    case = replace(case, output_known=asked.output is not None, loss_given=asked.loss_value is not None)
    report, p = _as_described(given, case, asked)
    uncovered = any(name in case.hand for name in judged.unmentioned(given))
    if (report.verdict != "right" or uncovered) and (p is not None or asked.output is not None):
        report = _reread(given, case, asked, report)
    if report.verdict == "wrong" and {f.kind for f in report.faults} == {"forward_mismatch"}:
        report = replace(
            report, verdict="not_comparable"
        )  # another network is described: no fault of the author
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
            report = _right(p, case, asked) if _finite(p, case) else None
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
    if not _finite(p, case):
        return judged.nothing("the loss of the network described, or its gradient, is not finite here")
    report = _right(p, case, asked)
    held = asked.unit == DOUBLE and units.held(case.hand) == SINGLE
    if report is not None:
        apart = any(row.relative > noise.EXACT for row in report.arrays.values())
        return _with_resolution(
            replace(report, notes=(*report.notes, INSIDE)) if held and apart else report, p
        )
    own = noise.floors(p)
    full: dict[str, float] = {}
    for part, lost in own.full.items():
        whole = max(lost, case.floors.get(part.name, 0.0))
        if whole > own.most[part]:
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
    if held:
        q = replace(p, unit=SINGLE)
        report = _right(q, case, replace(asked, unit=SINGLE))
        if report is not None:
            return _with_resolution(replace(report, notes=(*report.notes, INSIDE)), q)
    report = diagnose(p, case, value)
    assert report is not None
    if report.faults and not any(word in f.detail for f in report.faults for word in KINKED):
        return report
    return _beside_kinks(p, case, value, report)


def _beside_kinks(p: Network, case: Case, value: float | None, report: CheckReport) -> CheckReport:
    """What else is wrong, under the convention at the kinks that leaves the fewest faults."""
    ways = sorted(kinks.conventions(p), key=lambda way: -_matches(way[1], case))[:TRIED]
    for words, q in ways:
        other = diagnose(q, case, value)
        if other is None or not other.faults or any(w in f.detail for f in other.faults for w in KINKED):
            continue
        if not report.faults or len(other.faults) < len(report.faults):
            report = replace(other, notes=(*other.notes, f"note: {words}"))
    return report


def _excused(p: Network, case: Case) -> dict[str, float]:
    """The floors that a step brings, none more than the share of its array's own scale."""
    if not case.floors:
        return {}
    own = noise.floors(p)
    most: dict[str, float] = {}
    for part, size in own.most.items():
        most[part.name] = max(most.get(part.name, 0.0), size)
    return {name: min(value, most.get(name, value)) for name, value in case.floors.items()}


def _with_resolution(report: CheckReport, p: Network) -> CheckReport:
    """Says how small a slip is not seen, where that is more than the usual."""
    own = noise.floors(p)
    coarse = {
        part.name: own.capped[part] / own.most[part] * own.share + own.rtol
        for part in own.capped
        if part.name in report.arrays and 0 < own.most[part] < math.inf
    }
    usual = 2e-6 if p.unit <= DOUBLE else 5e-4
    if not (said := {name: share for name, share in coarse.items() if share > usual}):
        return report
    what = f"note: rounding hides slips below {max(said.values()):.1g} of {', '.join(f'd{n}' for n in said)}"
    return replace(report, notes=(*report.notes, what))


def _finite(p: Network, case: Case) -> bool:
    with np.errstate(all="ignore"):
        return all(np.isfinite(t).all() for part, t in p.true().items() if part.name in case.hand)


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


def _plausible(p: Network, case: Case) -> bool:
    """The last layer's weight is about right: asked of many descriptions before the rest is computed."""
    sign, part = (-1.0 if case.ascent else 1.0), p.layers[-1].parts[0]
    if part.name not in case.hand or any(q.name == part.name for v in p.layers[:-1] for q in v.parts):
        return True
    h = shapes.canonical(part, sign * case.hand[part.name], p)
    with np.errstate(all="ignore"):
        t = p.leaf(part, p.top()) + p.regulariser(part)
    floor = case.floors.get(part.name, 0.0)
    return h is not None and bool(np.linalg.norm(h - t) <= 0.1 * np.linalg.norm(h) + floor + 1e-12)


def _size(p: Network, part: Part) -> float:
    """The scale of what cancels in one part."""
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(np.nan_to_num(p.scales()[part], posinf=0)))


def _candidates(
    given: layout.Given, asked: Asked, unbiased: bool = False
) -> Iterator[tuple[readings.Reading, Network]]:
    for reading in readings.changes(given, unbiased):
        try:
            found = layout.readings(reading.given)
        except (MisfitError, UserError):
            continue
        for p in found[:8]:
            p = replace(p, unit=asked.unit)
            if asked.output is None or same_output(p, asked):
                yield reading, p


def _judges(reading: readings.Reading, p: Network, case: Case, asked: Asked) -> bool:
    """Whether the report under another description says what is right or wrong, and not that nothing is."""
    if asked.output is None or not _parts(p, case) or not _finite(p, case):
        return False
    found = _diagnosed(p, case, asked)
    return found.verdict != "not_comparable" and bool(found.faults or found.passed)


def _reread(given: layout.Given, case: Case, asked: Asked, report: CheckReport) -> CheckReport:
    """The report with what a small change of the description would make of it."""
    mismatch = any(f.kind == "forward_mismatch" and f.arrays == ("output",) for f in report.faults)
    unbiased = mismatch or any(f.kind == "forward_mismatch" and "bias" in f.detail for f in report.faults)
    end = time.thread_time() + PATIENCE
    forward: readings.Reading | None = None
    proved: list[readings.Reading] = []
    fitting: list[readings.Reading] = []
    for reading, p in _candidates(given, asked, unbiased):
        if time.thread_time() > end:
            break
        if report.verdict == "right" and not reading.write.startswith("bias='"):
            continue  # all is right but an array that no layer mentions
        if mismatch and forward is None and _judges(reading, p, case, asked):
            forward = reading
        if not _plausible(p, case):
            continue
        parts = _parts(p, case)
        if not parts or _matches(p, case) < len(parts) or not _finite(p, case):
            continue
        found = _right(p, case, replace(asked, loss_value=None))
        if found is None or found.verdict != "right":
            continue
        known = asked.loss_value is not None and same_loss(p, asked)
        if asked.loss_value is not None and not known:
            continue  # the author's loss value says that it is another network
        (proved if known or mismatch else fitting).append(reading)
        if len(proved) + len(fitting) >= 3:
            break
    return judged.reread(report, [*proved, *fitting], bool(proved), forward)
