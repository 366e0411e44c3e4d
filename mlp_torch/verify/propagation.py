"""The global bound: how far each value of a whole pass may lie from the true one, in float64 alone.

Where `local.py` asks of one stage whether it is right, this carries every stage's rounding on to all
that read it: e_out = what the inputs' errors may change, second order included, plus the stage's own
rounding. Two engines that start from the same leaves may differ by the sum of their bounds. A unit
whose z lies within its error of a kink could fall on either side: it is reported, and the jump of f′
there is counted in. One row of `STEPS` a kind of stage.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.activations import ACTIVATIONS
from manual.losses import LOSSES
from manual.numbers import Array
from manual.trace import Stage, Trace
from mlp_torch.verify.local import slope_of
from mlp_torch.verify.local_losses import near_margins, term_errors
from mlp_torch.verify.local_normalization import EPS
from mlp_torch.verify.rounding import (
    ACTIVATION_ERRORS,
    Point,
    Rounding,
    normalization_backward_error,
    normalization_error,
    softmax_errors,
    standardized,
    up,
)


@dataclass(frozen=True)
class Shape:
    """sup |f′|, sup |f″| between the kinks, and by how much f′ and f jump at one."""

    slope: float = 1.0
    curvature: float = 0.0
    jump: float = 0.0
    value_jump: float = 0.0


SHAPES: dict[str, Shape] = {
    "identity": Shape(),
    "sigmoid": Shape(0.25, 0.0963),
    "tanh": Shape(1.0, 0.7699),
    "relu": Shape(1.0, 0.0, 1.0),
    "leaky_relu": Shape(),  # as prelu, with a slope that is given
    "prelu": Shape(),  # its slope is learned: see `_shape`
    "elu": Shape(1.0, 1.0),
    "selu": Shape(1.7581, 1.7581, 0.7075),
    "gelu": Shape(1.129, 0.798),
    "gelu_tanh": Shape(1.13, 0.81),
    "silu": Shape(1.1, 0.5),
    "softplus": Shape(1.0, 0.25, 2.07e-9, 2.07e-9),
    "hardtanh": Shape(1.0, 0.0, 1.0),
}
# sup |ℓ″| between the kinks and the jump of ℓ′ at one, for one entry of an elementwise loss
LOSS_SHAPES: dict[str, Shape] = {
    "half_squared_error": Shape(0, 1.0),
    "mse": Shape(0, 2.0),
    "l1": Shape(0, 0.0, 2.0),
    "smooth_l1": Shape(0, 1.0),
    "hinge": Shape(0, 0.0, 1.0),
    "bce_with_logits": Shape(0, 0.25),
}


@dataclass
class Bounds:
    """`errors[name]`: |value − true| at most, by stage; `kinks[name]`: units that could fall either way."""

    r: Rounding
    values: dict[str, Array]
    jumps: bool = True
    errors: dict[str, Array] = field(default_factory=dict)
    kinks: dict[str, Array] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict)

    def error(self, name: str) -> Array:
        """The error of a stage; leaves are exact."""
        return self.errors[name] if name in self.errors else np.zeros_like(self.values[name])

    def read(self, stage: Stage) -> list[Array]:
        return [self.values[name] for name in stage.reads]


def propagate(trace: Trace, jumps: bool = True) -> Bounds:
    """The bounds of every stage of a trace, in its order; without `jumps`, as if no unit changed sides."""
    values = {name: np.asarray(v).astype(np.float64, copy=False) for name, v in trace.values.items()}
    bounds = Bounds(Rounding.of(trace["z1"].dtype), values, jumps)
    with np.errstate(all="ignore"):
        for stage in trace:
            bounds.errors[stage.name] = STEPS[stage.kind](stage, bounds)
    return bounds


# z = a Wᵀ + b: weights are leaves, so e_z = e_a |W|ᵀ
def _linear(stage: Stage, b: Bounds) -> Array:
    a, weight, bias = b.read(stage)
    n = a.shape[1] + 1
    gamma = b.r.gamma(n)
    error = (b.error(stage.reads[0]) + gamma * np.abs(a)) @ np.abs(weight).T
    return up(error + (gamma * np.abs(bias) + n * b.r.tiny), n)


def _backward_input(stage: Stage, b: Bounds) -> Array:
    dz, weight = b.read(stage)
    n = dz.shape[1]
    error = (b.error(stage.reads[0]) + b.r.gamma(n) * np.abs(dz)) @ np.abs(weight)
    return up(error + n * b.r.tiny, n)


# dW = dzᵀ a: |dz|ᵀ e_a + e_dzᵀ (|a| + e_a)
def _backward_weight(stage: Stage, b: Bounds) -> Array:
    dz, a = b.read(stage)
    e_dz, e_a = (b.error(name) for name in stage.reads)
    size = np.abs(a)
    n = len(a)
    error = np.abs(dz).T @ (e_a + b.r.gamma(n) * size) + e_dz.T @ (size + e_a)
    return up(error + n * b.r.tiny, n)


def _backward_bias(stage: Stage, b: Bounds) -> Array:
    (dz,) = b.read(stage)
    n = len(dz)  # terms, so n − 1 additions
    error = (b.error(stage.reads[0]) + b.r.gamma(n - 1) * np.abs(dz)).sum(axis=0)
    return up(error + n * b.r.tiny, n)


def _shape(stage: Stage, b: Bounds) -> Shape:
    slope = slope_of(stage, b.values)
    if slope is None:
        return SHAPES[stage.row]
    return Shape(max(1.0, abs(slope)), 0.0, abs(1 - slope))


def _near_kink(stage: Stage, name: str, b: Bounds) -> Array | bool:
    """Units whose z may lie on the other side of a kink; recorded under the name of z."""
    kinks = ACTIVATIONS[stage.row].kinks
    if not kinks:
        return False
    z, e = b.values[name], b.error(name)
    near = np.zeros(z.shape, dtype=bool)
    for kink in kinks:
        near |= (np.abs(z - kink) <= 2 * e) & (e > 0)
    if near.any():
        b.kinks[name] = near
    return near & b.jumps


def _function(stage: Stage, z: str, a: str, slope: list[Array], b: Bounds) -> tuple[Array, Array, Array]:
    """|f′| at the engine's z, and how far an evaluation of f and of f′ may stray there."""
    key = (stage.row, z)
    if key not in b.memo:
        row = ACTIVATIONS[stage.row]
        assert row.derivative is not None
        d = np.abs(row.derivative(b.values[z], b.values[a], *slope, **stage.constants))
        forward, backward = ACTIVATION_ERRORS[stage.row](Point(b.values[z], b.values[a], d, b.r))
        b.memo[key] = d, forward * (1 + 1e-3), backward * (1 + 1e-3)
    return b.memo[key]


# a = f(z): |f(z) − f(z*)| ≤ (|f′| + sup|f″| e) e, across a kink sup|f′| e and what f jumps
def _activation(stage: Stage, b: Bounds) -> Array:
    if stage.row == "identity":
        return b.error(stage.reads[0])
    if stage.row == "softmax":
        return _softmax_error(stage, b)
    _, *slope = b.read(stage)
    e, shape = b.error(stage.reads[0]), _shape(stage, b)
    d, own, _ = _function(stage, stage.reads[0], stage.name, slope, b)
    near = _near_kink(stage, stage.reads[0], b)
    moved = (d + shape.curvature * e) * e
    if np.any(near):
        moved = np.where(near, shape.slope * e + shape.value_jump, moved)
    return up(moved + own)


def _softmax_error(stage: Stage, b: Bounds) -> Array:
    (z,) = b.read(stage)
    a = np.abs(b.values[stage.name])
    _, relative = softmax_errors(z, np.log(np.maximum(a, 1e-300)), b.r)
    moved = np.expm1(np.minimum(2 * b.error(stage.reads[0]).max(axis=1, keepdims=True), 700))
    return up((a + b.r.tiny) * (moved + relative * (1 + moved)) * (1 + 1e-3) + b.r.tiny)


# dz = da f′(z): |da| |f′(z) − f′(z*)| + e_da (|f′| + …); a product with f′ = 0 or 1 does not round
def _activation_backward(stage: Stage, b: Bounds) -> Array:
    e_da, e_z = b.error(stage.reads[0]), b.error(stage.reads[1])
    if stage.row == "identity":
        return e_da
    da, _, _, *slope = b.read(stage)
    shape = _shape(stage, b)
    d, _, own = _function(stage, stage.reads[1], stage.reads[2], slope, b)
    near = _near_kink(stage, stage.reads[1], b)
    change = shape.curvature * e_z
    if np.any(near):
        change = change + np.where(near, shape.jump, 0)
    rounding = own + b.r.gamma(1) * (d + change) * ((d != 0) & (d != 1))
    return up((np.abs(da) + e_da) * (change + rounding) + e_da * d + b.r.tiny * (d != 0))


# dz = a (da − c), c = Σ da a
def _jacobian_product(stage: Stage, b: Bounds) -> Array:
    da, _, a = b.read(stage)
    e_da, e_a = b.error(stage.reads[0]), b.error(stage.reads[2])
    n = a.shape[1]
    size = (np.abs(da) * np.abs(a)).sum(axis=1, keepdims=True)
    e_c = (np.abs(da) * e_a + e_da * (np.abs(a) + e_a)).sum(axis=1, keepdims=True)
    inner = np.abs(da) + size + e_da + e_c
    moved = e_a * inner + np.abs(a) * (e_da + e_c)
    own = (np.abs(a) + e_a) * (b.r.gamma(n + 3) * (size + e_c) + b.r.gamma(4) * inner)
    return up(moved + own + n * b.r.tiny, n)


def _dropout(stage: Stage, b: Bounds) -> Array:
    a, mask = b.read(stage)
    return up((b.error(stage.reads[0]) + b.r.gamma(1) * np.abs(a)) * mask + b.r.tiny)


# dslope = Σ da z⁻
def _slope_gradient(stage: Stage, b: Bounds) -> Array:
    da, z = b.read(stage)
    e_da, e_z = (b.error(name) for name in stage.reads)
    below = np.where(z - e_z > 0, 0, np.abs(z))
    e_z = np.where(z - e_z > 0, 0, e_z)
    n = da.size + 1
    error = (np.abs(da) + e_da) * e_z + e_da * below + b.r.gamma(n) * np.abs(da) * below
    return up(error.sum() + n * b.r.tiny, n).reshape(1)


def _normalization(axis: int) -> Callable[[Stage, Bounds], Array]:
    def step(stage: Stage, b: Bounds) -> Array:
        z, gamma, beta = b.read(stage)
        s = standardized(z, axis, EPS, b.r, b.error(stage.reads[0]))
        return up(normalization_error(s, gamma, beta, b.r), z.shape[axis])

    return step


def _normalization_weight(axis: int) -> Callable[[Stage, Bounds], Array]:
    def step(stage: Stage, b: Bounds) -> Array:
        dn, z = b.read(stage)
        e_dn, e_z = (b.error(name) for name in stage.reads)
        s, n = standardized(z, axis, EPS, b.r, e_z), len(z) + 2
        size = np.abs(dn) + e_dn
        error = size * s.x_error + e_dn * np.abs(s.x) + b.r.gamma(n) * size * (np.abs(s.x) + s.x_error)
        return up(error.sum(axis=0) + n * b.r.tiny, n)

    return step


def _normalization_input(axis: int) -> Callable[[Stage, Bounds], Array]:
    def step(stage: Stage, b: Bounds) -> Array:
        dn, z, gamma = b.read(stage)
        s = standardized(z, axis, EPS, b.r, b.error(stage.reads[1]))
        g = dn * gamma
        g_error = b.error(stage.reads[0]) * np.abs(gamma) * (1 + b.r.gamma(1)) + b.r.gamma(1) * np.abs(g)
        error = normalization_backward_error(s, g, g_error, axis, b.r)
        return up(error + b.r.gamma(4) * np.abs(b.values[stage.name]) + b.r.tiny, z.shape[axis])

    return step


def _evaluation(stage: Stage, b: Bounds) -> Array:
    z, gamma, beta, mean, variance = b.read(stage)
    scale = np.abs(gamma) / np.sqrt(variance + EPS)
    own = b.r.gamma(16) * (scale * (np.abs(z) + np.abs(mean)) + np.abs(beta))
    return up(own + b.error(stage.reads[0]) * scale * (1 + b.r.gamma(16)) + b.r.tiny)


def _evaluation_weight(stage: Stage, b: Bounds) -> Array:
    dn, z, mean, variance = b.read(stage)
    e_dn, e_z = b.error(stage.reads[0]), b.error(stage.reads[1])
    n = len(z) + 16
    size = np.abs(z) + np.abs(mean)
    error = (np.abs(dn) + e_dn) * (e_z + b.r.gamma(n) * size) + e_dn * np.abs(z - mean)
    return up((error / np.sqrt(variance + EPS)).sum(axis=0) * (1 + b.r.gamma(16)) + n * b.r.tiny, n)


def _evaluation_input(stage: Stage, b: Bounds) -> Array:
    dn, gamma, variance = b.read(stage)
    error = b.error(stage.reads[0]) * (1 + b.r.gamma(16)) + b.r.gamma(16) * np.abs(dn)
    return up(error * np.abs(gamma) / np.sqrt(variance + EPS) + b.r.tiny)


def _count(stage: Stage, output: Array) -> int:
    return LOSSES[stage.row].count(output) if stage.options["reduction"] == "mean" else 1


# |L − L*| ≤ Σ (|ℓ′| + sup|ℓ″| e + jump) e / n, plus the value's own rounding
def _loss(stage: Stage, b: Bounds) -> Array:
    output, y = b.read(stage)
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
    total = np.abs(row.terms(output, y_native)).sum()
    n = _count(stage, output)
    return np.asarray(up((moved + own).sum() / n + b.r.gamma(size) * (total + (moved + own).sum()) / n, size))


def _log_softmax(name: str, b: Bounds) -> tuple[Array, Array, Array]:
    """softmax of the logits, and the errors of log softmax (absolute) and softmax (relative)."""
    if ("softmax", name) not in b.memo:
        z = b.values[name]
        shifted = z - z.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        b.memo["softmax", name] = np.exp(log_p), *softmax_errors(z, log_p, b.r)
    return b.memo["softmax", name]


def _loss_gradient(stage: Stage, b: Bounds) -> Array:
    output, y = b.read(stage)
    e = b.error(stage.reads[0])
    n, k = _count(stage, output), output.shape[1]
    gradient = np.abs(b.values[stage.name]) * n
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
    return up(error / n + b.r.tiny, k)


STEPS: dict[str, Callable[[Stage, Bounds], Array]] = {
    "linear": _linear,
    "linear_backward_input": _backward_input,
    "linear_backward_weight": _backward_weight,
    "backward_bias": _backward_bias,
    "activation": _activation,
    "activation_backward": _activation_backward,
    "jacobian_product": _jacobian_product,
    "slope_gradient": _slope_gradient,
    "dropout": _dropout,
    "dropout_backward": _dropout,
    "batch_norm": _normalization(0),
    "batch_norm_backward_weight": _normalization_weight(0),
    "batch_norm_backward_input": _normalization_input(0),
    "layer_norm": _normalization(1),
    "layer_norm_backward_weight": _normalization_weight(1),
    "layer_norm_backward_input": _normalization_input(1),
    "batch_norm_evaluation": _evaluation,
    "batch_norm_evaluation_backward_weight": _evaluation_weight,
    "batch_norm_evaluation_backward_input": _evaluation_input,
    "loss": _loss,
    "loss_gradient": _loss_gradient,
}
