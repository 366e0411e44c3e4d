"""A gradient that is wrong for its own loss and right for another, or for another penalty."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.reading import Gradient, Reading, distinct, near
from mlp_torch.check.report import CheckReport, Fault, sentence


def other_loss(
    report: CheckReport, every: list[Reading], own: list[Reading], values: Gradient, hand: Gradient,
    true: Gradient, allowed: Mapping[str, float],
) -> CheckReport:  # fmt: skip
    """`other_loss` where the hand-written gradient is another standard loss's, to the noise floor.

    The penalty of the author's loss is taken to be in the gradient too. A constant beside the other loss,
    and a wrong penalty's gradient, are told as faults.
    """
    if any(hand[n].size != t.size for n, t in true.items()):
        return report
    rest: dict[str, Array] = {n: np.zeros(t.shape) for n, t in true.items()}
    if own and own[0].gradient is not None and own[0].extra and not own[0].factor:
        rest = {n: t - own[0].gradient[n] for n, t in true.items()}
    h = {n: hand[n].astype(float).reshape(t.shape) for n, t in true.items()}
    wrong = tuple(n for n, row in report.arrays.items() if row.verdict != "right")
    h = {n: v - rest[n] for n, v in h.items()}
    reaching = [
        r
        for r in every
        if r.gradient is not None
        and not r.broadcast
        and all(g.any() or not true[n].any() for n, g in r.gradient.items())
    ]
    data = {n: t - rest[n] for n, t in true.items()}
    reaching = [r for r in reaching if not near(r.gradient, data, 1e-9)]  # that is the author's own
    fits = [r for r in reaching if _equal(h, r, 1.0, allowed)]
    constant = 1.0
    if not fits and not (own and own[0].extra):
        summed = [r for r in reaching if r.reduction == "sum" and not _same_way(r, true)]
        shares = {id(r): _share(h, r) for r in summed}
        fits = [r for r in summed if shares[id(r)] > 0 and _equal(h, r, shares[id(r)], allowed)]
        constant = shares[id(distinct(fits)[0])] if fits else 1.0
    if own and any((r.family, r.reduction) == (own[0].family, own[0].reduction) for r in distinct(fits)[:1]):
        fits = []  # the same loss over another array: no other loss is what was meant
    if not fits:
        return _penalised(report, own, values, hand, true, wrong)
    is_own = (
        f"the loss you return is {own[0]}" if own else "the loss you return is none of the standard losses"
    )
    sets = [[Fault("loss_mismatch", None, wrong, f"is right for {r}", is_own)] for r in distinct(fits)]
    first = distinct(fits)[0]
    for r in distinct(fits) if own else ():
        if r.family == own[0].family and constant == 1:  # the same loss, summed or averaged otherwise
            words = f"has its data part times {r.value / own[0].value:.6g}" if own[0].value else ""
            sets += [[Fault("constant_factor", None, wrong, words, is_own)]] if words else []
    names = (first.loss, own[0].loss if own else "none of the standard losses")
    if own and first.loss == own[0].loss:
        names = (f"{first.loss}, reduction {first.reduction}", f"{own[0].loss}, reduction {own[0].reduction}")
    verb = "is" if len(wrong) == 1 else "are"
    message = f"your gradient is right for {names[0]}, but the loss you return is {names[1]}"
    message += f" ({sentence(wrong)} {verb} the derivative of {first}"
    if constant == 1:
        return replace(
            report, verdict="other_loss", faults=sets[0], alternatives=sets[1:], message=f"{message})"
        )
    words = f"is that derivative times {constant:.6g}"
    sets = [[*s, Fault("constant_factor", None, wrong, words, f"of {first}")] for s in sets]
    message = f"{message}, times {constant:.6g})"
    return replace(report, faults=sets[0], alternatives=sets[1:], message=message)


def _equal(h: Gradient, r: Reading, share: float, allowed: Mapping[str, float]) -> bool:
    assert r.gradient is not None
    return all(
        np.linalg.norm(h[n] - share * g) <= allowed[n] + 1e-9 * np.linalg.norm(h[n])
        for n, g in r.gradient.items()
    )


def _share(h: Gradient, r: Reading) -> float:
    assert r.gradient is not None
    square = sum(float((g * g).sum()) for g in r.gradient.values())
    return sum(float((h[n] * g).sum()) for n, g in r.gradient.items()) / square if square else 0.0


def _same_way(r: Reading, true: Gradient) -> bool:
    """The other loss's gradient is the author's own times a constant."""
    share = _share(true, r)
    assert r.gradient is not None
    return all(np.linalg.norm(t - share * r.gradient[n]) <= 1e-6 * np.linalg.norm(t) for n, t in true.items())


def _penalised(
    report: CheckReport, own: list[Reading], values: Gradient, hand: Gradient, true: Gradient,
    wrong: tuple[str, ...],
) -> CheckReport:  # fmt: skip
    """Every wrong array is the true one plus one number times the parameter: a penalty's slip."""
    amounts = {}
    for n in wrong:
        theta, gap = values[n], hand[n].reshape(true[n].shape) - true[n]
        amount = float((gap * theta).sum()) / max(float((theta * theta).sum()), 1e-300)
        if theta.size < 3 or np.linalg.norm(gap - amount * theta) > 1e-7 * np.linalg.norm(gap):
            return report
        amounts[n] = amount
    faults = []
    for shown in dict.fromkeys(f"{v:.6g}" for v in amounts.values()):
        names = tuple(n for n, v in amounts.items() if f"{v:.6g}" == shown)
        words = f"is the derivative of your loss plus {shown}·θ: the penalty's gradient is another one"
        faults.append(Fault("wrong_regulariser", None, names, words, f"your loss is {own[0]}" if own else ""))
    if not faults or report.faults:
        return report
    return replace(report, faults=faults)
