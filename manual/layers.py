"""The layers: forward and backward as a pair, pure functions of arrays.

Above a backward line stands the forward line that it differentiates. Samples are rows: a layer's
input is (N, in), its output (N, out), a weight (out, in) as in torch. Gradients are named d + name.
"""

import numpy as np

from manual.numbers import Array, indicator, number

NORMALIZATION_EPS = "1e-05"


class Linear:
    """z = a Wᵀ + b: the lecture's a₂ = w₂ · f₁ + b, for N samples and many neurons at once."""

    @staticmethod
    def forward(a: Array, weight: Array, bias: Array) -> Array:
        """z (N, out) from a (N, in), weight (out, in), bias (out,)."""
        return a @ weight.T + bias

    # z = a Wᵀ + b, so ∂L/∂a = dz W: each input is held responsible through its weights
    @staticmethod
    def backward_input(dz: Array, weight: Array) -> Array:
        """da (N, in) from dz (N, out)."""
        return dz @ weight

    # z = a Wᵀ + b, so ∂L/∂W = dzᵀ a: a sum over the samples of error times input
    @staticmethod
    def backward_weight(dz: Array, a: Array) -> Array:
        """dW (out, in)."""
        return dz.T @ a

    # z = a Wᵀ + b, so ∂L/∂b = Σ dz over the samples
    @staticmethod
    def backward_bias(dz: Array) -> Array:
        """db (out,)."""
        return dz.sum(axis=0)


class Dropout:
    """h = a · mask, inverted: an entry is kept with probability 1 − p and then scaled by 1 / (1 − p)."""

    @staticmethod
    def mask(shape: tuple[int, ...], p: float, like: Array, generator: np.random.Generator) -> Array:
        """A drawn mask of 0 and 1 / (1 − p), in the number system of `like`."""
        kept = indicator(generator.random(shape) >= p, like)
        return kept / (1 - number(p, like)) if p < 1 else kept

    @staticmethod
    def forward(a: Array, mask: Array) -> Array:
        return a * mask

    # h = a · mask, so ∂L/∂a = dh · mask, with the same mask
    @staticmethod
    def backward(dh: Array, mask: Array) -> Array:
        return dh * mask


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
