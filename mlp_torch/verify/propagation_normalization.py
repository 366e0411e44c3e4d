"""The global bound through batch and layer normalization."""

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.local_normalization import EPS, evaluation_input_lost, evaluation_lost
from mlp_torch.verify.propagation_layers import Bounds, Step
from mlp_torch.verify.rounding import (
    normalization_backward_error,
    normalization_error,
    standardized,
    up,
)


def _normalization(axis: int) -> Step:
    def step(stage: Stage, b: Bounds) -> Array:
        z, gamma, beta = b.read(stage)
        s = standardized(z, axis, EPS, b.r, b.error(stage.reads[0]))
        return up(normalization_error(s, gamma, beta, b.r), z.shape[axis])

    return step


def _normalization_weight(axis: int) -> Step:
    def step(stage: Stage, b: Bounds) -> Array:
        dn, z = b.read(stage)
        e_dn, e_z = (b.error(name) for name in stage.reads)
        s, n = standardized(z, axis, EPS, b.r, e_z), len(z) + 2
        size = np.abs(dn) + e_dn
        error = size * s.x_error + e_dn * np.abs(s.x) + b.r.gamma(n) * size * (np.abs(s.x) + s.x_error)
        return up(error.sum(axis=0) + n * b.r.tiny, n)

    return step


def _normalization_input(axis: int) -> Step:
    def step(stage: Stage, b: Bounds) -> Array:
        dn, z, gamma = b.read(stage)
        s = standardized(z, axis, EPS, b.r, b.error(stage.reads[1]))
        g = dn * gamma
        g_error = b.error(stage.reads[0]) * np.abs(gamma) * (1 + b.r.gamma(1)) + b.r.gamma(1) * np.abs(g)
        error = normalization_backward_error(s, g, g_error, gamma, axis, b.r)
        return up(error + b.r.gamma(4) * np.abs(b.values[stage.name]) + b.r.tiny, z.shape[axis])

    return step


def _evaluation(stage: Stage, b: Bounds) -> Array:
    z, gamma, beta, mean, variance = b.read(stage)
    scale = np.abs(gamma) / np.sqrt(variance + EPS)
    terms = np.abs(z) + np.abs(mean)
    own = b.r.gamma(16) * (scale * terms + np.abs(beta)) + evaluation_lost(terms, gamma, b.r)
    return up(own + b.error(stage.reads[0]) * scale * (1 + b.r.gamma(16)))


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
    lost = evaluation_input_lost(dn, gamma, b.r)
    return up(error * np.abs(gamma) / np.sqrt(variance + EPS) + lost)


STEPS: dict[str, Step] = {
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
