"""The global bound through the layers: how each stage's error follows from those of what it reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.catalogue import ACTIVATIONS
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.local import slope_of
from mlp_torch.verify.rounding import ACTIVATION_ERRORS, Point, Rounding, softmax_errors, up


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


Step = Callable[[Stage, Bounds], Array]


# z = a Wᵀ + b: weights are leaves, so e_z = e_a |W|ᵀ
def _linear(stage: Stage, b: Bounds) -> Array:
    a, weight, bias = b.read(stage)
    n = a.shape[1] + 1
    gamma = b.r.gamma(n)
    # in units of γ, as below: γ |a| alone may underflow where W is huge
    error = gamma * ((b.error(stage.reads[0]) / gamma + np.abs(a)) @ np.abs(weight).T)
    return up(error + (gamma * np.abs(bias) + n * b.r.tiny), n)


def _backward_input(stage: Stage, b: Bounds) -> Array:
    dz, weight = b.read(stage)
    n = dz.shape[1]
    gamma = b.r.gamma(n)
    error = gamma * ((b.error(stage.reads[0]) / gamma + np.abs(dz)) @ np.abs(weight))
    return up(error + n * b.r.tiny, n)


# dW = dzᵀ a: |dz|ᵀ e_a + e_dzᵀ (|a| + e_a)
def _backward_weight(stage: Stage, b: Bounds) -> Array:
    dz, a = b.read(stage)
    e_dz, e_a = (b.error(name) for name in stage.reads)
    size = np.abs(a)
    n = len(a)
    gamma = b.r.gamma(n)
    error = gamma * (np.abs(dz).T @ (e_a / gamma + size)) + e_dz.T @ (size + e_a)
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
    size = np.abs(da) + e_da
    rounding = size * own + b.r.gamma(1) * (size * (d + change)) * ((d != 0) & (d != 1))
    return up(size * change + rounding + e_da * d + b.r.tiny * (d != 0))


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
    error = (np.abs(da) + e_da) * e_z + e_da * below + b.r.gamma(n) * (np.abs(da) * below)
    return up(error.sum() + n * b.r.tiny, n).reshape(1)


STEPS: dict[str, Step] = {
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
}
