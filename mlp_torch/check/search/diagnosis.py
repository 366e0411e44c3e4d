"""From a problem and the author's gradients to the report: compare, search, tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import shapes
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.describe.noise import tolerance
from mlp_torch.check.faults.claims import Claims, norm
from mlp_torch.check.faults.evidence import Evidence, everything
from mlp_torch.check.faults.loss import judge_loss
from mlp_torch.check.faults.whole import common, cut_short
from mlp_torch.check.message import message_of
from mlp_torch.check.report import ArrayRow, CheckReport, Fault, row
from mlp_torch.check.search.search import search as search_sets


@dataclass(frozen=True)
class Case:
    """The author's gradients in their own shapes, and what is known of the step they belong to."""

    hand: Mapping[str, Array]
    single: bool = False
    lr: float | None = None
    ascent: bool = False
    after: Mapping[str, Array] = field(default_factory=dict)
    previous: Mapping[str, Array] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)


def diagnose(
    p: Network, case: Case, loss_value: float | None = None, search: bool = True
) -> CheckReport | None:
    """The report; with search=False None unless everything is right."""
    sign = -1.0 if case.ascent else 1.0
    parts = [part for layer in p.layers for part in layer.parts if part.name in case.hand]
    raw = {name: sign * value for name, value in case.hand.items()}
    h = {part: shapes.canonical(part, raw[part.name], p) for part in parts}
    true = {part: value for part, value in p.true().items() if part.name in case.hand}
    rtol, floor = tolerance(p, case.single)
    floor = {part: max(value, case.floors.get(part.name, 0.0)) for part, value in floor.items()}
    after = {
        part.layer: value
        for part in parts
        if part.role == "W" and part.name in case.after
        and (value := shapes.canonical(part, case.after[part.name], p)) is not None
    }  # fmt: skip
    previous = {
        q: shapes.canonical(q, sign * case.previous[q.name], p) for q in parts if q.name in case.previous
    }
    c = Evidence(p, h, raw, rtol, floor, case.lr, case.ascent, after, previous)
    right, loose = _right(c, true)
    rows = _rows(p, case, raw, true, right)
    notes: tuple[str, ...] = ()
    if all(right.values()) or (loose and not case.single):
        if not all(right.values()):
            gap = max(r.relative for r in rows.values() if np.isfinite(r.relative))
            notes = (
                f"note: the arrays differ by {gap:.1g}, more than rounding; "
                "an ε inside a log or a division does that",
            )
            rows = {n: ArrayRow(**{**r.__dict__, "verdict": "right"}) for n, r in rows.items()}
        claims: list[Claims] = [()]
    elif not search:
        return None
    else:
        claims = search_sets(c).sets
    return _tell(c, case, claims, rows, true, loss_value, notes)


def _right(c: Evidence, true: Mapping[Part, Array]) -> tuple[dict[str, bool], bool]:
    """Per name: equal to the truth; and whether all are within 1e-6, as an ε in a log leaves them."""
    sums: dict[str, list[Part]] = {}
    for part in true:
        sums.setdefault(part.name, []).append(part)
    right, loose = {}, True
    for name, members in sums.items():
        fine = True
        for group in _groups(members):
            part, h = group[-1], c.h[group[-1]]
            t = sum((_turn(q, true[q], part) for q in group), np.zeros(1))
            good = h is not None and bool(np.isfinite(h).all()) and c.same(h, t, part)
            fine &= good
            if not good:
                near = h is not None and h.shape == t.shape and bool(np.isfinite(h).all())
                gap = np.inf if h is None or not near else float(np.linalg.norm(h - t))
                loose &= gap <= 3e-7 * float(np.linalg.norm(t))
        right[name] = fine
    return right, loose


def _groups(members: list[Part]) -> list[list[Part]]:
    """Parts of one array that hold the same entries: one each, or all the layers that use it."""
    by_role: dict[str, list[Part]] = {}
    for part in members:
        by_role.setdefault(part.role, []).append(part)
    return list(by_role.values())


def _turn(part: Part, value: Array, like: Part) -> Array:
    return value if part.layout == like.layout else value.T


def _rows(
    p: Network, case: Case, raw: Mapping[str, Array], true: Mapping[Part, Array], right: Mapping[str, bool]
) -> dict[str, ArrayRow]:
    natural_shapes = {}
    for part, _ in true.items():
        lay = p.layers[part.layer - 1]
        full = (lay.W.shape[0] + bool(part.fold), lay.W.shape[1])
        natural = full if part.layout == "in,out" else full[::-1]
        size = int(np.prod(full)) if part.role == "W" else p.theta(part).size
        if part.role == "b" and part.fold:
            continue
        own = raw[part.name].shape
        natural_shapes[part.name] = (
            own
            if int(np.prod(own)) == size and shapes.canonical(part, raw[part.name], p) is not None
            else (natural if part.role == "W" else (size,))
        )
    truth = shapes.author(true, natural_shapes)
    return {name: row(name, raw[name], truth[name], right[name]) for name in truth}


def _tell(
    c: Evidence, case: Case, sets: list[Claims], rows: Mapping[str, ArrayRow], true: Mapping[Part, Array],
    loss_value: float | None, notes: tuple[str, ...],
) -> CheckReport:  # fmt: skip
    """Verdict, faults and the sentence."""
    p = c.problem
    faults = [_merge(c, claims, rows) for claims in sets]
    verdict = "wrong"
    if sets == [()]:
        verdict = "right"
    elif (value := common(c, true)) is not None and 0 < value != 1:
        verdict, faults = _whole(c, value, faults, rows)
    elif faults and [f.kind for f in faults[0]] == ["loss_mismatch"]:
        verdict = "other_loss"
    elif not faults and (cut := cut_short(c, true)):
        words = "points the right way and is shorter: one factor an array"
        faults = [[Fault("clipping", None, cut, words, _evidence(rows, cut))]]
    chosen = faults[0] if faults else []
    others = faults[1:]
    first = None
    if verdict == "wrong" and not chosen:
        first = _first_wrong(p, rows)
    if loss_value is not None:
        chosen, verdict, notes = judge_loss(c, float(loss_value), chosen, verdict, notes, case.single)
    for name, h in c.raw.items():
        if not np.isfinite(h).all():
            notes = (*notes, f"note: d{name} holds NaN or infinite entries")
        elif name in rows and np.isnan(rows[name].value):
            notes = (*notes, f"note: d{name} has shape {h.shape}, which is not the parameter's")
    message = message_of(verdict, chosen, others, rows, first)
    return CheckReport(verdict, rows, chosen, others, message, notes, first)


def _whole(
    c: Evidence, value: float, faults: list[list[Fault]], rows: Mapping[str, ArrayRow]
) -> tuple[str, list[list[Fault]]]:
    """Every array is the true one times one factor: scaled where it has a name, or clipped."""
    names = tuple(rows)
    readings = c.name_constant(value)
    words = readings[0][-1][2] if readings else f"is the true one times {_shown(value)}"
    for reading in readings:
        if reading[-1][0] == "constant_factor":
            words = reading[-1][2]
            break
    constant = [Fault("constant_factor", None, names, words, _evidence(rows, names))]
    others = [f for f in faults if "constant_factor" not in {x.kind for x in f}]
    rates = [
        [Fault(kind, None, names, text, _evidence(rows, names))]
        for reading in readings
        for kind, _, text in reading[:1]
        if len(reading) == 1 and "rate" in kind
    ]
    others = [*rates, *(f for f in others if not any("rate" in x.kind for x in f))]
    if readings:
        if abs(value - round(value)) < 1e-9 and 2 <= value <= 9:
            text = f"holds {value:.0f} calls: it was not set to 0 between them"
            others.append([Fault("stale_gradient", None, names, text, _evidence(rows, names))])
        return "scaled", [constant, *others]
    if value < 1:
        total = float(np.sqrt(sum(norm(v) ** 2 for v in c.raw.values())))
        text = f"is cut to {_shown(value)} of its length: all gradients together have the length {total:.6g}"
        clipping = [Fault("clipping", None, names, text, _evidence(rows, names))]
        round_number = abs(total - float(f"{total:.2g}")) <= 1e-9 * total
        return "wrong", [clipping, constant] if round_number else [constant, clipping]
    return "wrong", [constant, *others]


def _shown(value: float) -> str:
    """Six digits, or as many as it takes to tell it from 1."""
    return f"{value:.6g}" if f"{value:.6g}" != "1" else f"{value:.15g}"


def _merge(c: Evidence, claims: Claims, rows: Mapping[str, ArrayRow]) -> list[Fault]:
    """Claims as faults: the same slip in several arrays is one fault."""
    grouped: dict[tuple[object, ...], list[int]] = {}
    for i, claim in enumerate(claims):
        at = ("leaf",) if claim.name or claim.kind == "updated_weights_used" else (claim.layer,)
        grouped.setdefault((claim.key, *at), []).append(i)
    found = []
    for members in grouped.values():
        group = [claims[i] for i in members]
        layers = {x.layer for x in group}
        first = group[0]
        if first.name:
            arrays = tuple(dict.fromkeys(x.name for x in group))
        else:
            below = max(layers) - (
                1
                if first.line.startswith("da")
                and first.kind
                in (
                    "transpose",
                    "updated_weights_used",
                    "missing_activation_derivative",
                    "not_multiplied_by_upstream",
                )
                else 0
            )
            arrays = everything(c.h, below)
        layer = next(iter(layers)) if len(layers) == 1 else None
        evidence = f"{first.line}; {_evidence(rows, arrays)}" if first.line else _evidence(rows, arrays)
        found.append(Fault(first.kind, layer, arrays, first.detail, evidence))
    return found


def _evidence(rows: Mapping[str, ArrayRow], arrays: tuple[str, ...]) -> str:
    wrong = [rows[a] for a in arrays if a in rows and rows[a].verdict != "right"]
    if not wrong:
        return ""
    r = wrong[0]
    if np.isnan(r.value):
        return f"d{r.name} has shape {r.shape}"
    ratio = f"ratio {r.ratio:.6g} ± {r.spread:.2g}"
    return f"d{r.name}{list(r.index)} is {r.value:.6g}, the true one {r.truth:.6g} ({ratio})"


def _first_wrong(p: Network, rows: Mapping[str, ArrayRow]) -> int | None:
    for layer in reversed(p.layers):
        if any(part.name in rows and rows[part.name].verdict != "right" for part in layer.parts):
            return layer.index
    return None
