"""The verdict on one network: right under some convention at the kinks, hidden by rounding, or its faults."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import kinks, noise, scope, shapes, subgradients
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.describe.losses import fused
from mlp_torch.check.describe.noise import DOUBLE, SINGLE
from mlp_torch.check.describe.scope import Asked, same_loss
from mlp_torch.check.faults.claims import norm
from mlp_torch.check.report import CheckReport
from mlp_torch.check.search.diagnosis import Case, diagnose

KINKED = ("at z = 0", "at y ŷ = 1")  # what names a convention at a kink for a slip
INSIDE = "note: your gradients hold float32 numbers: float32 somewhere on the way"
TRIED = 3  # conventions at the kinks that are searched for further faults


def _loss(p: Network, asked: Asked) -> float | None:
    """The author's loss where it is to be told from ours."""
    return None if asked.loss_value is None or same_loss(p, asked) else asked.loss_value


def right_as_described(p: Network, case: Case, asked: Asked) -> CheckReport | None:
    """The report where everything is right, under any convention at the kinks; else None."""
    strict = replace(case, floors=_excused(p, case))
    value = _loss(p, asked)
    report = diagnose(p, strict, value, search=False)
    if report is not None:
        blank = report.passed and _blank(p, case) and not kinks.places(p)
        return scope.blank(report) if blank else report
    for way, report in _taken(p, strict, value):
        if way.agreed:
            return replace(report, notes=(*report.notes, f"note: {way.words()}"))
        if way.between and (way.one or way.proven):
            return scope.between(report, way, _moved(p, way.network, case))
    return None


def _blank(p: Network, case: Case) -> bool:
    """Every true gradient is 0, up to rounding, and not because f′ cancels what the loss hands down."""
    most = noise.floors(p).most
    if not all(most[part] == math.inf for part in parts_of(p, case)):
        return False
    last = p.layers[-1]
    if last.mask is None and fused(p.loss, last.activation, p.output, p.y, p.z[-1]) is not None:
        return True
    G = norm(p.loss_gradient())
    return not G or norm(p.top()) > 1e-12 * G


def _taken(p: Network, case: Case, value: float | None) -> Iterator[tuple[kinks.Taken, CheckReport]]:
    """The ways to take derivatives at the kinks under which everything is right, and the report on each."""
    sign, h = -1.0 if case.ascent else 1.0, {}
    for part in parts_of(p, case):
        own = shapes.canonical(part, sign * case.hand[part.name], p)
        if own is None or not np.isfinite(own).all():
            return
        h[part] = own
    for way in subgradients.taken(p, h):
        if matches(way.network, case) == len(h):
            report = diagnose(way.network, case, value, search=False)
            if report is not None:
                yield way, report


def _moved(p: Network, q: Network, case: Case) -> list[str]:
    """The arrays that the derivatives at the kinks reach."""
    one, other = p.true(), q.true()
    reached = [
        part.name
        for part in parts_of(p, case)
        if np.abs(one[part] - other[part]).max(initial=0) > 1e-12 * np.abs(one[part]).max(initial=0)
    ]
    return list(dict.fromkeys(reached))


def diagnosed(p: Network, case: Case, asked: Asked) -> CheckReport:
    """The report on one network, faults and all."""
    if not finite(p, case):
        return scope.nothing("the loss of the network described, or its gradient, is not finite here")
    report = right_as_described(p, case, asked)
    held = asked.unit == DOUBLE and noise.held(case.hand) == SINGLE
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
            return scope.hidden(report, list(full), p.unit)
        case = loose
    else:
        case = replace(case, floors=_excused(p, case))
    if held:
        q = replace(p, unit=SINGLE)
        report = right_as_described(q, case, replace(asked, unit=SINGLE))
        if report is not None:
            return _with_resolution(replace(report, notes=(*report.notes, INSIDE)), q)
    report = diagnose(p, case, value)
    assert report is not None
    if _open(report):
        report = _outside(p, case, value, report)
    if not _open(report) and not any(word in f.detail for f in report.faults for word in KINKED):
        return report
    return _beside_kinks(p, case, value, report)


def _outside(p: Network, case: Case, value: float | None, report: CheckReport) -> CheckReport:
    """What nothing explains but a derivative at the kinks: between both sides, or outside."""
    for way, right in _taken(p, case, value):
        names = _moved(p, way.network, case)
        if way.between:
            return scope.between(right, way, names)
        if way.one:
            return scope.outside(report, way, names)
    return report


def _open(report: CheckReport) -> bool:
    """An array is wrong that no fault explains."""
    told = {name for fault in report.faults for name in fault.arrays}
    return any(row.verdict != "right" and name not in told for name, row in report.arrays.items())


def _beside_kinks(p: Network, case: Case, value: float | None, report: CheckReport) -> CheckReport:
    """What else is wrong, under the convention at the kinks that leaves the fewest faults."""
    sign = -1.0 if case.ascent else 1.0
    own = {q: shapes.canonical(q, sign * case.hand[q.name], p) for q in parts_of(p, case)}
    h = {q: v for q, v in own.items() if v is not None}
    ways = sorted((*subgradients.beside(p, h), *kinks.conventions(p)), key=lambda q: -matches(q, case))
    for q in ways[:TRIED]:
        other = diagnose(q, case, value)
        if other is None or not other.faults or any(w in f.detail for f in other.faults for w in KINKED):
            continue
        if (_open(other), len(other.faults)) < (_open(report), len(report.faults)):
            words = kinks.Taken(q, kinks.places(p), False, True).words()
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


def finite(p: Network, case: Case) -> bool:
    with np.errstate(all="ignore"):
        return all(np.isfinite(t).all() for part, t in p.true().items() if part.name in case.hand)


def parts_of(p: Network, case: Case) -> list[Part]:
    return [part for layer in p.layers for part in layer.parts if part.name in case.hand]


def matches(p: Network, case: Case) -> int:
    """How many parts agree, roughly: asked before anything is computed with care."""
    return sum(_compared(p, case))


def all_match(p: Network, case: Case) -> bool:
    """Whether every part agrees, roughly: asked of many descriptions, from the output down."""
    return bool(parts_of(p, case)) and all(_compared(p, case))


def _compared(p: Network, case: Case, rtol: float = 1e-5) -> Iterator[bool]:
    """Of each part, from the output down, whether it agrees; each is computed as it is asked for."""
    sign = -1.0 if case.ascent else 1.0
    uses = [part.name for part in parts_of(p, case) if part.role == "W"]
    share, dz = max(rtol, 8 * p.unit), np.zeros(0)
    scales: list[Array] = []
    for layer in reversed(p.layers):
        top = layer.index == len(p.layers)
        with np.errstate(all="ignore"):
            da = p.upstream(layer.index, None if top else dz)
            dz = p.top() if top else p.down(layer.index, dz @ p.layers[layer.index].W.T)
        for part in layer.parts:
            if part.name not in case.hand:
                continue
            if uses.count(part.name) > 1:
                yield True  # the sum of several layers' terms is left to the diagnosis
                continue
            h = shapes.canonical(part, sign * case.hand[part.name], p)
            if h is None:
                yield False
                continue
            with np.errstate(all="ignore"):
                t = p.leaf(part, dz, da) + p.regulariser(part)
            gap, size = float(np.linalg.norm(h - t)), max(norm(h), norm(t))
            near = gap <= share * size + case.floors.get(part.name, 0.0)
            if not near:  # what cancels to almost 0 has the rounding of its terms
                with np.errstate(all="ignore"):
                    scales = scales or p.deltas(absolute=True)
                near = gap <= share * size + 1e-9 * _scale(p, part, scales, da)
            yield near


def _scale(p: Network, part: Part, dz: list[Array], da: Array) -> float:
    """‖Σ of magnitudes‖ that one part is a sum of."""
    with np.errstate(all="ignore"):
        terms = p.leaf(part, dz[part.layer], np.abs(da), np.abs(p.a[part.layer - 1]))
        return norm(np.nan_to_num(np.abs(terms) + np.abs(p.regulariser(part)), posinf=0))
