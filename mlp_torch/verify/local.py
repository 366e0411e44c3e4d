"""The local certificate: each stage held against its proven value on the engine's own inputs.

One row of `RULES` a kind of stage: its true value, enclosed, and the bound within which rounding may
carry it (`rounding.py`). No error is passed on from stage to stage, so the depth of the network does
not matter, and a stage that breaks its bound is itself wrong, whatever arrived there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flint import arb

from manual.layers import NORMALIZATION_EPS
from manual.losses import LOSSES
from manual.numbers import Array
from manual.trace import Stage
from mlp_torch.verify.enclosure import (
    UNDERFLOW,
    Enclosure,
    balls,
    exact,
    from_balls,
    mapped_pair,
    product,
    total,
    two_product,
)
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
from mlp_torch.verify.truth import FUNCTIONS, TERMS, log_softmax

EPS = float(NORMALIZATION_EPS)


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
            function, slope = FUNCTIONS[stage.row], slope_of(stage, self.values, arb)
            if slope is not None:
                self.memo[stage.row, z] = mapped_pair(lambda v: function(v, slope), self.values[z])
            else:
                self.memo[stage.row, z] = mapped_pair(function, self.values[z])
        return self.memo[stage.row, z]


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
    rounding = np.where(one, 0, c.r.gamma(1) * np.abs(d.hi) + backward * (1 + c.r.gamma(1)))
    size = np.where(one, 0, np.abs(da) * (1 + np.abs(d.hi) + np.abs(c.values[z])))
    return Local(d * da, up(np.abs(da) * rounding) + np.where(one, 0, c.r.tiny), size)


def _softmax(stage: Stage, c: Context) -> Local:
    (z,) = c.read(stage)
    log_p, p = _log_softmax(z)
    _, relative = softmax_errors(z, log_p.hi, c.r)
    return Local(p, up(relative * p.hi + c.r.tiny, z.shape[1]), 2 * np.abs(z).max())


def _log_softmax(z: Array) -> tuple[Enclosure, Enclosure]:
    rows = [log_softmax(balls(row)) for row in z]
    flat = [v for row in rows for v in row]
    return from_balls(flat, z.shape), from_balls([v.exp() for v in flat], z.shape)


# dz = a (da − Σ da a), from the engine's own a: K products, a difference, a product
def _jacobian_product(stage: Stage, c: Context) -> Local:
    da, _, a = c.read(stage)
    hi, lo = two_product(da, a)
    zero = np.full(hi.shape, 2.0**-1000)
    inner = total(Enclosure(hi, lo, zero), 1)
    shape = (len(hi), 1)
    negative = Enclosure(*(np.broadcast_to(s * p.reshape(shape), hi.shape) for s, p in _parts(inner)))
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
    hi, lo = two_product(da, z)
    truth = total(Enclosure(hi, lo, np.full(hi.shape, 2.0**-1000)))
    n = hi.size + 1
    size = np.abs(hi).sum()
    return Local(truth.reshape((1,)), up(c.r.gamma(n) * size + n * c.r.tiny, n).reshape(1), size)


# n = γ x̂ + β
def _normalization(axis: int) -> Callable[[Stage, Context], Local]:
    def rule(stage: Stage, c: Context) -> Local:
        z, gamma, beta = c.read(stage)
        x, _ = _standardize(z, axis)
        cells = zip(*_cells(z.shape, gamma, beta), x.ravel(), strict=True)
        truth = from_balls([g * v + b for g, b, v in cells], z.shape)
        s = standardized(z, axis, EPS, c.r)
        bound = normalization_error(s, gamma, beta, c.r)
        size = np.abs(gamma) * (s.rstd * s.scale + np.abs(s.x)) + np.abs(beta)
        return Local(truth, up(bound, z.shape[axis]), size)

    return rule


# dγ = Σ dn x̂
def _normalization_weight(axis: int) -> Callable[[Stage, Context], Local]:
    def rule(stage: Stage, c: Context) -> Local:
        dn, z = c.read(stage)
        x, _ = _standardize(z, axis)
        truth = from_balls(list((_ball_array(dn) * x).sum(axis=0)), (z.shape[1],))
        s, n = standardized(z, axis, EPS, c.r), len(z) + 2
        bound = np.abs(dn) * (s.x_error * (1 + c.r.gamma(n)) + c.r.gamma(n) * np.abs(s.x))
        size = (np.abs(dn) * s.scale * (1 + s.rstd)).sum(axis=0)
        return Local(truth, up(bound.sum(axis=0) + n * c.r.tiny, n), size)

    return rule


# dz = (g − mean(g) − x̂ mean(g x̂)) / σ, g = dn γ
def _normalization_input(axis: int) -> Callable[[Stage, Context], Local]:
    def rule(stage: Stage, c: Context) -> Local:
        dn, z, gamma = c.read(stage)
        n = z.shape[axis]
        x, rstd = _standardize(z, axis)
        g = _ball_array(dn) * _ball_array(np.broadcast_to(gamma, z.shape))
        centre = g.sum(axis=axis, keepdims=True) / n
        tilt = (g * x).sum(axis=axis, keepdims=True) / n
        truth = from_balls(list(((g - centre - x * tilt) * rstd).ravel()), z.shape)
        s, product_ = standardized(z, axis, EPS, c.r), dn * gamma
        bound = normalization_backward_error(s, product_, c.r.gamma(1) * np.abs(product_), axis, c.r)
        # sums of dn, dn γ and their products with z, times 1/σ³ and z again in the one-pass form
        sums = (np.abs(dn) * (1 + np.abs(gamma)) * (1 + s.scale)).sum(axis=axis, keepdims=True)
        size = sums * (1 + s.scale) * (1 + s.rstd) ** 3
        return Local(truth, up(bound + c.r.gamma(4) * np.abs(truth.hi) + c.r.tiny, n), size)

    return rule


def _standardize(z: Array, axis: int) -> tuple[Array, Array]:
    """x̂ and 1/√(σ² + ε) in balls."""
    n = z.shape[axis]
    cells = _ball_array(z)
    centred = cells - cells.sum(axis=axis, keepdims=True) / n
    variance = (centred * centred).sum(axis=axis, keepdims=True) / n + arb(NORMALIZATION_EPS)
    rstd = np.frompyfunc(lambda v: v.rsqrt(), 1, 1)(variance)
    return centred * rstd, rstd


def _ball_array(values: Array) -> Array:
    return np.array(balls(values), dtype=object).reshape(values.shape)


# In evaluation n = γ (z − μ)/√(σ² + ε) + β with constant μ, σ²; z α + (β − μ α) is the other usual form
def _evaluation(stage: Stage, c: Context) -> Local:
    z, gamma, beta, mean, variance = c.read(stage)
    cells = _cells(z.shape, z, gamma, beta, mean, variance)
    eps = arb(NORMALIZATION_EPS)
    truth = [g * (v - m) * (s + eps).rsqrt() + b for v, g, b, m, s in zip(*cells, strict=True)]
    size = np.abs(gamma) * (np.abs(z) + np.abs(mean)) / np.sqrt(variance + 1e-5)
    bound = c.r.gamma(ELEMENTARY_ROOT) * (size + np.abs(beta))
    largest = size + np.abs(beta) + (1 + np.abs(gamma)) * (np.abs(z) + np.abs(mean))
    return Local(from_balls(truth, z.shape), up(bound + c.r.tiny), largest)


def _evaluation_weight(stage: Stage, c: Context) -> Local:
    dn, z, mean, variance = c.read(stage)
    cells = _cells(z.shape, dn, z, mean, variance)
    eps = arb(NORMALIZATION_EPS)
    exactly = [d * (v - m) * (s + eps).rsqrt() for d, v, m, s in zip(*cells, strict=True)]
    truth = from_balls(list(np.array(exactly, dtype=object).reshape(z.shape).sum(axis=0)), mean.shape)
    n = len(z) + ELEMENTARY_ROOT
    terms = np.abs(dn) * (np.abs(z) + np.abs(mean))
    size = (terms / np.sqrt(variance + 1e-5)).sum(axis=0)
    return Local(truth, up(c.r.gamma(n) * size + n * c.r.tiny, n), size + terms.sum(axis=0))


def _evaluation_input(stage: Stage, c: Context) -> Local:
    dn, gamma, variance = c.read(stage)
    eps = arb(NORMALIZATION_EPS)
    truth = [
        d * g * (s + eps).rsqrt() for d, g, s in zip(*_cells(dn.shape, dn, gamma, variance), strict=True)
    ]
    enclosed = from_balls(truth, dn.shape)
    bound = up(c.r.gamma(ELEMENTARY_ROOT) * np.abs(enclosed.hi) + c.r.tiny)
    size = np.abs(dn) * (1 + np.abs(gamma)) * (1 + 1 / np.sqrt(variance + 1e-5))
    return Local(enclosed, bound, size)


ELEMENTARY_ROOT = 16  # a square root to 8u, its argument and the products around it


def _cells(shape: tuple[int, ...], *arrays: Array) -> list[list[Any]]:
    """Each array as exact balls, one for every cell of `shape`."""
    return [balls(np.broadcast_to(a, shape)) for a in arrays]


def _count(stage: Stage, output: Array) -> int:
    return LOSSES[stage.row].count(output) if stage.options["reduction"] == "mean" else 1


# The term's own rounding, in units of γ, of each elementwise loss: value and derivative
def term_errors(row: str, o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
    if row in ("mse", "half_squared_error"):
        return r.gamma(5) * (o - y) ** 2, r.gamma(4) * np.abs(d)
    if row == "l1":
        return r.gamma(3) * np.abs(o - y), r.gamma(3) * np.abs(d)
    if row == "smooth_l1":
        return r.gamma(5) * (np.abs(o - y) + 1) * np.minimum(np.abs(o - y), 1), r.gamma(5) * np.abs(d)
    if row == "hinge":
        return r.gamma(4) * (1 + 2 * np.abs(y * o)), r.gamma(3) * np.abs(d)
    s = 1 / (1 + np.exp(-np.clip(o, -700, 700)))
    size = 1 + np.abs(y) + np.abs(1 - y)
    value = r.gamma(24) * np.log1p(np.exp(-np.abs(o))) + r.gamma(6) * np.abs(o) * size
    return value, r.gamma(24) * s + r.gamma(30) * size


def _elementwise(stage: Stage, c: Context) -> tuple[Enclosure, Enclosure, Array, Array]:
    output, y = c.read(stage)
    key = ("loss", stage.reads)
    if key not in c.memo:
        term = TERMS[stage.row]
        pairs = [term(a, b) for a, b in zip(balls(output), balls(y), strict=True)]
        c.memo[key] = tuple(from_balls([p[i] for p in pairs], output.shape) for i in (0, 1))
    values, derivatives = c.memo[key]
    return values, derivatives, *term_errors(stage.row, output, y, derivatives.hi, c.r)


def _divided(e: Enclosure, n: int) -> Enclosure:
    """e / n, enclosed."""
    reciprocal = arb(1) / n
    hi = float(reciprocal)
    return _times_pair(e, hi, float(reciprocal - hi))


def _times_pair(e: Enclosure, hi: float, lo: float) -> Enclosure:
    first = e * np.asarray(hi)
    # |lo| ≤ 2⁻⁵³ |hi|: left out are lo · lo, the rounding of hi · lo and of lo itself
    slack = 2.0**-104 * np.abs(e.hi * hi) + 2.0**-52 * np.abs(e.lo * hi) + UNDERFLOW
    lo_part = Enclosure(e.hi * lo, np.zeros_like(e.hi), slack)
    return first + lo_part


def _loss(stage: Stage, c: Context) -> Local:
    output, y = c.read(stage)
    n = _count(stage, output)
    if stage.row == "cross_entropy":
        terms, errors = _cross_entropy_terms(output, y, c.r)
    elif stage.row == "multi_margin":
        terms, errors = _margin_terms(output, y, c.r)
    else:
        terms, _, errors, _ = _elementwise(stage, c)
    size = terms.hi.size + 4
    bound = (errors.sum() + c.r.gamma(size) * (np.abs(terms.hi) + errors).sum()) / n
    largest = _loss_size(stage, output, y).sum()
    return Local(_divided(total(terms), n), np.asarray(up(bound + size * c.r.tiny, size)), largest)


def _loss_size(stage: Stage, output: Array, y: Array) -> Array:
    """What the terms of a loss are made of, entry by entry, at most."""
    top = np.abs(output) if LOSSES[stage.row].target != "label" else np.abs(output).max(axis=1, keepdims=True)
    factor = 1 + (np.abs(y) if y.shape == output.shape else 1)
    size = 4 * (1 + top) * factor
    if stage.row in ("mse", "half_squared_error", "smooth_l1"):
        size = size + (np.abs(output) + np.abs(y)) ** 2
    return np.broadcast_to(size, output.shape)


def _sized(local: Local, stage: Stage, output: Array, y: Array) -> Local:
    """The gradient of a loss: squares occur in the value alone."""
    factor = 1 + (np.abs(y).max() if y.shape == output.shape else 1)
    return replace(local, size=4 * (1 + np.abs(output).max()) * factor * output.shape[1])


def _loss_gradient(stage: Stage, c: Context) -> Local:
    output, y = c.read(stage)
    return _sized(_loss_gradient_rule(stage, c), stage, output, y)


def _loss_gradient_rule(stage: Stage, c: Context) -> Local:
    output, y = c.read(stage)
    n = _count(stage, output)
    if stage.row == "cross_entropy":
        return _cross_entropy_gradient(output, y, n, c.r)
    if stage.row == "multi_margin":
        return _margin_gradient(output, y, n, c.r)
    _, derivative, _, error = _elementwise(stage, c)
    truth = _divided(derivative, n)
    bound = up((error + c.r.gamma(4) * np.abs(derivative.hi)) / n + c.r.tiny)
    if stage.row != "hinge":
        return Local(truth, bound)
    # 1 − y ŷ is exact for y = ±1; else its sign is open within the rounding of the product
    kink = (np.abs(1 - y * output) <= 4 * c.r.u * (1 + np.abs(y * output))) & (np.abs(y) != 1)
    other = _divided(exact(np.where(derivative.hi == 0, -y, 0)), n)
    return Local(truth, up(bound + c.r.gamma(4) * np.abs(y) / n), kink=kink, other=other)


def _weights(output: Array, y: Array) -> Array:
    """The rows of probabilities that labels stand for."""
    if y.ndim == 2:
        return y
    rows = np.zeros(output.shape)
    rows[np.arange(len(y)), y.astype(int)] = 1
    return rows


def _cross_entropy_terms(output: Array, y: Array, r: Rounding) -> tuple[Enclosure, Array]:
    log_p, _ = _log_softmax(output)
    log_error, _ = softmax_errors(output, log_p.hi, r)
    weights = _weights(output, y)
    errors = np.abs(weights) * (log_error + r.gamma(output.shape[1] + 2) * np.abs(log_p.hi))
    return log_p * -weights, errors


# (softmax(ŷ) Σ y − y) / N
def _cross_entropy_gradient(output: Array, y: Array, n: int, r: Rounding) -> Local:
    log_p, p = _log_softmax(output)
    _, relative = softmax_errors(output, log_p.hi, r)
    weights = _weights(output, y)
    weight_sum = total(exact(weights), 1)
    k = output.shape[1]
    spread = np.abs(weights).sum(axis=1, keepdims=True)
    hi, lo, radius = (
        np.broadcast_to(part.reshape(-1, 1), p.hi.shape)
        for part in (weight_sum.hi, weight_sum.lo, weight_sum.radius)
    )
    small = Enclosure(p.hi * lo, np.zeros_like(p.hi), radius + 2.0**-104 * np.abs(p.hi * hi))
    truth = _divided(p * hi + small + exact(-weights), n)
    bound = p.hi * spread * (relative + r.gamma(k + 4)) + r.gamma(k + 5) * np.abs(weights)
    return Local(truth, up(bound / n + r.tiny, k))


def _margins(output: Array, y: Array) -> tuple[list[list[Any]], Array]:
    """1 − ŷ_y + ŷⱼ in balls, and the size that their rounding goes by."""
    labels = y.astype(int)
    rows = []
    for row, label in zip(output, labels, strict=True):
        cells = balls(row)
        rows.append([arb(0) if j == label else 1 - cells[label] + cells[j] for j in range(len(cells))])
    size = 1 + np.abs(output[np.arange(len(labels)), labels])[:, None] + np.abs(output)
    size[np.arange(len(labels)), labels] = 0
    return rows, size


def _margin_terms(output: Array, y: Array, r: Rounding) -> tuple[Enclosure, Array]:
    rows, size = _margins(output, y)
    k = output.shape[1]
    flat = [v / k if v > 0 else arb(0) for row in rows for v in row]
    return from_balls(flat, output.shape), (r.gamma(3) + r.gamma(k + 3)) * size / k


def near_margins(output: Array, y: Array, r: Rounding, error: Array | float = 0.0) -> Array:
    """Where 1 − ŷ_y + ŷⱼ may have either sign, if every ŷ errs by `error` as well."""
    index = (np.arange(len(y)), y.astype(int))
    margin = 1 - output[index][:, None] + output
    size = 1 + np.abs(output[index])[:, None] + np.abs(output)
    e = np.broadcast_to(error, output.shape)
    near = np.abs(margin) <= 2 * r.gamma(4) * size + e + e[index][:, None]
    near[index] = False
    return near


def _margin_gradient(output: Array, y: Array, n: int, r: Rounding) -> Local:
    rows, _ = _margins(output, y)
    k, index = output.shape[1], (np.arange(len(y)), y.astype(int))
    active = np.array([[1.0 if v > 0 else 0.0 for v in row] for row in rows])
    near = near_margins(output, y, r)

    def gradient(a: Array) -> Array:
        g = a.copy()
        g[index] = -a.sum(axis=1)
        return g

    kink = near.copy()
    kink[index] = near.any(axis=1)
    truth = _divided(exact(gradient(active)), n * k)
    sides = gradient(np.where(near, 1 - active, active))
    sides[index] = -np.where(near, 1, active).sum(axis=1)
    fewest = gradient(np.where(near, 0, active))
    truth = _chosen(kink, _divided(exact(fewest), n * k), truth)
    bound = up(r.gamma(k + 6) * np.maximum(np.abs(gradient(active)), kink * k) / (n * k) + r.tiny, k)
    other = _divided(exact(np.where(kink & ~near, sides, 1 - fewest)), n * k)
    return Local(truth, bound, kink=kink, other=other)


def _chosen(mask: Array, a: Enclosure, b: Enclosure) -> Enclosure:
    pairs = ((a.hi, b.hi), (a.lo, b.lo), (a.radius, b.radius))
    return Enclosure(*(np.where(mask, first, second) for first, second in pairs))


RULES: dict[str, Callable[[Stage, Context], Local]] = {
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
