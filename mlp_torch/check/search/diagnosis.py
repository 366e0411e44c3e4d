"""From a problem and the author's gradients to the report: compare, search, tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import shapes
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.describe.noise import SINGLE, tolerance
from mlp_torch.check.describe.units import NAMES
from mlp_torch.check.faults.claims import Claim, Claims, cost, norm
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.factors import common, overall
from mlp_torch.check.faults.loss import judge_loss, near, told_of_target
from mlp_torch.check.faults.samples import wide
from mlp_torch.check.faults.weights import exchanged, with_momentum
from mlp_torch.check.message import message_of
from mlp_torch.check.report import ArrayRow, CheckReport, Fault, row
from mlp_torch.check.search.descriptions import another_penalty
from mlp_torch.check.search.entries import LOOSE, Entry, by_entry, unseen
from mlp_torch.check.search.ranking import likeliest
from mlp_torch.check.search.search import search as search_sets
from mlp_torch.check.search.swaps import far_fetched, swapped
from mlp_torch.check.search.telling import first_wrong, merge, of_data, scaled_apart, whole

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
    right, loose = _right(c, true, entries)
    rows = _rows(c, raw, true, right, entries)
    notes: tuple[str, ...] = ()
    if all(right.values()) or (loose and not case.single):
        if not all(right.values()):
            gap = max(r.relative for r in rows.values() if np.isfinite(r.relative))
            notes = (
                f"note: the arrays differ by {gap:.1g}, more than rounding; "
                "an ε inside a log or a division does that",
            )
            rows = {n: ArrayRow(**{**r.__dict__, "verdict": "right"}) for n, r in rows.items()}
        notes = (*notes, *unseen(c, true, entries))
        claims: list[Claims] = [()]
    elif not search:
        return None
    else:
        hidden = len(entries) == len(true) and all(
            v is not None and c.same(v, true[q], q) for q, v in c.h.items()
        )
        if hidden:
            # norm-wise all is the same: what is wrong shows only in what rounding itself leaves
            tight = {
                q: min(c.floor[q], norm(entries[q].rounding) + case.floors.get(q.name, 0.0)) for q in true
            }
            c = replace(c, rtol=1e-14, floor=tight)
        claims = [found for found in _explained(c, true) if found]
        if p.unit > SINGLE and claims and not hidden:
            claims, alike, c = likeliest(c, claims, partial(_explained, true=true))
            if alike:
                words = "does not tell these names apart: they are likely, in float64 certain"
                notes = (f"note: {NAMES[p.unit]} {words}",)
        if hidden:  # other slips reproduce an array up to rounding, and not its entries
            claims = [found for found in claims if all(x.kind == "wrong_regulariser" for x in found)]
    return _tell(c, case, claims, rows, true, loss_value, notes)


def _explained(c: Evidence, true: Mapping[Part, Array], most: int = 3) -> list[Claims]:
    """The sets of claims that make the author's arrays; arrays that are not finite are left out."""
    lost = [q for q, v in c.h.items() if v is not None and not np.isfinite(v).all()]
    claims: Claims = ()
    for q in lost:
        bad = np.argwhere(~np.isfinite(c.raw[q.name]))
        first = c.raw[q.name][tuple(bad[0])]
        what = "NaN" if np.isnan(first) else "an infinite entry"
        words = f"holds {what} at {[int(i) for i in bad[0]]}" if len(bad[0]) else f"is {what}"
        claims += (Claim("not_finite", f"{what} {q.layer}", words, q.layer, q.name),)
    if lost:
        c = replace(c, h={q: v for q, v in c.h.items() if q not in lost}, rests={}, slopes={})
        true = {q: v for q, v in true.items() if q in c.h}
    if c.previous and (moved := with_momentum(c, true)):
        return [(*claims, *moved)]
    c, placed = exchanged(c, true)
    claims += placed
    if claims and all((h := c.h[q]) is not None and c.same(h, t, q) for q, t in true.items()):
        return [claims]
    if not claims and (square := wide(c)):
        ours = {x.name for x in square}
        if all((h := c.h[q]) is not None and c.same(h, t, q) for q, t in true.items() if q.name not in ours):
            return [square]
    every = overall(c, true)[1] if not lost and not placed else ()
    found = [(*claims, *more) for more in search_sets(c, most).sets]
    if not placed and not lost and far_fetched(found) and (exchanges := swapped(c)):
        found = [*exchanges, *(sets for sets in found if cost(sets) <= 2)]
    if every and not any(_plain(c, sets) for sets in found[:1]):
        found = [every, *(sets for sets in found if not _plain(c, sets))]
    if found and any(told_of_target(x) for x in found[0]):  # likelier than what comes to the same
        found = [sets for sets in found if any(told_of_target(x) for x in sets) or not _unlikely(sets)]
    return found or ([claims] if claims else [])


def _alone(c: Evidence, sets: list[Claims], true: Mapping[Part, Array]) -> float | None:
    """The one constant on everything that the preferred set is."""
    value, claims = overall(c, true)
    return value if claims and sets and sets[0] == claims else None


def _unlikely(claims: Claims) -> bool:
    """What nobody writes to arrive at p or p + y."""
    odd = {"wrong_softmax_jacobian", "not_multiplied_by_upstream", "wrong_activation_derivative"}
    return bool({x.kind for x in claims} & odd)


def _plain(c: Evidence, claims: Claims) -> bool:
    """Nothing but one sign or one constant on everything."""
    everywhere = {x.name for x in claims} == {q.name for q in c.h} or all(
        not x.name and x.layer == len(c.problem.layers) for x in claims
    )
    return everywhere and {x.kind for x in claims} <= {"sign", "constant_factor"}


def _right(
    c: Evidence, true: Mapping[Part, Array], entries: Mapping[Part, Entry]
) -> tuple[dict[str, bool], bool]:
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
            entry = entries.get(part)
            if good and h is not None and entry is not None:
                good = not entry.beyond(h, c.rtol).any() and not entry.penalty_lost(h)
            fine &= good
            if not good:
                near = h is not None and h.shape == t.shape and bool(np.isfinite(h).all())
                gap = np.inf if h is None or not near else float(np.linalg.norm(h - t))
                loose &= gap <= 3e-7 * float(np.linalg.norm(t))
                if loose and h is not None and entry is not None:
                    loose = not entry.beyond(h, LOOSE).any() and not entry.penalty_lost(h)
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
    c: Evidence,
    raw: Mapping[str, Array],
    true: Mapping[Part, Array],
    right: Mapping[str, bool],
    entries: Mapping[Part, Entry],
) -> dict[str, ArrayRow]:
    p, natural_shapes = c.problem, {}
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
    floor: dict[str, float] = {}
    for part in true:
        floor[part.name] = floor.get(part.name, 0.0) + c.floor[part]
    rows = {}
    for name, t in truth.items():
        with np.errstate(invalid="ignore"):
            rows[name] = row(name, raw[name], t, right[name])
        if not min(norm(t), norm(raw[name])) > floor[name] or not np.isfinite(
            rows[name].ratio
        ):  # what is 0 but for rounding has no ratio
            nan = np.nan
            rows[name] = replace(rows[name], ratio=nan, spread=nan, cosine=nan)
            if not right[name] and norm(t) <= floor[name]:
                rows[name] = replace(rows[name], verdict="wrong")
    return rows


def _tell(
    c: Evidence, case: Case, sets: list[Claims], rows: Mapping[str, ArrayRow], true: Mapping[Part, Array],
    loss_value: float | None, notes: tuple[str, ...],
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
    message = message_of(verdict, chosen, others, rows, first, places=places, reading=reading, ask=missing)
    return CheckReport(verdict, rows, chosen, others, message, notes, first)
