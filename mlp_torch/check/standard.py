"""Which standard loss a function's value is, over which array of its own forward pass, and whose gradient."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.layers import as_float
from mlp_torch.check.losses import LOSSES, REDUCTIONS
from mlp_torch.check.report import Fault, Report, sentence
from mlp_torch.check.targets import MisfitError, target
from mlp_torch.check.tracing import Step, Trace
from mlp_torch.errors import UserError

MOST = 40  # arrays of the forward pass that are tried, from the loss up
CLOSE = 1e-6  # an ε inside a log or a division leaves that much
# a loss over probabilities and its sibling over logits are one function of the parameters
SIBLINGS = {"bce_with_logits": "bce", "cross_entropy_from_logits": "cross_entropy"}

Gradient = Mapping[str, Array]


@dataclass(frozen=True)
class Reading:
    """A standard loss over one array: its value and, where the forward pass was traced, its gradient."""

    loss: str
    reduction: str
    over: str
    value: float
    gradient: Gradient | None
    extra: str = ""  # what the author's loss holds beside it

    @property
    def family(self) -> str:
        return SIBLINGS.get(self.loss, self.loss)

    def __str__(self) -> str:
        return f"{self.loss} over {self.over}, reduction {self.reduction}{self.extra}"


def against_standard(
    report: Report, traced: Trace | None, loss: float, output: Array | None, data: Sequence[Array],
    values: Gradient, hand: Gradient, true: Gradient, allowed: Mapping[str, float],
) -> Report:  # fmt: skip
    """The report with what the author's loss is; `other_loss` where the gradient is another one's."""
    if traced is None and output is None:
        text = "note: the loss was not compared with the standard losses, because tracing failed; "
        return _noted(report, text + "return the output too, (loss, gradients, output)")
    every = list(_readings(traced, output, data))
    own = _own(every, loss, values, true)
    if traced is None:
        report = _noted(report, _said(own) + "; tracing failed, so the gradients of other losses were not")
    else:
        report = _noted(report, _said(own))
    if report.verdict != "wrong" or traced is None:
        return report
    rest: dict[str, Array] = {n: np.zeros(t.shape) for n, t in true.items()}
    if own and own[0].gradient is not None:
        rest = {n: t - own[0].gradient[n] for n, t in true.items()}
    return _other(report, every, own, rest, hand, true, allowed)


def _noted(report: Report, text: str) -> Report:
    return replace(report, notes=(*report.notes, text))


def _said(own: list[Reading]) -> str:
    if not own:
        return "note: your loss value is none of the standard losses over any array of your forward pass"
    return "note: your loss is " + ", or ".join(map(str, own))


def _readings(traced: Trace | None, output: Array | None, data: Sequence[Array]) -> Iterator[Reading]:
    """Every standard loss over every array that may be an output of N samples, the last array first."""
    x, y = np.asarray(data[0]), as_float(np.asarray(data[1]), "y")
    sizes = {*x.shape, *([1] if x.ndim < 2 else [])}  # N is one of them; x alone may be one sample
    arrays = _arrays(traced, output)
    fitting = [a for a in arrays if 0 < a[1].ndim <= 2 and a[1].size >= y.size / max(y.shape[-1:] or (1,))]
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
                with np.errstate(all="ignore"):
                    value, G = float(row.terms(matrix, Y).sum()), row.derivative(matrix, Y)
                if not (np.isfinite(value) and np.isfinite(G).all()):
                    continue
                gradient = None
                if step is not None and traced is not None:
                    upstream = (G.T if turned else G).reshape(array.shape)
                    gradient = traced.gradient(step.array, upstream)
                per = {"sum": 1, "mean_over_samples": n, "mean_over_all": n * k}
                for reduction in _different(per):
                    c = per[reduction]
                    share = None if gradient is None else {m: g / c for m, g in gradient.items()}
                    yield Reading(loss, reduction, name, value / c, share)


def _arrays(traced: Trace | None, output: Array | None) -> list[tuple[str, Array, Step | None]]:
    """The arrays of the forward pass, the returned output first, under its own name if it is one of them."""
    found: list[tuple[str, Array, Step | None]] = []
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
    plain = [r for r in every if abs(r.value - loss) <= CLOSE * abs(loss) and _is(r.gradient, true, CLOSE)]
    if plain:
        return _distinct(plain)
    traced = [(r, r.gradient) for r in every if r.gradient is not None]
    found = [replace(r, extra=text) for r, g in traced if (text := _penalty(r.value, g, loss, values, true))]
    found = found or [
        replace(r, extra=f", times {loss / r.value:.6g}")
        for r, g in traced
        if r.reduction == "sum"
        and r.value
        and _is({n: v * loss / r.value for n, v in g.items()}, true, CLOSE)
    ]
    return _distinct(found)


def _distinct(found: list[Reading]) -> list[Reading]:
    """The last array's readings, of siblings the first alone."""
    kept: dict[tuple[str, str], Reading] = {}
    for r in found:
        kept.setdefault((r.family, r.reduction), r)
    return list(kept.values())[:4]


def _is(g: Gradient | None, wanted: Gradient, close: float) -> bool:
    if g is None:
        return True
    gap = np.sqrt(sum(float(np.sum((g[n] - w) ** 2)) for n, w in wanted.items()))
    return bool(gap <= 10 * close * np.sqrt(sum(float(np.sum(w**2)) for w in wanted.values())))


def _penalty(value: float, g: Gradient, loss: float, values: Gradient, true: Gradient) -> str:
    """The words for λ/2·Σθ² where that is all the author's loss holds beside this one, else "" ."""
    amounts: dict[str, float] = {}
    for n, t in true.items():
        theta, rest = values[n], t - g[n]
        square = float((theta * theta).sum())
        if np.linalg.norm(rest) <= CLOSE * np.linalg.norm(t) or not square:
            continue
        amount = float((rest * theta).sum()) / square
        if np.linalg.norm(rest - amount * theta) > CLOSE * np.linalg.norm(t):
            return ""
        amounts[n] = amount
    total = sum(v / 2 * float((values[n] ** 2).sum()) for n, v in amounts.items())
    if not amounts or abs(value + total - loss) > CLOSE * abs(loss):
        return ""
    groups: dict[str, list[str]] = {}
    for n, v in amounts.items():
        groups.setdefault(f"{v:.6g}", []).append(n)
    return "".join(f", plus ½·{v}·Σθ² of {' and '.join(names)}" for v, names in groups.items())


def _other(
    report: Report, every: list[Reading], own: list[Reading], rest: Gradient, hand: Gradient,
    true: Gradient, allowed: Mapping[str, float],
) -> Report:  # fmt: skip
    """`other_loss` where the hand-written gradient is another standard loss's, to the noise floor."""
    if any(hand[n].size != t.size for n, t in true.items()):
        return report
    h = {n: hand[n].astype(float).reshape(t.shape) for n, t in true.items()}
    fits = [
        r
        for r in every
        if r.gradient is not None
        and all(g.any() or not true[n].any() for n, g in r.gradient.items())
        and all(
            np.linalg.norm(h[n] - g - rest[n]) <= allowed[n] + 1e-9 * np.linalg.norm(h[n])
            for n, g in r.gradient.items()
        )
    ]
    if not fits:
        return report
    is_own = (
        f"the loss you return is {own[0]}" if own else "the loss you return is none of the standard losses"
    )
    wrong = tuple(n for n, row in report.arrays.items() if row.verdict != "right")
    sets = [[Fault("loss_mismatch", None, wrong, f"is right for {r}", is_own)] for r in _distinct(fits)]
    first = _distinct(fits)[0]
    names = (first.loss, own[0].loss if own else "none of the standard losses")
    if own and first.loss == own[0].loss:
        names = (f"{first.loss}, reduction {first.reduction}", f"{own[0].loss}, reduction {own[0].reduction}")
    message = f"your gradient is right for {names[0]}, but the loss you return is {names[1]}"
    message += f" ({sentence(wrong)} {'is' if len(wrong) == 1 else 'are'} the derivative of {first})"
    return replace(report, verdict="other_loss", faults=sets[0], alternatives=sets[1:], message=message)
