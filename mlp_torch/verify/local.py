"""The local certificate: each stage held against its proven value on the engine's own inputs.

One row of `RULES` a kind of stage: its true value, enclosed, and the bound within which rounding may
carry it (`rounding.py`); the rows of normalization and of losses have rooms of their own beside this.
No error is passed on from stage to stage, so the depth of the network does not matter, and a stage that
breaks its bound is itself wrong, whatever arrived there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flint import arb

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify import elementwise
from mlp_torch.verify.enclosure import (
    Enclosure,
    balls,
    exact,
    from_balls,
    product,
    total,
)
from mlp_torch.verify.rounding import (
    ACTIVATION_ERRORS,
    Point,
    Rounding,
    softmax_errors,
    up,
)
from mlp_torch.verify.truth import log_softmax


@dataclass(frozen=True)
class Local:
    """The true value of one stage, the bound on its rounding, and the entries at a kink.

    `size` is the largest intermediate result of any usual evaluation: where it could overflow, the
    bound claims nothing. An entry where `kink` holds may take either side's value, `truth` or `other`.
    """

    truth: Enclosure
    bound: Array
    size: Array | float = 0.0
    kink: Array | None = None
    other: Enclosure | None = None


@dataclass
class Context:
    """Float64 copies of a trace's values, its arithmetic, what was evaluated and found misshapen so far."""

    values: Mapping[str, Array]
    r: Rounding
    memo: dict[Any, Any] = field(default_factory=dict)
    misshapen: set[str] = field(default_factory=set)

    def read(self, stage: Stage) -> list[Array]:
        return [self.values[name] for name in stage.reads]

    def activation(self, stage: Stage, z: str) -> tuple[Enclosure, Enclosure]:
        """True f and f′ at the engine's z, computed once for both passes."""
        if (stage.row, z) not in self.memo:
            slope = slope_of(stage, self.values, arb)
            given = () if slope is None else (slope,)
            self.memo[stage.row, z] = elementwise.activation(stage.row, self.values[z], *given)
        return self.memo[stage.row, z]


Rule = Callable[[Stage, Context], Local]


def slope_of(stage: Stage, values: Mapping[str, Array], number: Callable[[Any], Any] = float) -> Any:
    """The slope below 0 of prelu (learned) or leaky_relu (given), or None for another row."""
    if stage.row == "leaky_relu":
        return number(stage.constants["negative_slope"])
    learned = [float(values[name][0]) for name in stage.reads if name.startswith("slope")]
    return number(learned[0]) if learned else None


def _dot(a: Array, b: Array, n: int, c: Context, more: Array | float = 0.0) -> tuple[Array, Array]:
    """γₙ (|a| |b| + more): how far a matrix product may stray, in any order; and |a| |b| + more."""
    size = np.abs(a) @ np.abs(b) + more
    return up(c.r.gamma(n) * size + n * c.r.tiny, a.shape[1]), size


# z = a Wᵀ + b: K products and K + 1 terms
def _linear(stage: Stage, c: Context) -> Local:
    a, weight, bias = c.read(stage)
    n = a.shape[1] + 1
    truth = product(a, weight.T) + exact(np.broadcast_to(bias, (len(a), len(bias))))
    return Local(truth, *_dot(a, weight.T, n, c, np.abs(bias)))


def _backward_input(stage: Stage, c: Context) -> Local:
    dz, weight = c.read(stage)
    return Local(product(dz, weight), *_dot(dz, weight, dz.shape[1], c))


def _backward_weight(stage: Stage, c: Context) -> Local:
    dz, a = c.read(stage)
    return Local(product(dz.T, a), *_dot(dz.T, a, len(dz), c))


def _backward_bias(stage: Stage, c: Context) -> Local:
    (dz,) = c.read(stage)
    n = len(dz)
    size = np.abs(dz).sum(axis=0)  # n terms are n − 1 additions
    return Local(total(exact(dz), 0), up(c.r.gamma(n - 1) * size + n * c.r.tiny, n), size)


# a = f(z)
def _activation(stage: Stage, c: Context) -> Local:
    if stage.row == "softmax":
        return _softmax(stage, c)
    z = stage.reads[0]
    f, d = c.activation(stage, z)
    forward, _ = ACTIVATION_ERRORS[stage.row](Point(c.values[z], f.hi, d.hi, c.r))
    size = np.where(forward > 0, 2 * np.abs(c.values[z]) + np.abs(f.hi), 0)
    return Local(f, up(forward), size)


# dz = da · f′(z): one product on top of the error of f′
def _activation_backward(stage: Stage, c: Context) -> Local:
    da, z = c.values[stage.reads[0]], stage.reads[1]
    f, d = c.activation(stage, z)
    _, backward = ACTIVATION_ERRORS[stage.row](Point(c.values[z], f.hi, d.hi, c.r))
    one = np.isin(d.hi, (0.0, 1.0)) & (backward == 0)
    # |da| |f′| first: γ |f′| alone may underflow where da is huge
    rounding = c.r.gamma(1) * (np.abs(da) * np.abs(d.hi)) + np.abs(da) * backward * (1 + c.r.gamma(1))
    factor = 1 + np.abs(d.hi) + np.abs(c.values[z])
    if stage.row == "softplus":  # da e^z / (1 + e^z)
        factor = factor + np.exp(np.minimum(c.values[z], 20))
    size = np.where(one, 0, np.abs(da) * factor)
    return Local(d * da, np.where(one, 0, up(rounding) + c.r.tiny), size)


def _softmax(stage: Stage, c: Context) -> Local:
    (z,) = c.read(stage)
    log_p, p = enclosed_log_softmax(z)
    _, relative = softmax_errors(z, log_p.hi, c.r)
    return Local(p, up(relative * p.hi + c.r.tiny, z.shape[1]), 2 * np.abs(z).max())


def enclosed_log_softmax(z: Array) -> tuple[Enclosure, Enclosure]:
    rows = [log_softmax(balls(row)) for row in z]
    flat = [v for row in rows for v in row]
    return from_balls(flat, z.shape), from_balls([v.exp() for v in flat], z.shape)


# dz = a (da − Σ da a), from the engine's own a: K products, a difference, a product
def _jacobian_product(stage: Stage, c: Context) -> Local:
    da, _, a = c.read(stage)
    inner = total(exact(da) * a, 1)
    shape = (len(da), 1)
    negative = Enclosure(*(np.broadcast_to(s * p.reshape(shape), da.shape) for s, p in _parts(inner)))
    truth = (exact(da) + negative) * a
    n = da.shape[1]
    sums = np.abs(da * a).sum(axis=1, keepdims=True)
    bound = np.abs(a) * (c.r.gamma(n + 3) * sums + c.r.gamma(4) * np.abs(da)) + n * c.r.tiny
    return Local(truth, up(bound, n), sums + 2 * np.abs(da))


def _parts(e: Enclosure) -> list[tuple[int, Array]]:
    return [(-1, e.hi), (-1, e.lo), (1, e.radius)]


# h = a · mask and da = dh · mask: one product
def _dropout(stage: Stage, c: Context) -> Local:
    a, mask = c.read(stage)
    size = np.abs(a * mask)
    return Local(exact(a) * mask, up(c.r.gamma(1) * size + c.r.tiny), size)


# dslope = Σ da z over z ≤ 0
def _slope_gradient(stage: Stage, c: Context) -> Local:
    da, z = c.read(stage)
    z = np.where(z > 0, 0, z)
    truth = total(exact(da) * z)
    n = da.size + 1
    size = np.abs(da * z).sum()
    return Local(truth.reshape((1,)), up(c.r.gamma(n) * size + n * c.r.tiny, n).reshape(1), size)


RULES: dict[str, Rule] = {
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
