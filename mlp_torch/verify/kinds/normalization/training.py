"""Batch and layer normalization by the batch's own statistics: n = γ x̂ + β, x̂ = (z − μ)/√(σ² + ε)."""

from dataclasses import dataclass

import numpy as np
from flint import arb

from manual.catalogue.layers import NORMALIZATION_EPS
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bounds import Bounds, Step
from mlp_torch.verify.enclosure import balls, cells, from_balls
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.local import Context, Local, Rule
from mlp_torch.verify.rounding import Rounding, up

EPS = float(NORMALIZATION_EPS)


@dataclass(frozen=True)
class Standardized:
    """How far x̂ = (z − μ)/√(σ² + ε) and 1/√(σ² + ε) may stray, to float64, along one axis.

    c = z − μ may err by e = γ of |z| + mean |z| (two-pass, Welford or pairwise) and by what z brings
    with it; the variance then by 2 mean(|c| e) + mean(e²) + γ mean(c²); its share q of σ² + ε moves
    1/σ by q/2 (1 − q)^−3/2. `scale` is |z| + mean |z|.
    """

    x: Array
    rstd: Array
    x_error: Array
    rstd_error: Array
    scale: Array


def standardized(z: Array, axis: int, eps: float, r: Rounding, incoming: Array | float = 0.0) -> Standardized:
    """The errors of standardising z (float64) along `axis`, where z itself may err by `incoming`."""
    n = z.shape[axis]

    def mean(a: Array) -> Array:
        return np.broadcast_to(a, z.shape).mean(axis=axis, keepdims=True)

    centred = z - mean(z)
    scale = np.abs(z) + mean(np.abs(z))
    e = r.gamma(n + 6) * scale + r.tiny + incoming + mean(np.asarray(incoming))
    size = np.abs(centred) + e
    rstd = 1 / np.sqrt(mean(centred**2) + eps)
    q = (mean(2 * size * e) + r.gamma(n + 4) * mean(size**2)) * rstd**2 + r.gamma(2)
    q = np.where(r.fits(n * scale.max(axis=axis, keepdims=True) ** 2), q, np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        rstd_error = np.where(q < 0.5, q / 2 / (1 - np.minimum(q, 0.5)) ** 1.5, np.inf) + r.gamma(10)
    x = centred * rstd
    x_error = rstd * e * (1 + rstd_error) + np.abs(x) * rstd_error + r.gamma(4) * np.abs(x)
    return Standardized(x, rstd, x_error, rstd_error, scale)


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


# n = γ x̂ + β
def _error(s: Standardized, gamma: Array, beta: Array, r: Rounding) -> Array:
    """The error of n = γ x̂ + β, also as z α + (β − μ α) with α = γ/σ, which may underflow as x̂ may."""
    spread = np.abs(gamma) * (s.x_error * (1 + r.gamma(4)) + r.gamma(4) * s.rstd * s.scale)
    lost = r.tiny * (1 + s.scale + np.abs(gamma))
    return spread + r.gamma(4) * (np.abs(gamma * s.x) + np.abs(beta)) + lost


def _rule(axis: int) -> Rule:
    def rule(stage: Stage, c: Context) -> Local:
        z, gamma, beta = c.read(stage)
        x, _ = _standardize(z, axis)
        given = zip(*cells(z.shape, gamma, beta), x.ravel(), strict=True)
        truth = from_balls([g * v + b for g, b, v in given], z.shape)
        s = standardized(z, axis, EPS, c.r)
        bound = _error(s, gamma, beta, c.r)
        size = np.abs(gamma) * (s.rstd * (1 + s.scale) + np.abs(s.x)) + np.abs(beta)
        return Local(truth, up(bound, z.shape[axis]), size)

    return rule


def _step(axis: int) -> Step:
    def step(stage: Stage, b: Bounds) -> Array:
        z, gamma, beta = b.read(stage)
        s = standardized(z, axis, EPS, b.r, b.error(stage.reads[0]))
        return up(_error(s, gamma, beta, b.r), z.shape[axis])

    return step


# dγ = Σ dn x̂
def _weight_rule(axis: int) -> Rule:
    def rule(stage: Stage, c: Context) -> Local:
        dn, z = c.read(stage)
        x, _ = _standardize(z, axis)
        truth = from_balls(list((_ball_array(dn) * x).sum(axis=0)), (z.shape[1],))
        s, n = standardized(z, axis, EPS, c.r), len(z) + 2
        bound = np.abs(dn) * (s.x_error * (1 + c.r.gamma(n)) + c.r.gamma(n) * np.abs(s.x))
        size = (np.abs(dn) * s.scale * (1 + s.rstd)).sum(axis=0)
        return Local(truth, up(bound.sum(axis=0) + n * c.r.tiny, n), size)

    return rule


def _weight_step(axis: int) -> Step:
    def step(stage: Stage, b: Bounds) -> Array:
        dn, z = b.read(stage)
        e_dn, e_z = (b.error(name) for name in stage.reads)
        s, n = standardized(z, axis, EPS, b.r, e_z), len(z) + 2
        size = np.abs(dn) + e_dn
        error = size * s.x_error + e_dn * np.abs(s.x) + b.r.gamma(n) * size * (np.abs(s.x) + s.x_error)
        return up(error.sum(axis=0) + n * b.r.tiny, n)

    return step


# dz = (g − mean(g) − x̂ mean(g x̂)) / σ, g = dn γ
def _backward_error(s: Standardized, g: Array, g_error: Array, gamma: Array, axis: int, r: Rounding) -> Array:
    """The error of dz = (g − mean(g) − x̂ mean(g x̂))/σ, where g = dn γ has size |g| and errs by g_error.

    Also as b z + c with b from 1/σ³, where x̂ mean(g x̂) is a difference of terms of size |z| + |μ|. What is
    flushed on the way there, a sum's term or a product with 1/σ, is then multiplied by 1/σ³ and twice by
    such a size; what dn loses before it is multiplied by γ, by γ too.
    """
    n = s.x.shape[axis]

    def mean(a: Array) -> Array:
        return a.mean(axis=axis, keepdims=True)

    size = np.abs(g) + g_error
    x_size = np.abs(s.x) + s.x_error
    mean_g, mean_gx = mean(size), mean(size * x_size)
    gx_error = mean(size * s.x_error + g_error * x_size) + r.gamma(n + 6) * mean_gx
    third = x_size * gx_error + s.x_error * mean_gx
    error = g_error + mean(g_error) + r.gamma(n + 4) * mean_g + third
    error = error + r.gamma(6) * (size + mean_g + x_size * mean_gx + s.rstd * s.scale * mean_gx)
    whole = size + mean_g + 2 * x_size * mean_gx
    factor = np.broadcast_to(np.abs(gamma), g.shape).max(axis=axis, keepdims=True)
    flushed = n * r.tiny * (1 + factor) * (1 + s.rstd) ** 3 * (1 + s.scale) ** 2
    moved = error * (1 + s.rstd_error) ** 3 + 3 * s.rstd_error * (1 + s.rstd_error) ** 2 * whole
    return s.rstd * moved + flushed


def _input_rule(axis: int) -> Rule:
    def rule(stage: Stage, c: Context) -> Local:
        dn, z, gamma = c.read(stage)
        n = z.shape[axis]
        x, rstd = _standardize(z, axis)
        g = _ball_array(dn) * _ball_array(np.broadcast_to(gamma, z.shape))
        centre = g.sum(axis=axis, keepdims=True) / n
        tilt = (g * x).sum(axis=axis, keepdims=True) / n
        truth = from_balls(list(((g - centre - x * tilt) * rstd).ravel()), z.shape)
        s, product_ = standardized(z, axis, EPS, c.r), dn * gamma
        bound = _backward_error(s, product_, c.r.gamma(1) * np.abs(product_), gamma, axis, c.r)
        # sums of dn, dn γ and their products with z, times 1/σ³ and z again in the one-pass form
        sums = (np.abs(dn) * (1 + np.abs(gamma)) * (1 + s.scale)).sum(axis=axis, keepdims=True)
        size = np.maximum(sums * (1 + s.scale) * (1 + s.rstd) ** 3, np.abs(gamma) * (1 + s.rstd))
        return Local(truth, up(bound + c.r.gamma(4) * np.abs(truth.hi) + c.r.tiny, n), size)

    return rule


def _input_step(axis: int) -> Step:
    def step(stage: Stage, b: Bounds) -> Array:
        dn, z, gamma = b.read(stage)
        s = standardized(z, axis, EPS, b.r, b.error(stage.reads[1]))
        g = dn * gamma
        g_error = b.error(stage.reads[0]) * np.abs(gamma) * (1 + b.r.gamma(1)) + b.r.gamma(1) * np.abs(g)
        error = _backward_error(s, g, g_error, gamma, axis, b.r)
        return up(error + b.r.gamma(4) * np.abs(b.values[stage.name]) + b.r.tiny, z.shape[axis])

    return step


KINDS: dict[str, Kind] = {
    name + ending: Kind(rule(axis), step(axis))
    for name, axis in (("batch_norm", 0), ("layer_norm", 1))
    for ending, rule, step in (
        ("", _rule, _step),
        ("_backward_weight", _weight_rule, _weight_step),
        ("_backward_input", _input_rule, _input_step),
    )
}
