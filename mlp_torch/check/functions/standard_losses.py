"""Which standard loss a function's value is, over which array of its own forward pass, and whose gradient."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import as_float
from mlp_torch.check.describe.losses import LOSSES, REDUCTIONS
from mlp_torch.check.describe.shapes import MisfitError, target
from mlp_torch.check.functions.reading import (
    CLOSE,
    SIBLINGS,
    Gradient,
    Reading,
    describe,
    distinct,
    near,
    other_loss,
)
from mlp_torch.check.functions.tracing import TracedArray, TracedLoss
from mlp_torch.check.gradients import check_gradients
from mlp_torch.check.report import CheckReport, Fault
from mlp_torch.errors import UserError

SLIGHT = 1e-6  # a relative gap that no slip makes
MOST = 40  # arrays of the forward pass that are tried, from the loss up


def against_standard(
    report: CheckReport, traced: TracedLoss | None, loss: float, output: Array | None, data: Sequence[Array],
    values: Gradient, hand: Gradient, true: Gradient, allowed: Mapping[str, float],
) -> CheckReport:  # fmt: skip
    """The report with what the author's loss is; `other_loss` where the gradient is another one's."""
    if traced is None and output is None:
        text = "note: the loss was not compared with the standard losses, because tracing failed; "
        return _noted(report, text + "return the output too, (loss, gradients, output)")
    if not all(_numeric(v) for v in data[:2]):
        return _noted(
            report, "note: the loss was not compared with the standard losses: x or y holds no numbers"
        )
    every = list(_readings(traced, output, data, loss)) if report.verdict == "right" else []
    own = _own(every, loss, values, true)
    if not own:
        every = list(_readings(traced, output, data))
        own = _own(every, loss, values, true)
    if traced is None:
        report = _noted(report, _said(own) + "; tracing failed, so the gradients of other losses were not")
    else:
        report = _noted(report, _said(own))
    if own and own[0].broadcast and report.verdict == "right":
        text = f"(N,) against (N, 1): your loss is {own[0]}"
        fault = Fault("broadcast", None, ("loss",), text, "the gradient is right for that loss")
        return replace(
            report, verdict="wrong", faults=[fault], message=f"{text}; your gradient is right for it"
        )
    if report.verdict != "wrong" or traced is None:
        return report
    told = other_loss(report, every, own, values, hand, true, allowed)
    apart = max(row.relative for row in report.arrays.values() if row.verdict != "right")
    if told is not report or apart < SLIGHT:
        return told
    described = describe(own, values, data, loss, true)
    if described is None:
        return told
    named = check_gradients(dict(values), hand, data[0], data[1], **described)
    words = f"note: your network was found to be {', '.join(described['activations'])}"
    return _noted(replace(named, notes=report.notes), words) if named.faults else report


def _noted(report: CheckReport, text: str) -> CheckReport:
    return replace(report, notes=(*report.notes, text))


def _said(own: list[Reading]) -> str:
    if not own:
        return "note: your loss value is none of the standard losses over any array of your forward pass"
    return "note: your loss is " + ", or ".join(map(str, own))


def _readings(
    traced: TracedLoss | None, output: Array | None, data: Sequence[Array], wanted: float | None = None
) -> Iterator[Reading]:
    """Every standard loss over every array that may be an output of N samples, the last array first.

    Of those whose value is `wanted` alone, where it is given.
    """
    x, y = np.asarray(data[0]), as_float(np.asarray(data[1]), "y")
    sizes = {*x.shape, *([1] if x.ndim < 2 else [])}  # N is one of them; x alone may be one sample
    arrays = _arrays(traced, output)
    fitting = [
        a for a in arrays if 0 < a[1].ndim <= 2 and a[1].size >= max(y.size / max(*y.shape[-1:], 1, 1), 1)
    ]
    for name, array, step in fitting[:MOST]:
        seen = set()
        for matrix, turned in _frames(array):
            n, k = matrix.shape
            if n not in sizes or (n, k) in seen:
                continue
            seen.add((n, k))
            for loss, row in LOSSES.items():
                try:
                    Y = target(loss, y, n, k, "columns" if turned else "rows")
                except (MisfitError, UserError):
                    continue
                if loss in ("bce", "cross_entropy") and not ((matrix >= 0) & (matrix <= 1)).all():
                    continue
                if loss == "cross_entropy" and k == 1:
                    continue
                index = k > 1 and y.size == n and row.labels == "real"  # labels are no real targets
                rank = (index, loss in SIBLINGS, "`" in name)
                for square in (False, True) if k == 1 < n and y.ndim == 1 else (False,):
                    with np.errstate(all="ignore"):
                        value, G = _terms(loss, matrix, Y, square)
                    if not (np.isfinite(value) and np.isfinite(G).all()):
                        continue
                    each = k * n if square else k
                    per = {"sum": 1, "mean_over_samples": n, "mean_over_all": n * each}
                    chosen = [
                        q for q in _different(per)
                        if wanted is None or abs(value / per[q] - wanted) <= CLOSE * abs(wanted)
                    ]  # fmt: skip
                    if not chosen:
                        continue
                    gradient = None
                    if step is not None and traced is not None:
                        upstream = (G.T if turned else G).reshape(array.shape)
                        gradient = traced.slopes(step.array, upstream)
                    for reduction in chosen:
                        c = per[reduction]
                        share = None if gradient is None else gradient.over(c)
                        wide = n if square else 0
                        yield Reading(loss, reduction, name, value / c, share, broadcast=wide, rank=rank)


def _terms(loss: str, o: Array, y: Array, square: bool) -> tuple[float, Array]:
    """Σ terms and its derivative by o; `square`: every output (N, 1) meets every target (N,)."""
    if not square:
        return float(LOSSES[loss].terms(o, y).sum()), LOSSES[loss].derivative(o, y)
    wide, targets = np.repeat(o, len(o), axis=1), np.repeat(y.T, len(o), axis=0)
    terms, slopes = LOSSES[loss].terms(wide, targets), LOSSES[loss].derivative(wide, targets)
    return float(terms.sum()), slopes.sum(axis=1, keepdims=True)


def _arrays(traced: TracedLoss | None, output: Array | None) -> list[tuple[str, Array, TracedArray | None]]:
    """The arrays of the forward pass, the returned output first, under its own name if it is one of them."""
    found: list[tuple[str, Array, TracedArray | None]] = []
    if traced is not None:
        found = [(s.name, s.value, s) for s in traced.steps]
    if output is None:
        return found
    o = np.asarray(output, dtype=float)
    for name, value, step in found:
        if value.size == o.size and np.allclose(value.ravel(), o.ravel()):
            return [(name, value, step), *found]
    return [("the output", o, None), *found]


def _frames(array: Array) -> list[tuple[Array, bool]]:
    """The array as (N, K) in the ways it may lie, and whether it was turned."""
    if array.ndim == 1:
        return [(array.reshape(-1, 1), False), (array.reshape(1, -1), False)]
    return [(array, False), (array.T, True)]


def _different(per: Mapping[str, int]) -> list[str]:
    return [r for i, r in enumerate(REDUCTIONS) if per[r] not in [per[q] for q in REDUCTIONS[:i]]]


def _own(every: list[Reading], loss: float, values: Gradient, true: Gradient) -> list[Reading]:
    """The readings of the author's loss: as it stands, with a penalty, or times a constant."""
    plain = [r for r in every if abs(r.value - loss) <= CLOSE * abs(loss) and near(r.gradient, true, CLOSE)]
    if plain:
        return distinct(plain)
    traced = [(r, r.gradient) for r in every if r.gradient is not None]
    found = [
        replace(r, penalty=amounts)
        for r, g in traced
        if (amounts := _penalty(r.value, g, loss, values, true))
    ]
    found = found or [
        replace(r, factor=loss / r.value)
        for r, g in traced
        if r.reduction == "sum" and r.value and near(g, true, CLOSE, loss / r.value)
    ]
    return distinct(found)


def _penalty(value: float, g: Gradient, loss: float, values: Gradient, true: Gradient) -> dict[str, float]:
    """λ of ½·λ·Σθ² by name where that is all the author's loss holds beside this one, else {}."""
    amounts: dict[str, float] = {}
    for n in g:
        t = true[n]
        theta, rest = values[n], t - g[n]
        square = float((theta * theta).sum())
        if np.linalg.norm(rest) <= CLOSE * np.linalg.norm(t) or not square:
            continue
        amount = float((rest * theta).sum()) / square
        if np.linalg.norm(rest - amount * theta) > CLOSE * np.linalg.norm(t):
            return {}
        amounts[n] = amount
    amounts = {n: amounts[n] for n in true if n in amounts}
    total = sum(v / 2 * float((values[n] ** 2).sum()) for n, v in amounts.items())
    return amounts if abs(value + total - loss) <= CLOSE * abs(loss) else {}


def _numeric(value: Any) -> bool:
    """Whether it is one array of numbers, and no list of several."""
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except ValueError:  # arrays of different shapes are no array
        return False
