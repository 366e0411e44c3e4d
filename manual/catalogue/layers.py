"""Normalization in the form of `manual.layers`: forward and backward as a pair, pure functions of arrays.

Below them stand their rows of the chain rule, which `manual.chain` puts between z and the activation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.numbers import Array, number
from manual.structure.rows import Rows
from manual.structure.trace import Trace

NORMALIZATION_EPS = "1e-05"


def standardize(z: Array, axis: int) -> tuple[Array, Array]:
    """x̂ = (z − μ) / √(σ² + ε) along `axis`, and √(σ² + ε); σ² divides by n, as torch's forward does."""
    n = z.shape[axis]
    centred = z - z.sum(axis=axis, keepdims=True) / n
    variance = (centred * centred).sum(axis=axis, keepdims=True) / n
    deviation = np.sqrt(variance + number(NORMALIZATION_EPS, z))
    return centred / deviation, deviation


# x̂ = (z − μ) / σ; z moves x̂ directly, through μ and through σ:
# dz = (dx̂ − mean(dx̂) − x̂ mean(dx̂ x̂)) / σ
def standardize_backward(dx: Array, z: Array, axis: int) -> Array:
    x, deviation = standardize(z, axis)
    n = z.shape[axis]
    through_mean = dx.sum(axis=axis, keepdims=True) / n
    through_deviation = x * ((dx * x).sum(axis=axis, keepdims=True) / n)
    return (dx - through_mean - through_deviation) / deviation


class BatchNorm:
    """n = γ x̂ + β, where x̂ standardises each feature over the batch (Ioffe and Szegedy 2015)."""

    axis = 0

    @classmethod
    def forward(cls, z: Array, weight: Array, bias: Array) -> Array:
        """n (N, F) from z (N, F), weight γ (F,) and bias β (F,)."""
        return weight * standardize(z, cls.axis)[0] + bias

    # n = γ x̂ + β
    @classmethod
    def backward_input(cls, dn: Array, z: Array, weight: Array) -> Array:
        """dz (N, F)."""
        return standardize_backward(dn * weight, z, cls.axis)

    # n = γ x̂ + β, so ∂L/∂γ = Σ dn x̂
    @classmethod
    def backward_weight(cls, dn: Array, z: Array) -> Array:
        """dγ (F,)."""
        return (dn * standardize(z, cls.axis)[0]).sum(axis=0)

    # n = γ x̂ + β, so ∂L/∂β = Σ dn
    @staticmethod
    def backward_bias(dn: Array) -> Array:
        """dβ (F,)."""
        return dn.sum(axis=0)

    @staticmethod
    def statistics(z: Array) -> tuple[Array, Array]:
        """The batch's mean and unbiased variance (N − 1), which torch averages for evaluation."""
        mean = z.sum(axis=0) / len(z)
        centred = z - mean
        return mean, (centred * centred).sum(axis=0) / (len(z) - 1)


class BatchNormEvaluation:
    """n = γ (z − μ) / √(σ² + ε) + β with the running μ and σ²: in evaluation a linear function of z."""

    @staticmethod
    def forward(z: Array, weight: Array, bias: Array, mean: Array, variance: Array) -> Array:
        return weight * ((z - mean) / np.sqrt(variance + number(NORMALIZATION_EPS, z))) + bias

    # n = γ (z − μ) / σ + β with constant μ and σ, so ∂L/∂z = dn γ / σ
    @staticmethod
    def backward_input(dn: Array, weight: Array, variance: Array) -> Array:
        return dn * weight / np.sqrt(variance + number(NORMALIZATION_EPS, dn))

    @staticmethod
    def backward_weight(dn: Array, z: Array, mean: Array, variance: Array) -> Array:
        return (dn * ((z - mean) / np.sqrt(variance + number(NORMALIZATION_EPS, z)))).sum(axis=0)


class LayerNorm(BatchNorm):
    """n = γ x̂ + β, where x̂ standardises each sample over its features (Ba et al. 2016)."""

    axis = 1


def normalization_forward(rows: Rows, normalization: str, z: str) -> str:
    """n = γ x̂ + β of the layer; in evaluation batch_norm's x̂ is that of the running statistics."""
    i = rows.layer
    if normalization == "batch_norm_evaluation":
        formula = f"n{i} = gamma{i} (z{i} − mean{i})/√(variance{i} + ε) + beta{i}"
        reads = [z, f"gamma{i}", f"beta{i}", f"mean{i}", f"variance{i}"]
        return rows.write(f"n{i}", normalization, formula, reads, BatchNormEvaluation.forward)
    formula = f"n{i} = gamma{i} (z{i} − μ)/√(σ² + ε) + beta{i}"
    forward = (BatchNorm if normalization == "batch_norm" else LayerNorm).forward
    return rows.write(f"n{i}", normalization, formula, [z, f"gamma{i}", f"beta{i}"], forward)


def normalization_backward(rows: Rows, normalization: str, delta: str) -> str:
    """n = γ x̂ + β: dγ, dβ, and dz through x̂, whose mean and variance move too in training."""
    i = rows.layer
    evaluation = normalization == "batch_norm_evaluation"
    statistics = [f"mean{i}", f"variance{i}"] if evaluation else []
    layer: Any = {"layer_norm": LayerNorm, "batch_norm": BatchNorm}.get(normalization, BatchNormEvaluation)
    rows.write(
        f"dgamma{i}",
        f"{normalization}_backward_weight",
        f"dgamma{i} = Σ {delta} x̂{i}",
        [delta, f"z{i}", *statistics],
        layer.backward_weight,
        parameter=f"normalizations.{i - 1}.weight",
    )
    rows.write(
        f"dbeta{i}",
        "backward_bias",
        f"dbeta{i} = Σ {delta}",
        [delta],
        BatchNorm.backward_bias,
        parameter=f"normalizations.{i - 1}.bias",
    )
    if evaluation:
        formula = f"dz{i} = {delta} gamma{i} / √(variance{i} + ε)"
        reads = [delta, f"gamma{i}", f"variance{i}"]
    else:
        formula = f"dz{i} = (g − mean(g) − x̂ mean(g x̂)) / √(σ² + ε), g = {delta} gamma{i}"
        reads = [delta, f"z{i}", f"gamma{i}"]
    return rows.write(f"dz{i}", f"{normalization}_backward_input", formula, reads, layer.backward_input)


def move_statistics(buffers: Mapping[str, Array], trace: Trace, momentum: float) -> None:
    """running ← (1 − momentum) running + momentum · batch statistic, in place, as torch does."""
    for name, running in buffers.items():
        _, layer, kind = name.split(".")
        mean, variance = BatchNorm.statistics(trace[f"z{int(layer) + 1}"])
        running *= 1 - momentum
        running += momentum * (mean if kind == "running_mean" else variance)
