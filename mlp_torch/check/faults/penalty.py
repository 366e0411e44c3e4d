"""Slips in the gradient of an L2 or L1 penalty."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part, Penalties
from mlp_torch.check.faults.claims import Claim, Claims, Make, norm
from mlp_torch.check.faults.evidence import Evidence


def slips(c: Evidence, part: Part, h: Array, D: Array, R: Array, make: Make) -> Iterator[Claims]:
    """One mistake in the penalty's gradient R where the data's gradient D is right: h = D + what is left."""
    theta = c.problem.theta(part)
    sign = np.sign(theta)
    true = c.problem.penalties.get((part.layer, part.role), Penalties())
    told = False
    if true.l1 and true.l2:
        share = _amount(c, part, h, h - D, R)
        if share is not None and (h.size > 2 or c.name_constant(share)):
            told = True
            yield (penalty(c, part, share, 1.0, "both", make),)
    bases = [("l2", theta)] + ([("l1", sign)] if true.l1 or not true.l2 else [])
    for label, base in [] if told else bases:
        wanted = 2 * true.l2 if label == "l2" else true.l1
        amount = _amount(c, part, h, h - D - (R - base * wanted), base)
        if amount is not None and (h.size > 2 or known(c, part, amount, wanted)):
            yield (penalty(c, part, amount, wanted, label, make),)
    others = [("λθ", "λ sign(θ)", theta, true.l1, sign), ("λ|θ|", "λ sign(θ)", np.abs(theta), true.l1, sign)]
    if not true.l1:
        others = [
            ("λ sign(θ)", "λθ", sign, 2 * true.l2, theta),
            ("λ|θ|", "λθ", np.abs(theta), 2 * true.l2, theta),
        ]
    others.append(
        ("λθ²", "λ sign(θ)", theta * theta, true.l1, sign)
        if true.l1
        else ("λθ²", "λθ", theta * theta, 2 * true.l2, theta)
    )
    if not R.any() and h.size > 3:
        amount = _amount(c, part, h, h - D, theta * theta)
        if amount:
            text = f"adds {amount:.6g}·θ², which is no gradient of a penalty, and the loss holds none"
            yield (make("wrong_regulariser", f"added square {amount:.6g}", text, odd=1.2),)
    for words, right, base, wanted, own in others:
        if not wanted or c.same(base, own, part) or c.same(base, -own, part):
            continue
        amount = _amount(c, part, h, h - D - (R - own * wanted), base)
        if amount is None or not amount:
            continue
        plain = any(abs(amount - v * wanted) <= 1e-6 * abs(v * wanted) for v in (1, 2, 0.5, -1))
        if plain or h.size > 3:
            text = f"has {words} for the penalty's gradient {right}"
            yield (make("wrong_regulariser", words, text, odd=0.8 if plain else 1.2),)


def _amount(c: Evidence, part: Part, h: Array, rest: Array, base: Array) -> float | None:
    """v with rest = v · base up to the rounding of h, or None."""
    square = float((base * base).sum())
    if not square:
        return None
    amount = float((rest * base).sum()) / square
    return amount if norm(rest - amount * base) <= c.rtol * norm(h) + c.floor[part] else None


def _label(c: Evidence, part: Part) -> str:
    true = c.problem.penalties.get((part.layer, part.role), Penalties())
    return "both" if true.l1 and true.l2 else "l1" if true.l1 else "l2"


def known(c: Evidence, part: Part, amount: float, wanted: float) -> bool:
    """A coefficient that an array of one or two entries may be trusted to show."""
    if not wanted:
        weights = c.problem.penalties.get((part.layer, "W"), Penalties())
        return any(v and abs(amount - v) <= 1e-6 * abs(v) for v in (2 * weights.l2, weights.l1))
    return abs(amount + wanted) <= 1e-8 * abs(wanted) or bool(c.name_constant(abs(amount / wanted)))


def penalty(c: Evidence, part: Part, value: float, wanted: float, label: str, make: Make) -> Claim:
    """The claim that the penalty's gradient has the coefficient `value` in place of `wanted`."""
    what = {"l2": "λθ", "l1": "λ sign(θ)", "both": "λ₂θ + λ₁ sign(θ)"}[label]
    true = c.problem.penalties.get((part.layer, part.role), Penalties())
    held = 2 * true.l2 if label == "l2" else true.l1
    make = partial(make, value=value if wanted in (0.0, held) else value * held)
    if wanted == 0:
        text = f"adds {value:.6g}·{'θ' if label == 'l2' else 'sign(θ)'}, which the loss does not hold"
        weights = c.problem.penalties.get((part.layer, "W"), Penalties())
        of_biases = part.role == "b" and weights != Penalties()  # the weights' own penalty, on biases too
        variant = f"{'biases' if of_biases else 'added'} {label} {value:.6g}"
        return make("wrong_regulariser", variant, text, odd=0.8)
    ratio = value / wanted
    if abs(ratio) < 1e-9:
        text = "lacks the penalty's gradient" if label == "both" else f"lacks the penalty's {label} gradient"
        return make("wrong_regulariser", "missing", text, odd=0.5)
    if abs(ratio + 1) < 1e-8:
        return make("wrong_regulariser", "sign", "subtracts the penalty's gradient", odd=0.8)
    names = [r for r in c.name_constant(ratio) if r[-1][0] == "constant_factor"]
    words = names[0][-1][2].removeprefix("is the true one ") if names else f"times {ratio:.6g}"
    return make("wrong_regulariser", f"{ratio:.7g}", f"has the penalty's gradient {what} {words}", odd=0.8)


def missing_penalty(make: Make) -> Claim:
    return make("wrong_regulariser", "missing", "lacks the penalty's gradient", odd=0.5, value=0.0)


def by_name(c: Evidence, part: Part, make: Make) -> Iterator[tuple[Claim, Array]]:
    """The penalty's gradient as people write it by mistake, where the array is too small to be fitted."""
    theta, R = c.problem.theta(part), c.regulariser(part)
    h = c.h[part]
    if part.role == "slope" or (h is not None and h.size > (3 if R.any() else 5)):
        return
    if R.any():
        n = c.problem.samples
        for share in (0.0, 2.0, 0.5, -1.0, 1 / n, float(n)):
            yield penalty(c, part, share, 1.0, _label(c, part), make), share * R
        return
    weights = c.problem.penalties.get((part.layer, "W"), Penalties())
    if part.role == "b" and weights.l2 and theta.any():
        amount = 2 * weights.l2
        yield penalty(c, part, amount, 0.0, "l2", make), amount * theta


def of_reduced_bias(c: Evidence, part: Part, h: Array, D: Array, R: Array, make: Make) -> Iterator[Claims]:
    """A small bias averaged for summed (or the reverse) whose penalty's gradient is wrong too."""
    n = c.problem.samples
    for value, words in (
        (1 / n, "is the mean over the samples where the sum belongs"),
        (float(n), "is the sum over the samples where the mean belongs"),
    ):
        claim = make("wrong_bias_reduction", f"{value:.9g}", words, odd=0.9)
        if not R.any():  # the loss holds no penalty on biases, the gradient the one on the weights
            theta = c.problem.theta(part)
            amount = _amount(c, part, h, h - value * D, theta)
            if amount and known(c, part, amount, 0.0):
                yield claim, penalty(c, part, amount, 0.0, "l2", make)
            continue
        share = _amount(c, part, h, h - value * D, R)
        if share is not None and (abs(share) < 1e-9 or abs(share + 1) < 1e-8 or c.name_constant(share)):
            yield claim, penalty(c, part, share, 1.0, _label(c, part), make)


def beside_samples(c: Evidence, part: Part, flat: Array, each: Array, R: Array, make: Make) -> list[Claims]:
    """What goes with a bias whose samples, `each` (N, out) in the author's form, were not summed."""
    n = c.problem.samples
    for value in (1.0, 1 / n):
        rest = flat - value * each
        for spread in (R, R.reshape(-1, 1)):
            try:
                row = np.broadcast_to(spread, flat.shape)
            except ValueError:
                continue
            share = _amount(c, part, flat, rest, row)
            if share is not None:
                right = abs(share - 1) <= 1e-7
                return [() if right else (penalty(c, part, share, 1.0, _label(c, part), make),)]
    return []
