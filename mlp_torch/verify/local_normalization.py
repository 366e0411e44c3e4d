"""The local certificate's rules for batch and layer normalization: true values and rounding bounds."""

from typing import Any

import numpy as np
from flint import arb

from manual.catalogue.layers import NORMALIZATION_EPS
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.enclosure import balls, from_balls
from mlp_torch.verify.local import Context, Local, Rule
from mlp_torch.verify.rounding import (
    Rounding,
    normalization_backward_error,
    normalization_error,
    standardized,
    up,
)

EPS = float(NORMALIZATION_EPS)


# n = γ x̂ + β
def _normalization(axis: int) -> Rule:
    def rule(stage: Stage, c: Context) -> Local:
        z, gamma, beta = c.read(stage)
        x, _ = _standardize(z, axis)
        cells = zip(*_cells(z.shape, gamma, beta), x.ravel(), strict=True)
        truth = from_balls([g * v + b for g, b, v in cells], z.shape)
        s = standardized(z, axis, EPS, c.r)
        bound = normalization_error(s, gamma, beta, c.r)
        size = np.abs(gamma) * (s.rstd * (1 + s.scale) + np.abs(s.x)) + np.abs(beta)
        return Local(truth, up(bound, z.shape[axis]), size)

    return rule


# dγ = Σ dn x̂
def _normalization_weight(axis: int) -> Rule:
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
def _normalization_input(axis: int) -> Rule:
    def rule(stage: Stage, c: Context) -> Local:
        dn, z, gamma = c.read(stage)
        n = z.shape[axis]
        x, rstd = _standardize(z, axis)
        g = _ball_array(dn) * _ball_array(np.broadcast_to(gamma, z.shape))
        centre = g.sum(axis=axis, keepdims=True) / n
        tilt = (g * x).sum(axis=axis, keepdims=True) / n
        truth = from_balls(list(((g - centre - x * tilt) * rstd).ravel()), z.shape)
        s, product_ = standardized(z, axis, EPS, c.r), dn * gamma
        bound = normalization_backward_error(s, product_, c.r.gamma(1) * np.abs(product_), gamma, axis, c.r)
        # sums of dn, dn γ and their products with z, times 1/σ³ and z again in the one-pass form
        sums = (np.abs(dn) * (1 + np.abs(gamma)) * (1 + s.scale)).sum(axis=axis, keepdims=True)
        size = np.maximum(sums * (1 + s.scale) * (1 + s.rstd) ** 3, np.abs(gamma) * (1 + s.rstd))
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
    rstd, terms = 1 / np.sqrt(variance + 1e-5), np.abs(z) + np.abs(mean)
    size = np.abs(gamma) * terms * rstd
    bound = c.r.gamma(ELEMENTARY_ROOT) * (size + np.abs(beta)) + evaluation_lost(terms, gamma, c.r)
    largest = size + np.abs(beta) + (1 + np.abs(gamma)) * terms * (1 + rstd)
    return Local(from_balls(truth, z.shape), up(bound), largest)


def evaluation_lost(terms: Array, gamma: Array, r: Rounding) -> Array:
    """What γ/σ loses below the normal numbers, times z and μ, and x̂, times γ."""
    return r.tiny + r.least * (terms + np.abs(gamma))


def _evaluation_weight(stage: Stage, c: Context) -> Local:
    dn, z, mean, variance = c.read(stage)
    cells = _cells(z.shape, dn, z, mean, variance)
    eps = arb(NORMALIZATION_EPS)
    exactly = [d * (v - m) * (s + eps).rsqrt() for d, v, m, s in zip(*cells, strict=True)]
    truth = from_balls(list(np.array(exactly, dtype=object).reshape(z.shape).sum(axis=0)), mean.shape)
    n = len(z) + ELEMENTARY_ROOT
    terms, rstd = np.abs(z) + np.abs(mean), 1 / np.sqrt(variance + 1e-5)
    size = (np.abs(dn) * terms * rstd).sum(axis=0)
    largest = ((1 + np.abs(dn)) * terms * (1 + rstd)).sum(axis=0)
    return Local(truth, up(c.r.gamma(n) * size + n * c.r.tiny, n), largest)


def _evaluation_input(stage: Stage, c: Context) -> Local:
    dn, gamma, variance = c.read(stage)
    eps = arb(NORMALIZATION_EPS)
    truth = [
        d * g * (s + eps).rsqrt() for d, g, s in zip(*_cells(dn.shape, dn, gamma, variance), strict=True)
    ]
    enclosed = from_balls(truth, dn.shape)
    bound = up(c.r.gamma(ELEMENTARY_ROOT) * np.abs(enclosed.hi) + evaluation_input_lost(dn, gamma, c.r))
    size = (np.abs(dn) + 1) * (1 + np.abs(gamma)) * (1 + 1 / np.sqrt(variance + 1e-5))
    return Local(enclosed, bound, size)


def evaluation_input_lost(dn: Array, gamma: Array, r: Rounding) -> Array:
    """What two of dn, γ and 1/σ lose as a product below the normal numbers, times the third."""
    return r.tiny + r.least * (np.abs(dn) + np.abs(gamma))


ELEMENTARY_ROOT = 16  # a square root to 8u, its argument and the products around it


def _cells(shape: tuple[int, ...], *arrays: Array) -> list[list[Any]]:
    """Each array as exact balls, one for every cell of `shape`."""
    return [balls(np.broadcast_to(a, shape)) for a in arrays]


RULES: dict[str, Rule] = {
    "batch_norm": _normalization(0),
    "batch_norm_backward_weight": _normalization_weight(0),
    "batch_norm_backward_input": _normalization_input(0),
    "layer_norm": _normalization(1),
    "layer_norm_backward_weight": _normalization_weight(1),
    "layer_norm_backward_input": _normalization_input(1),
    "batch_norm_evaluation": _evaluation,
    "batch_norm_evaluation_backward_weight": _evaluation_weight,
    "batch_norm_evaluation_backward_input": _evaluation_input,
}
