"""From claims to the faults of a report: the same slip in several arrays is one fault."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.faults.claims import Claims, norm
from mlp_torch.check.faults.constants import is_round
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.factors import each_scaled
from mlp_torch.check.report import ArrayRow, Fault
from mlp_torch.check.search.descriptions import another_loss


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
