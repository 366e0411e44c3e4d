"""The layers: forward and backward as a pair, pure functions of arrays.

Above a backward line stands the forward line that it differentiates. Samples are rows: a layer's
input is (N, in), its output (N, out), a weight (out, in) as in torch. Gradients are named d + name.
"""

import numpy as np

from manual.numbers import Array, indicator, number


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
