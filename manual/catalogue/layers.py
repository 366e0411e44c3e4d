"""Normalization in the form of `manual.layers`: forward and backward as a pair, pure functions of arrays."""

import numpy as np

from manual.numbers import Array, number

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
