"""Slips on the way through the weights: W for its transpose, new weights, and dW with the array beside."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, Make, norm
from mlp_torch.check.faults.evidence import Evidence


def ways_down(
    c: Evidence, number: int, dz: Array, budget: int, factors: Sequence[float] = ()
) -> Iterator[tuple[Claims, Array]]:
    """The gradient at the output of the layer below from dz: through W, its transpose, or new weights.

    `factors`: constants that the layer's array was multiplied with, before or after the update.
    """
    W = c.problem.layers[number - 1].W
    line, name = c.names.down(number), c.names.weight(number)
    true = dz @ W.T
    yield (), true
    if budget == 0:
        return
    if _nothing_below(c, number - 1, true):
        words = f"is zero: nothing comes down through {name}"
        yield (Claim("zero_gradient", "zero", words, number - 1, line=line, odd=0.9),), np.zeros_like(true)
    if W.shape[0] == W.shape[1] and W.shape[0] > 1:
        yield (
            (Claim("transpose", "W", f"goes through {name} where its transpose belongs", number, line=line),),
            dz @ W,
        )
    words = f"goes through {name} after its update"
    claim = Claim("updated_weights_used", "W", words, number, line=line, odd=0.7)
    if number in c.after:
        yield (claim,), dz @ c.after[number].T
    part = next(p for p in c.problem.layers[number - 1].parts if p.role == "W")
    h = c.h.get(part)
    if h is not None and number not in c.after:
        # the update took the gradient that was handed over, or the one before a later slip
        own = c.problem.leaf(part, dz) + c.regulariser(part)
        again = own.shape == h.shape and c.same(h, own, part)
        # or before the constant that all arrays were multiplied with
        before = [h / v for v in factors]
        for rate in (c.lr, 1.0):
            claim = replace(claim, value=rate or 1.0)
            for move in (h,) if again else (h, own, *before):
                if rate is not None:
                    yield (claim,), dz @ (W - rate * move).T
                if rate is not None and W.shape[0] == W.shape[1] > 1:
                    words = f"goes through {name} where its transpose belongs"
                    turned = Claim("transpose", "W", words, number, line=line)
                    yield (claim, turned), dz @ (W - rate * move)
        fitted = _fitted_rate(c, number, dz, h, claim) if c.lr is None else None
        if fitted is not None:
            yield fitted
    plain = Claim(
        "not_multiplied_by_upstream",
        "W",
        f"goes through {name} without the gradient above it",
        number,
        line=line,
        odd=1.3,
    )
    yield (plain,), np.ones_like(dz) @ W.T


def _nothing_below(c: Evidence, number: int, u: Array) -> bool:
    """The author's arrays of a layer hold no data's part at all, where the true ones do."""
    parts = [q for q in c.problem.layers[number - 1].parts if q in c.h and q.role != "slope"]
    for part in parts:
        h = c.h[part]
        if h is None:
            return False
        R = c.regulariser(part)
        # the penalty's gradient alone, or that with a slip of its own
        if not c.same(h, R, part) and not (h.size > 2 and R.any() and c.ratio(h, R, part) is not None):
            return False
    return bool(parts) and norm(u) > 0 and norm(c.problem.down(number, u)) > 0


def _fitted_rate(
    c: Evidence, number: int, dz: Array, step: Array, claim: Claim
) -> tuple[Claims, Array] | None:
    """The learning rate of the update is not known: the layer below shows it, where f′ there is right."""
    p = c.problem
    below = number - 1
    if p.layers[below - 1].activation == "softmax":
        return None
    true, moved = dz @ p.layers[number - 1].W.T, dz @ step.T
    for part in p.layers[below - 1].parts:
        h = c.h.get(part)
        if part.role != "W" or h is None or h.size < 3:
            continue
        right = p.leaf(part, p.down(below, true)) + p.regulariser(part)
        D = p.leaf(part, p.down(below, moved))
        rate = c.ratio(h - right, D)
        if rate is None or rate == 0:
            continue
        gap = np.linalg.norm(h - right)
        if gap < 1e-6 * np.linalg.norm(h):
            continue
        words = f"{claim.detail} (learning rate {-rate:.6g})"
        named = Claim(claim.kind, claim.variant, words, number, line=claim.line, odd=claim.odd)
        return (named,), true + rate * moved
    return None


def of_weight(
    c: Evidence, part: Part, D: Array, R: Array, dz: Array, make: Make
) -> Iterator[tuple[Claim, Array, bool]]:
    if D.shape[0] == D.shape[1] and D.shape[0] > 1:
        claim = make("transpose", "dW", "is transposed", line="dW = aᵀ dz")
        if R.any():  # the data's part alone; the whole array is turned before it is explained
            yield claim, D.T, False
    below = part.layer - 1
    if below and c.problem.layers[below - 1].mask is not None:
        plain = c.problem.leaf(part, dz, None, c.problem.f[below])
        text = f"uses the output of {c.names.place(below)} without its dropout mask"
        yield make("wrong_dropout_backward", "input", text, line="dW = (a · mask)ᵀ dz"), plain, False


def of_step(c: Evidence, part: Part, dz: Array, da: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    """The right formula with the array beside the right one: da for dz, z for a."""
    p, below = c.problem, part.layer - 1
    name = p.layers[below].activation
    if name != "identity" and da.shape == dz.shape:
        at = c.names.mark(part.layer)
        text = f"lacks the derivative of {name}: it is made with da{at} where dz{at} belongs"
        yield make("missing_activation_derivative", "array", text, odd=0.8), p.leaf(part, da), False
    if part.role == "W" and below and p.layers[below - 1].activation != "identity":
        at = c.names.mark(below)
        text = f"has z{at}, before the activation, where a{at} belongs"
        claim = make("activation_derivative_at_wrong_array", "input", text, odd=0.9)
        yield claim, p.leaf(part, dz, None, p.z[below]), False
        if p.layers[below - 1].mask is not None:
            yield claim, p.leaf(part, dz, None, p.z[below] * p.layers[below - 1].factor), False
