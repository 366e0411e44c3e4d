"""From a problem and the author's gradients to the report: compare, search, tell."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import shapes
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.describe.noise import NAMES, SINGLE, tolerance
from mlp_torch.check.faults import regions
from mlp_torch.check.faults.claims import Claims, norm
from mlp_torch.check.faults.constants import is_round
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.factors import common, each_scaled, overall
from mlp_torch.check.faults.loss import judge_loss, near
from mlp_torch.check.message import message_of
from mlp_torch.check.report import ArrayRow, CheckReport, Fault
from mlp_torch.check.search.comparison import (
    Shaped,
    by_entry,
    in_parts,
    mended,
    right_arrays,
    shaped,
    table,
    unseen,
)
from mlp_torch.check.search.descriptions import another_loss, another_penalty
from mlp_torch.check.search.explanation import explained
from mlp_torch.check.search.ranking import likeliest

MOST = 2  # alternatives that are told


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
    loss_given: bool = False  # the author's loss value was given
    output_known: bool = False  # the author's output was given, and is the described network's


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
    # the same loss comes from the same output
    known = case.output_known or (
        loss_value is not None and abs(p.loss_value() - loss_value) <= rtol * abs(loss_value)
    )
    c = Evidence(p, h, raw, rtol, floor, case.lr, case.ascent, after, previous, output_known=known)
    entries = by_entry(c, true, case.single, case.floors)
    right, loose = right_arrays(c, true, entries)
    arrays = shaped(c, true, entries)
    rows = table(c, arrays, true, right)
    notes: tuple[str, ...] = ()
    claims: list[Claims]
    if all(right.values()) or (loose and not case.single):
        if not all(right.values()):
            gap = max(r.relative for r in rows.values() if np.isfinite(r.relative))
            notes = (
                f"note: the arrays differ by {gap:.1g}, more than rounding; "
                "an ε inside a log or a division does that",
            )
            rows = {n: ArrayRow(**{**r.__dict__, "verdict": "right"}) for n, r in rows.items()}
        notes = (*notes, *unseen(c, true, entries))
        claims = [()]
    elif not search:
        return None
    elif not (claims := in_parts(c, arrays, right, searched=False)):
        hidden = len(entries) == len(true) and all(
            v is not None and c.same(v, true[q], q) for q, v in c.h.items()
        )
        if hidden:
            # norm-wise all is the same: what is wrong shows only in what rounding itself leaves
            tight = {
                q: min(c.floor[q], norm(entries[q].rounding) + case.floors.get(q.name, 0.0)) for q in true
            }
            c = replace(c, rtol=1e-14, floor=tight)
        claims = [found for found in explained(c, true) if found]
        if p.unit > SINGLE and claims and not hidden:
            claims, alike, c = likeliest(c, claims, partial(explained, true=true))
            if alike:
                words = "does not tell these names apart: they are likely, in float64 certain"
                notes = (f"note: {NAMES[p.unit]} {words}",)
        if hidden:  # other slips reproduce an array up to rounding, and not its entries
            claims = [found for found in claims if all(x.kind == "wrong_regulariser" for x in found)]
        if not claims and (told := in_parts(c, arrays, right, searched=True)):
            claims = _with_the_rest(c, true, arrays, right, told[0])
    parts_wrong = {n: regions.place(v.hand, v.true, v.allowed) for n, v in arrays.items() if v.comparable}
    return _tell(c, case, claims, rows, true, loss_value, notes, parts_wrong)


def _with_the_rest(
    c: Evidence, true: Mapping[Part, Array], arrays: Mapping[str, Shaped], right: Mapping[str, bool],
    told: Claims,
) -> list[Claims]:  # fmt: skip
    """What parts of arrays hold, and what explains the other arrays."""
    names = {x.name for x in told}
    if names == {name for name, fine in right.items() if not fine}:
        return [told]
    return [(*told, *more) for more in explained(mended(c, true, arrays, names), true)] or [told]


def _tell(
    c: Evidence, case: Case, sets: list[Claims], rows: Mapping[str, ArrayRow], true: Mapping[Part, Array],
    loss_value: float | None, notes: tuple[str, ...], parts_wrong: Mapping[str, str],
) -> CheckReport:  # fmt: skip
    """Verdict, faults and the sentence."""
    p = c.problem
    faults = [merge(c, claims, rows) for claims in sets]
    verdict, reading = "wrong", ""
    if sets == [()]:
        verdict = "right"
    elif (value := common(c, true) or _alone(c, sets, true)) is not None and 0 < value != 1:
        verdict, faults, reading = whole(c, value, faults, rows)
    elif faults and [f.kind for f in faults[0]] == ["loss_mismatch"]:
        verdict = "other_loss"
    elif not faults:
        faults = scaled_apart(c, true, rows)
    else:
        reading, whose = another_penalty(c, sets[0])
        if whose is not None and loss_value is not None and near(whose, loss_value, case.single):
            words = f"is right for {reading}"  # the author's loss holds it too
            faults = [[Fault("loss_mismatch", None, tuple(rows), words, faults[0][0].evidence)], *faults[:1]]
            verdict, reading, loss_value = "other_loss", "", None
        reading = reading or of_data(c, sets[0])
    if case.loss_given and loss_value is None:
        reading = ""  # the author's loss value is that of the network described
    chosen = faults[0] if faults else []
    others = faults[1:][:MOST]
    first = None
    if verdict == "wrong" and not chosen:
        first = first_wrong(p, rows)
    if loss_value is not None:
        chosen, verdict, notes = judge_loss(c, float(loss_value), chosen, verdict, notes, case.single)
    for name, h in c.raw.items():
        misshaped = name in rows and np.isnan(rows[name].value) and not rows[name].index
        if misshaped and not any(name in f.arrays for f in chosen):
            notes = (*notes, f"note: d{name} has shape {h.shape}, which is not the parameter's")
    given = {"output": case.output_known, "loss_value": loss_value is not None}
    given |= {"previous": bool(case.previous), "lr": case.lr is not None}
    missing = [option for option, known in given.items() if not known]
    places = {layer.index: c.names.place(layer.index) for layer in p.layers}
    message = message_of(
        verdict, chosen, others, rows, first, places=places, reading=reading, ask=missing, parts=parts_wrong
    )
    return CheckReport(verdict, rows, chosen, others, message, notes, first)


def _alone(c: Evidence, sets: list[Claims], true: Mapping[Part, Array]) -> float | None:
    """The one constant on everything that the preferred set is."""
    value, claims = overall(c, true)
    return value if claims and sets and sets[0] == claims else None


def of_data(c: Evidence, claims: Claims) -> str:
    """The option that explains one constant on the data's part of every array."""
    at_the_loss = [(x.name, x.layer) for x in claims] == [("", len(c.problem.layers))]
    everywhere = {x.name for x in claims} == {q.name for q in c.h}
    if len({x.key for x in claims}) != 1 or not (at_the_loss or everywhere):
        return ""
    return next((s for v in c.factors_of(claims[:1]) if (s := another_loss(c, v))), "")


def scaled_apart(c: Evidence, true: Mapping[Part, Array], rows: Mapping[str, ArrayRow]) -> list[list[Fault]]:
    """One or two arrays are the true ones times a number of their own; of more that is no explanation."""
    faults: list[Fault] = []
    factors = each_scaled(c, true)
    for part, value in factors.items() if len(factors) < 3 else ():
        text = f"is the true one times {_shown(value)}"
        if true[part].size == 1:
            text = f"is off by a factor of {_shown(value)}: one number proves no constant"
        names = (part.name,)
        faults.append(Fault("constant_factor", part.layer, names, text, _evidence(rows, names)))
    return [faults] if faults else []


def whole(
    c: Evidence, value: float, faults: list[list[Fault]], rows: Mapping[str, ArrayRow]
) -> tuple[str, list[list[Fault]], str]:
    """Every array is the true one times one factor: scaled where it has a name, or clipped."""
    names = tuple(rows)
    readings, options = c.name_constant(value), another_loss(c, value)
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
            text = f"holds the sum of {value:.0f} calls: it was not set to 0 between them"
            others.append([Fault("stale_gradient", None, names, text, _evidence(rows, names))])
        told = [constant, *others]
        if rates and not any(reading[-1][0] == "constant_factor" for reading in readings):
            told = others  # the learning rate has a word of its own
        return "scaled", told, options
    if options:
        other = [Fault("loss_mismatch", None, names, f"is right for {options}", _evidence(rows, names))]
        return "other_loss", [other, *others], ""
    total = float(np.sqrt(sum(norm(v) ** 2 for v in c.raw.values())))
    if value < 1 and is_round(total, c.limits.slack):
        text = f"is cut to {_shown(value)} of its length: all gradients together have the length {total:.6g}"
        return "wrong", [[Fault("clipping", None, names, text, _evidence(rows, names))], constant], ""
    return "wrong", [constant, *others], ""


def _shown(value: float) -> str:
    """Six digits, or as many as it takes to tell it from 1."""
    return f"{value:.6g}" if f"{value:.6g}" != "1" else f"{value:.15g}"


def merge(c: Evidence, claims: Claims, rows: Mapping[str, ArrayRow]) -> list[Fault]:
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
            arrays = tuple(dict.fromkeys(q.name for q in c.h if q.layer <= below))
        layer = next(iter(layers)) if len(layers) == 1 else None
        detail = Counter(x.detail for x in group).most_common(1)[0][0]
        evidence = f"{first.line}; {_evidence(rows, arrays)}" if first.line else _evidence(rows, arrays)
        found.append(Fault(first.kind, layer, arrays, detail, evidence))
    return found


def _evidence(rows: Mapping[str, ArrayRow], arrays: tuple[str, ...]) -> str:
    wrong = [rows[a] for a in arrays if a in rows and rows[a].verdict != "right"]
    if not wrong:
        return ""
    r = wrong[0]
    if np.isnan(r.value) and not r.index:
        return f"d{r.name} has shape {r.shape}"
    ratio = "" if np.isnan(r.ratio) else f" (ratio {r.ratio:.6g} ± {r.spread:.2g})"
    return f"d{r.name}{list(r.index)} is {r.value:.6g}, the true one {r.truth:.6g}{ratio}"


def first_wrong(p: Network, rows: Mapping[str, ArrayRow]) -> int | None:
    for layer in reversed(p.layers):
        if any(part.name in rows and rows[part.name].verdict != "right" for part in layer.parts):
            return layer.index
    return None
