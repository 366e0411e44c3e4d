"""The table of hypotheses on the chain: the loss's derivative, dropout, the way through the weights."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import chain, jacobian
from mlp_torch.check.describe.losses import LOSSES, fused
from mlp_torch.check.faults import activation
from mlp_torch.check.faults.claims import Claim, Claims, Evidence, norm
from mlp_torch.check.faults.output import loss_gradients, mismatched, weights_of

# (claims, da before f′, dz)
ChainStep = tuple[Claims, Array, Array]


def top(c: Evidence, budget: int) -> Iterator[ChainStep]:
    """Every dz of the last layer within `budget` mistakes, the true one first."""
    p = c.problem
    L = len(p.layers)
    last = p.layers[-1]
    true = p.top()
    with np.errstate(all="ignore"):
        da = p.loss_gradient() * last.factor
        yield (), da, true
        if budget == 0:
            return
        for claims, dz in activation.options(c, L, da)[1:]:
            yield claims, da, dz
        yield from _doubled(c, da, true)
        if budget == 0:
            return
        for claim, G in loss_gradients(c):
            upstream = G * last.factor
            short = _fused(c, claim)
            through = chain(last.activation, upstream, p.z[L], p.f[L], last.constants)
            dz = through if short is None else short
            if claim.kind == "loss_mismatch" and c.ratio(dz, true) is not None:
                continue  # bce over two softmax outputs is twice cross_entropy: a constant
            yield (claim,), upstream, dz
            if budget >= 2 and (claim.kind != "loss_mismatch" or claim.variant.endswith(f" {p.reduction}")):
                for more, other in activation.options(c, L, upstream)[1:]:
                    yield (claim, *more), upstream, other
        if budget >= 2:
            for claims, G in mismatched(c):
                upstream = G * last.factor
                yield claims, upstream, chain(last.activation, upstream, p.z[L], p.f[L], last.constants)
        if last.mask is not None:
            for claim, upstream in _dropout(c, L, p.loss_gradient()):
                ways = activation.options(c, L, upstream, unmasked=True)
                for more, dz in ways[: None if budget > 1 else 1]:
                    yield (claim, *more), upstream, dz


def _fused(c: Evidence, claim: Claim) -> Array | None:
    """dz of another loss whose derivative cancels with the activation's."""
    p = c.problem
    if claim.kind != "loss_mismatch" or p.layers[-1].mask is not None:
        return None
    loss, reduction = claim.variant.split(" ")
    short = fused(loss, p.layers[-1].activation, p.output, p.y, p.z[-1])
    return None if short is None else short * weights_of(c, reduction)


def _doubled(c: Evidence, da: Array, true: Array) -> Iterator[ChainStep]:
    """The pair loss and softmax or sigmoid cancels to p − y; people then multiply by f′ once more."""
    p = c.problem
    L, last = len(p.layers), p.layers[-1]
    kind, line = "wrong_softmax_jacobian", f"dz{L} = p − y"
    if last.activation == "softmax" and p.loss == "cross_entropy" and last.mask is None:
        s = p.output
        yield (
            (
                Claim(
                    kind,
                    "twice",
                    "has softmax's Jacobian twice: p − y holds it already",
                    L,
                    line=line,
                    odd=0.4,
                ),
            ),
            da,
            jacobian(true, s),
        )
        yield (
            (
                Claim(
                    kind,
                    "diagonal twice",
                    "has s(1 − s) beside p − y, which holds the Jacobian already",
                    L,
                    line=line,
                    odd=0.6,
                ),
            ),
            da,
            true * s * (1 - s),
        )
        yield (
            (Claim(kind, "s twice", "has s beside p − y, which holds the Jacobian already", L, line=line),),
            da,
            true * s,
        )
    if p.loss == "cross_entropy_from_logits" and last.mask is None:
        o = p.output
        s = LOSSES["cross_entropy_from_logits"].derivative(o, np.zeros_like(o)) + np.exp(
            o - np.logaddexp.reduce(o, axis=1, keepdims=True)
        )
        G = p.loss_gradient()
        for variant, words, g in (
            ("twice", "has softmax's Jacobian twice: p − y holds it already", jacobian(G, s)),
            (
                "diagonal twice",
                "has s(1 − s) beside p − y, which holds the Jacobian already",
                G * s * (1 - s),
            ),
            ("diagonal", "has the diagonal of softmax's Jacobian only, s(1 − s)", -p.weight * p.y * (1 - s)),
        ):
            claim = Claim(kind, variant, words, L, line="dŷ = softmax(ŷ) − y", odd=0.6)
            yield (claim,), g, chain(last.activation, g, p.z[L], p.f[L], last.constants)


def _dropout(c: Evidence, number: int, u: Array) -> Iterator[tuple[Claim, Array]]:
    """(claim, gradient at the activation): slips in dropout's backward; u is the gradient at the output."""
    layer = c.problem.layers[number - 1]
    if layer.mask is None:
        return
    kept = (layer.mask != 0).astype(float)
    keep = layer.keep
    right = u * layer.factor
    cases = [
        ("mask", "lacks dropout's mask", u, 0.6),
        ("scale", "lacks dropout's scale 1/(1 − p)", u * kept, 0.5),
        ("mask but scale", "lacks dropout's mask and has its scale", u / keep, 0.9),
        ("scale twice", "has dropout's scale 1/(1 − p) twice", u * kept / keep**2, 0.8),
        ("keep", "multiplies by 1 − p where dropout divides", u * kept * keep, 0.8),
        ("p", "divides by p where dropout divides by 1 − p", u * kept / max(1 - keep, 1e-300), 0.9),
        ("turned", "has dropout's mask turned round", u * (1 - kept) / keep, 0.9),
        ("turned plain", "has dropout's mask turned round, without its scale", u * (1 - kept), 1.0),
        ("scale missing and p", "multiplies by p", u * kept * (1 - keep), 1.1),
    ]
    for other in c.problem.layers:
        if other.index != number and other.mask is not None and other.mask.shape == layer.mask.shape:
            cases.append(
                ("other mask", f"has the dropout mask of layer {other.index}", u * other.factor, 1.0)
            )
    for variant, words, value, odd in cases:
        if np.isfinite(value).all() and not np.allclose(value, right, rtol=1e-11, atol=0):
            yield (
                Claim(
                    "wrong_dropout_backward",
                    variant,
                    words,
                    number,
                    line=f"da{number} = dh{number} · mask{number}",
                    odd=odd,
                ),
                value,
            )


def hidden(c: Evidence, number: int, u: Array, budget: int) -> Iterator[ChainStep]:
    """Every dz of hidden layer number from the gradient at its output, the true one first."""
    layer = c.problem.layers[number - 1]
    da = u * layer.factor
    if budget == 0:
        yield (), da, c.problem.down(number, u)
        return
    with np.errstate(all="ignore"):
        for claims, dz in activation.options(c, number, da):
            yield claims, da, dz
        if budget > 1 and layer.activation != "softmax":
            yield from _alone(c, number, da)
        for claim, other in _dropout(c, number, u):
            ways = activation.options(c, number, other, unmasked=True)
            for claims, dz in ways[: None if budget > 1 else 1]:
                yield (claim, *claims), other, dz


def _alone(c: Evidence, number: int, da: Array) -> Iterator[ChainStep]:
    """A wrong f′ that is not multiplied by the upstream gradient either."""
    words = "is f′(z) alone: the upstream gradient is not multiplied in"
    plain = Claim(
        "not_multiplied_by_upstream", "dz", words, number, line=f"dz{number} = da{number} · f′(z{number})"
    )
    for claim, slope in activation.slopes(c, number)[1]:
        yield (claim, plain), da, slope


def ways_down(
    c: Evidence, number: int, dz: Array, budget: int, factors: Sequence[float] = ()
) -> Iterator[tuple[Claims, Array]]:
    """The gradient at the output of the layer below from dz: through W, its transpose, or new weights.

    `factors`: constants that the layer's array was multiplied with, before or after the update.
    """
    W = c.problem.layers[number - 1].W
    line = f"da{number - 1} = dz{number} W{number}ᵀ"
    true = dz @ W.T
    yield (), true
    if budget == 0:
        return
    if _nothing_below(c, number - 1, true):
        words = f"is zero: nothing comes down through W{number}"
        yield (Claim("zero_gradient", "zero", words, number - 1, line=line, odd=0.9),), np.zeros_like(true)
    if W.shape[0] == W.shape[1] and W.shape[0] > 1:
        yield (
            (
                Claim(
                    "transpose", "W", f"goes through W{number} where its transpose belongs", number, line=line
                ),
            ),
            dz @ W,
        )
    words = f"goes through W{number} after its update"
    claim = Claim("updated_weights_used", "W", words, number, line=line, odd=0.7)
    if number in c.after:
        yield (claim,), dz @ c.after[number].T
    part = next(p for p in c.problem.layers[number - 1].parts if p.role == "W")
    h = c.h.get(part)
    if h is not None and number not in c.after:
        # the update took the gradient that was handed over, or the one before a later slip
        own = c.problem.leaf(part, dz) + c.problem.regulariser(part)
        again = own.shape == h.shape and c.same(h, own, part)
        # or before the constant that all arrays were multiplied with
        before = [h / v for v in factors]
        for rate in (c.lr, 1.0):
            claim = replace(claim, value=rate or 1.0)
            for move in (h,) if again else (h, own, *before):
                if rate is not None:
                    yield (claim,), dz @ (W - rate * move).T
                if rate is not None and W.shape[0] == W.shape[1] > 1:
                    words = f"goes through W{number} where its transpose belongs"
                    turned = Claim("transpose", "W", words, number, line=line)
                    yield (claim, turned), dz @ (W - rate * move)
        fitted = _fitted_rate(c, number, dz, h, claim) if c.lr is None else None
        if fitted is not None:
            yield fitted
    plain = Claim(
        "not_multiplied_by_upstream",
        "W",
        f"goes through W{number} without the gradient above it",
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
        R = c.problem.regulariser(part)
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
