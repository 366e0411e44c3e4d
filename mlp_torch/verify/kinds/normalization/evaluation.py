"""Batch normalization in evaluation: constant μ and σ², n = γ (z − μ)/√(σ² + ε) + β.

The other usual form is z α + (β − μ α) with α = γ/√(σ² + ε).
"""

import numpy as np
from flint import arb

from manual.catalogue.layers import NORMALIZATION_EPS
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import cells, from_balls
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import Rounding, up

EPS = float(NORMALIZATION_EPS)
ROOT = 16  # a square root to 8u, its argument and the products around it


def _lost(terms: Array, gamma: Array, r: Rounding) -> Array:
    """What γ/σ loses below the normal numbers, times z and μ, and x̂, times γ."""
    return r.tiny * (1 + terms + np.abs(gamma))


def _rule(stage: Stage, c: Context) -> Local:
    z, gamma, beta, mean, variance = c.read(stage)
    given = cells(z.shape, z, gamma, beta, mean, variance)
    eps = arb(NORMALIZATION_EPS)
    truth = [g * (v - m) * (s + eps).rsqrt() + b for v, g, b, m, s in zip(*given, strict=True)]
    rstd, terms = 1 / np.sqrt(variance + EPS), np.abs(z) + np.abs(mean)
    size = np.abs(gamma) * terms * rstd
    bound = c.r.gamma(ROOT) * (size + np.abs(beta)) + _lost(terms, gamma, c.r)
    largest = size + np.abs(beta) + (1 + np.abs(gamma)) * terms * (1 + rstd)
    return Local(from_balls(truth, z.shape), up(bound), largest)


def _step(stage: Stage, b: Bounds) -> Array:
    z, gamma, beta, mean, variance = b.read(stage)
    scale = np.abs(gamma) / np.sqrt(variance + EPS)
    terms = np.abs(z) + np.abs(mean)
    own = b.r.gamma(ROOT) * (scale * terms + np.abs(beta)) + _lost(terms, gamma, b.r)
    return up(own + b.error(stage.reads[0]) * scale * (1 + b.r.gamma(ROOT)))


# dγ = Σ dn x̂
def _weight_rule(stage: Stage, c: Context) -> Local:
    dn, z, mean, variance = c.read(stage)
    given = cells(z.shape, dn, z, mean, variance)
    eps = arb(NORMALIZATION_EPS)
    exactly = [d * (v - m) * (s + eps).rsqrt() for d, v, m, s in zip(*given, strict=True)]
    truth = from_balls(list(np.array(exactly, dtype=object).reshape(z.shape).sum(axis=0)), mean.shape)
    n = len(z) + ROOT
    terms, rstd = np.abs(z) + np.abs(mean), 1 / np.sqrt(variance + EPS)
    size = (np.abs(dn) * terms * rstd).sum(axis=0)
    largest = ((1 + np.abs(dn)) * terms * (1 + rstd)).sum(axis=0)
    return Local(truth, up(c.r.gamma(n) * size + n * c.r.tiny, n), largest)


def _weight_step(stage: Stage, b: Bounds) -> Array:
    dn, z, mean, variance = b.read(stage)
    e_dn, e_z = b.error(stage.reads[0]), b.error(stage.reads[1])
    n = len(z) + ROOT
    size = np.abs(z) + np.abs(mean)
    error = (np.abs(dn) + e_dn) * (e_z + b.r.gamma(n) * size) + e_dn * np.abs(z - mean)
    return up((error / np.sqrt(variance + EPS)).sum(axis=0) * (1 + b.r.gamma(ROOT)) + n * b.r.tiny, n)


# dz = dn γ/σ
def _input_lost(dn: Array, gamma: Array, r: Rounding) -> Array:
    """What two of dn, γ and 1/σ lose as a product below the normal numbers, times the third."""
    return r.tiny * (1 + np.abs(dn) + np.abs(gamma))


def _input_rule(stage: Stage, c: Context) -> Local:
    dn, gamma, variance = c.read(stage)
    eps = arb(NORMALIZATION_EPS)
    truth = [d * g * (s + eps).rsqrt() for d, g, s in zip(*cells(dn.shape, dn, gamma, variance), strict=True)]
    enclosed = from_balls(truth, dn.shape)
    bound = up(c.r.gamma(ROOT) * np.abs(enclosed.hi) + _input_lost(dn, gamma, c.r))
    size = (np.abs(dn) + 1) * (1 + np.abs(gamma)) * (1 + 1 / np.sqrt(variance + EPS))
    return Local(enclosed, bound, size)


def _input_step(stage: Stage, b: Bounds) -> Array:
    dn, gamma, variance = b.read(stage)
    error = b.error(stage.reads[0]) * (1 + b.r.gamma(ROOT)) + b.r.gamma(ROOT) * np.abs(dn)
    lost = _input_lost(dn, gamma, b.r)
    return up(error * np.abs(gamma) / np.sqrt(variance + EPS) + lost)


KINDS: dict[str, Kind] = {
    "batch_norm_evaluation": Kind(_rule, _step),
    "batch_norm_evaluation_backward_weight": Kind(_weight_rule, _weight_step),
    "batch_norm_evaluation_backward_input": Kind(_input_rule, _input_step),
}
