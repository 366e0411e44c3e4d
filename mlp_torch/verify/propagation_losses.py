"""The global bound through the losses and their gradients."""

from typing import Any

import numpy as np

from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.local_losses import near_margins, share_rounding, term_errors
from mlp_torch.verify.propagation_layers import Bounds, Shape, Step
from mlp_torch.verify.rounding import softmax_errors, up

# sup |ℓ″| between the kinks and the jump of ℓ′ at one, for one entry of an elementwise loss
LOSS_SHAPES: dict[str, Shape] = {
    "half_squared_error": Shape(0, 1.0),
    "mse": Shape(0, 2.0),
    "l1": Shape(0, 0.0, 2.0),
    "smooth_l1": Shape(0, 1.0),
    "hinge": Shape(0, 0.0, 1.0),
    "bce_with_logits": Shape(0, 0.25),
}


def _count(stage: Stage, output: Array) -> int:
    return LOSSES[stage.row].count(output) if stage.options["reduction"] == "mean" else 1


# |L − L*| ≤ Σ (|ℓ′| + sup|ℓ″| e + jump) e / n, plus the value's own rounding
def _loss(stage: Stage, b: Bounds) -> Array:
    output, y, *w = b.read(stage)
    e = b.error(stage.reads[0])
    row = LOSSES[stage.row]
    y_native: Any = y.astype(int) if row.target == "label" and y.ndim == 1 else y
    if row.per_sample:
        # |∂ℓ/∂ŷ| ≤ 1 for labels; for rows of weights, of any sum, |p Σy − y| ≤ Σ|y| + |y|
        moved = 2 * e * (np.abs(y).sum(axis=1, keepdims=True) if y.ndim == 2 else 1.0)
        if stage.row == "cross_entropy":
            _, log_error, _ = _log_softmax(stage.reads[0], b)
            weight = np.abs(y) if y.ndim == 2 else 1.0
            own = weight * (log_error + b.r.gamma(output.shape[1] + 2) * (np.abs(output).max() * 2 + 40))
        else:
            own = b.r.gamma(output.shape[1] + 6) * (1 + 2 * np.abs(output).max(axis=1, keepdims=True))
        own = np.broadcast_to(own, output.shape)
    else:
        shape = LOSS_SHAPES[stage.row]
        jump = shape.jump * (np.abs(y) if stage.row == "hinge" else 1.0)
        derivative = np.abs(row.derivative(output, y_native))
        moved = (derivative + shape.curvature * e + jump) * e
        own, _ = term_errors(stage.row, output, y, derivative, b.r)
    size = output.size + 4
    terms = np.abs(row.terms(output, y_native)).reshape(len(output), -1)
    if w:
        share, rounding, flushed = _weighted(stage, output, w[0], terms, b)
        moved, own = (
            moved * share,
            own * share + np.broadcast_to(rounding * terms * share + flushed, own.shape),
        )
        terms = terms * share
    total = terms.sum()
    n = 1 if w else _count(stage, output)
    return np.asarray(up((moved + own).sum() / n + b.r.gamma(size) * (total + (moved + own).sum()) / n, size))


def _weighted(stage: Stage, output: Array, w: Array, size: Array, b: Bounds) -> tuple[Array, float, Array]:
    """What a term of each sample counts (N, 1), and how far terms of that size times it may stray."""
    share = LOSSES[stage.row].shares(output, w, stage.options["reduction"])[:, None]
    rounding, flushed = share_rounding(w, size, output.shape[1], b.r)
    return share * (1 + b.r.gamma(1)), rounding, flushed


def _log_softmax(name: str, b: Bounds) -> tuple[Array, Array, Array]:
    """softmax of the logits, and the errors of log softmax (absolute) and softmax (relative)."""
    if ("softmax", name) not in b.memo:
        z = b.values[name]
        shifted = z - z.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        b.memo["softmax", name] = np.exp(log_p), *softmax_errors(z, log_p, b.r)
    return b.memo["softmax", name]


def _loss_gradient(stage: Stage, b: Bounds) -> Array:
    output, y, *w = b.read(stage)
    e = b.error(stage.reads[0])
    n, k = 1 if w else _count(stage, output), output.shape[1]
    gradient = np.abs(b.values[stage.name]) * n
    if w:
        y_native: Any = y.astype(int) if y.ndim == 1 else y
        gradient = np.abs(LOSSES[stage.row].derivative(output, y_native))
    if stage.row == "cross_entropy":
        p, _, relative = _log_softmax(stage.reads[0], b)
        moved = np.expm1(np.minimum(2 * e.max(axis=1, keepdims=True), 700))
        weights = np.abs(y) if y.ndim == 2 else np.ones((1, 1))
        spread = weights.sum(axis=1, keepdims=True)
        own = p * (1 + 1e-3) * spread * (relative + b.r.gamma(k + 4)) + b.r.gamma(k + 5) * weights
        error = p * (1 + 1e-9) * spread * moved + own * (1 + moved)
    elif stage.row == "multi_margin":
        near = near_margins(output, y, b.r, 2 * e)
        if near.any():
            b.kinks[stage.reads[0]] = near
        index = (np.arange(len(y)), y.astype(int))
        jumps = (near & b.jumps).astype(float)
        jumps[index] = jumps.sum(axis=1)
        error = (jumps + b.r.gamma(k + 6) * k) / k
    else:
        shape = LOSS_SHAPES[stage.row]
        distance = np.abs(1 - y * output) if stage.row == "hinge" else np.abs(output - y)
        size = np.abs(y) if stage.row == "hinge" else np.ones_like(y)
        reach = 2 * e * size + (4 * b.r.u * (1 + np.abs(y * output)) if stage.row == "hinge" else 0)
        open_ = (e > 0) | ((np.abs(y) != 1) & (stage.row == "hinge"))
        near = (distance <= reach) & open_ & (shape.jump > 0)
        if near.any():
            b.kinks[stage.reads[0]] = near
        _, own = term_errors(stage.row, output, y, gradient, b.r)
        error = (
            shape.curvature * e
            + own
            + b.r.gamma(4) * gradient
            + np.where(near & b.jumps, shape.jump * size, 0)
        )
    if w:
        share, rounding, flushed = _weighted(stage, output, w[0], gradient, b)
        error = (error + rounding * (gradient + error)) * share + flushed
    return up(error / n + b.r.tiny, k)


STEPS: dict[str, Step] = {"loss": _loss, "loss_gradient": _loss_gradient}
