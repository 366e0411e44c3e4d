"""Further activation functions in the form of `manual.activations`: f, f′ beside it, one row a function.

Softmax couples the entries of a row and gives the product of dz = Jᵀda instead. At a kink the derivative
is the one torch takes, named beside it. Sources: the papers named in torch's documentation of the
function of the same name.
"""

from typing import Any

import numpy as np

from manual.activations import Activation, sigmoid
from manual.numbers import Array, erf, indicator, number, pi


# a = z for z > 0, else slope · z; f′(0) = slope
def leaky_relu(z: Array, negative_slope: Any) -> Array:
    return np.where(z > 0, z, number(negative_slope, z) * z)


def d_leaky_relu(z: Array, a: Array, negative_slope: Any) -> Array:
    return np.where(z > 0, np.ones_like(z), number(negative_slope, z))


# a = z for z > 0, else slope · z, where the slope is learned; f′(0) = slope
def prelu(z: Array, slope: Array) -> Array:
    return np.where(z > 0, z, slope * z)


def d_prelu(z: Array, a: Array, slope: Array) -> Array:
    return np.where(z > 0, np.ones_like(z), slope)


# ∂a/∂slope = z for z ≤ 0, else 0: the slope is shared, so its gradient is a sum over all entries
def prelu_slope_gradient(da: Array, z: Array) -> Array:
    return np.reshape((da * np.where(z > 0, np.zeros_like(z), z)).sum(), 1)


# a = z for z > 0, else α (e^z − 1); f′(0) = α
def elu(z: Array, alpha: Any = 1) -> Array:
    return np.where(z > 0, z, number(alpha, z) * np.expm1(np.minimum(z, number(0, z))))


def d_elu(z: Array, a: Array, alpha: Any = 1) -> Array:
    return np.where(z > 0, np.ones_like(z), number(alpha, z) * np.exp(np.minimum(z, number(0, z))))


# a = scale · elu(z; α); f′(0) = scale · α
def selu(z: Array, alpha: str, scale: str) -> Array:
    return number(scale, z) * elu(z, alpha)


def d_selu(z: Array, a: Array, alpha: str, scale: str) -> Array:
    return number(scale, z) * d_elu(z, a, alpha)


# a = z Φ(z), Φ(z) = ½ (1 + erf(z/√2)) the normal distribution function
def gelu(z: Array) -> Array:
    return z * (1 + erf(z / np.sqrt(number(2, z)))) / 2


# f′ = Φ(z) + z φ(z), φ(z) = e^(−z²/2) / √(2π) the normal density
def d_gelu(z: Array, a: Array) -> Array:
    density = np.exp(-z * z / 2) / np.sqrt(2 * pi(z))
    return (1 + erf(z / np.sqrt(number(2, z)))) / 2 + z * density


# a = ½ z (1 + tanh u), u = √(2/π) (z + 0.044715 z³)
def gelu_tanh(z: Array) -> Array:
    u = np.sqrt(2 / pi(z)) * (z + number("0.044715", z) * z * z * z)
    return z * (1 + np.tanh(u)) / 2


# f′ = ½ (1 + tanh u) + ½ z (1 − tanh² u) u′, u′ = √(2/π) (1 + 3 · 0.044715 z²)
def d_gelu_tanh(z: Array, a: Array) -> Array:
    c = number("0.044715", z)
    root = np.sqrt(2 / pi(z))
    t = np.tanh(root * (z + c * z * z * z))
    return (1 + t) / 2 + z * (1 - t * t) * root * (1 + 3 * c * z * z) / 2


# a = z s(z), s the sigmoid
def silu(z: Array) -> Array:
    return z * sigmoid(z)


# f′ = s(z) (1 + z (1 − s(z)))
def d_silu(z: Array, a: Array) -> Array:
    s = sigmoid(z)
    return s * (1 + z * (1 - s))


# a = z tanh(log(1 + e^z)), log(1 + e^z) = max(z, 0) + log(1 + e^−|z|)
def mish(z: Array) -> Array:
    return z * np.tanh(np.maximum(z, number(0, z)) + np.log1p(np.exp(-np.abs(z))))


# f′ = t + z s(z) (1 − t²), t = tanh(log(1 + e^z))
def d_mish(z: Array, a: Array) -> Array:
    t = np.tanh(np.maximum(z, number(0, z)) + np.log1p(np.exp(-np.abs(z))))
    return t + z * sigmoid(z) * (1 - t * t)


# a = log(1 + e^z) = max(z, 0) + log(1 + e^−|z|), and z itself above the threshold, where torch stops
# counting the difference
def softplus(z: Array, threshold: int = 20) -> Array:
    return np.where(z > threshold, z, np.maximum(z, number(0, z)) + np.log1p(np.exp(-np.abs(z))))


# f′ = s(z), and 1 above the threshold
def d_softplus(z: Array, a: Array, threshold: int = 20) -> Array:
    return np.where(z > threshold, np.ones_like(z), sigmoid(z))


# a = −1 below −1, z between, 1 above 1; f′(±1) = 0
def hardtanh(z: Array) -> Array:
    return np.minimum(np.maximum(z, number(-1, z)), number(1, z))


def d_hardtanh(z: Array, a: Array) -> Array:
    return indicator(~((z <= -1) | (z >= 1)), z)


# aᵢ = e^zᵢ / Σⱼ e^zⱼ along each row; the row's maximum is taken off first, so that nothing overflows
def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# ∂aᵢ/∂zⱼ = aᵢ (δᵢⱼ − aⱼ), so dzⱼ = Σᵢ daᵢ ∂aᵢ/∂zⱼ = aⱼ (daⱼ − Σᵢ daᵢ aᵢ)
def softmax_jacobian_product(da: Array, z: Array, a: Array) -> Array:
    return a * (da - (da * a).sum(axis=-1, keepdims=True))


NEGATIVE_SLOPE = "0.01"

SELU_CONSTANTS = {
    "alpha": "1.6732632423543772848170429916717",
    "scale": "1.0507009873554804934193349852946",
}


ROWS: tuple[Activation, ...] = (
    Activation(
        "leaky_relu",
        leaky_relu,
        d_leaky_relu,
        options={"negative_slope": NEGATIVE_SLOPE},
        kinks=(0,),
    ),
    Activation(
        "prelu",
        prelu,
        d_prelu,
        slope=0.25,
        kinks=(0,),
    ),
    Activation("elu", elu, d_elu),
    Activation(
        "selu",
        selu,
        d_selu,
        options=SELU_CONSTANTS,
        kinks=(0,),
    ),
    Activation("gelu", gelu, d_gelu),
    Activation(
        "gelu_tanh",
        gelu_tanh,
        d_gelu_tanh,
    ),
    Activation("silu", silu, d_silu),
    Activation("softplus", softplus, d_softplus, kinks=(20,)),
    Activation("hardtanh", hardtanh, d_hardtanh, kinks=(-1, 1)),
    Activation(
        "softmax",
        softmax,
        jacobian_product=softmax_jacobian_product,
    ),
    Activation("mish", mish, d_mish),
)
