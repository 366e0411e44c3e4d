"""The activations of `manual.activations` in buffers: f, and f′ beside it; one row of `KERNELS` a function.

z, a and f′ are (features, N): samples are columns here. `forward(do, z, a, options)` writes a and gives
what `derivative(do, z, a, f, options, saved)` may use again; the latter writes f′(z) into f.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.buffered.erf import erf
from manual.buffered.program import Program, borrows
from manual.numbers import Array

Options = dict[str, Any]


# a = z
def identity(do: Program, z: Array, a: Array, options: Options) -> None:
    do.copy(z, a)


# a = 1 / (1 + e^−z): e^−z may overflow to ∞, and 1/∞ = 0 is right
def sigmoid(do: Program, z: Array, a: Array, options: Options) -> None:
    do(np.negative, z, out=a)
    do(np.exp, a, out=a)
    do(np.add, a, 1, out=a)
    do(np.reciprocal, a, out=a)


# f′ = a (1 − a)
def d_sigmoid(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Any) -> None:
    do(np.subtract, 1, a, out=f)
    do(np.multiply, f, a, out=f)


# a = tanh z
def tanh(do: Program, z: Array, a: Array, options: Options) -> None:
    do(np.tanh, z, out=a)


# f′ = 1 − a²
def d_tanh(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Any) -> None:
    do(np.multiply, a, a, out=f)
    do(np.subtract, 1, f, out=f)


# a = max(0, z)
def relu(do: Program, z: Array, a: Array, options: Options) -> None:
    do(np.maximum, z, 0, out=a)


# f′ = [z > 0]
def d_relu(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Any) -> None:
    do.indicator(np.greater, z, 0, out=f)


# a = z for z > 0, else slope · z
def leaky_relu(do: Program, z: Array, a: Array, options: Options) -> None:
    do(np.multiply, z, options["negative_slope"], out=a)
    do.copy(z, a, where=do.mask(np.greater, z, 0, like=a))


# f′ = 1 for z > 0, else slope
def d_leaky_relu(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Any) -> None:
    slope = options["negative_slope"]
    do.copy(slope if isinstance(slope, np.ndarray) else do.number(slope), f)
    do.copy(do.number(1), f, where=do.mask(np.greater, z, 0, like=f))


# a = z for z > 0, else scale · α (e^z − 1)
def elu(do: Program, z: Array, a: Array, options: Options) -> None:
    do(np.minimum, z, 0, out=a)
    do(np.expm1, a, out=a)
    _scale(do, a, options.get("alpha", 1))
    do.copy(z, a, where=do.mask(np.greater, z, 0, like=a))
    _scale(do, a, options.get("scale", 1))


# f′ = 1 for z > 0, else scale · α e^z
def d_elu(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Any) -> None:
    do(np.minimum, z, 0, out=f)
    do(np.exp, f, out=f)
    _scale(do, f, options.get("alpha", 1))
    do.copy(do.number(1), f, where=do.mask(np.greater, z, 0, like=f))
    _scale(do, f, options.get("scale", 1))


def _scale(do: Program, a: Array, factor: Any) -> None:
    if factor != 1:
        do(np.multiply, a, factor, out=a)


# a = z Φ(z), Φ(z) = ½ (1 + erf(z/√2))
def gelu(do: Program, z: Array, a: Array, options: Options) -> Array:
    phi = do.workspace.new(*z.shape)
    do(np.multiply, z, np.asarray(np.sqrt(0.5), z.dtype), out=a)
    erf(do, a, phi)
    do(np.add, phi, 1, out=phi)
    do(np.multiply, phi, 0.5, out=phi)
    do(np.multiply, z, phi, out=a)
    return phi


# f′ = Φ(z) + z φ(z), φ(z) = e^(−z²/2) / √(2π)
def d_gelu(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Array) -> None:
    do(np.multiply, z, z, out=f)
    do(np.multiply, f, -0.5, out=f)
    do(np.exp, f, out=f)
    do(np.multiply, f, np.asarray(1 / np.sqrt(2 * np.pi), z.dtype), out=f)
    do(np.multiply, f, z, out=f)
    do(np.add, f, saved, out=f)


# a = ½ z (1 + t), t = tanh u, u = √(2/π) (z + c z³) = √(2/π) z (1 + c z²)
def gelu_tanh(do: Program, z: Array, a: Array, options: Options) -> Array:
    t = do.workspace.new(*z.shape)
    do(np.multiply, z, z, out=t)
    do(np.multiply, t, "0.044715", out=t)
    do(np.add, t, 1, out=t)
    do(np.multiply, t, z, out=t)
    do(np.multiply, t, np.asarray(np.sqrt(2 / np.pi), z.dtype), out=t)
    do(np.tanh, t, out=t)
    do(np.add, t, 1, out=a)
    do(np.multiply, a, z, out=a)
    do(np.multiply, a, 0.5, out=a)
    return t


# f′ = ½ (1 + t + z (1 − t²) u′), u′ = √(2/π) (1 + 3 c z²)
@borrows
def d_gelu_tanh(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Array) -> None:
    s = do.scratch(f)
    do(np.multiply, z, z, out=f)
    do(np.multiply, f, 3 * 0.044715, out=f)
    do(np.add, f, 1, out=f)
    do(np.multiply, f, np.asarray(np.sqrt(2 / np.pi), z.dtype), out=f)
    do(np.multiply, f, z, out=f)
    do(np.multiply, saved, saved, out=s)
    do(np.subtract, 1, s, out=s)
    do(np.multiply, f, s, out=f)
    do(np.add, f, saved, out=f)
    do(np.add, f, 1, out=f)
    do(np.multiply, f, 0.5, out=f)


# a = z s(z)
def silu(do: Program, z: Array, a: Array, options: Options) -> Array:
    s = do.workspace.new(*z.shape)
    sigmoid(do, z, s, options)
    do(np.multiply, z, s, out=a)
    return s


# f′ = s (1 + z (1 − s))
def d_silu(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Array) -> None:
    do(np.subtract, 1, saved, out=f)
    do(np.multiply, f, z, out=f)
    do(np.add, f, 1, out=f)
    do(np.multiply, f, saved, out=f)


# a = log(1 + e^z), and z above 20
def softplus(do: Program, z: Array, a: Array, options: Options) -> None:
    do(np.minimum, z, 20, out=a)
    do(np.exp, a, out=a)
    do(np.log1p, a, out=a)
    do.copy(z, a, where=do.mask(np.greater, z, 20, like=a))


# f′ = s(z), and 1 above 20
def d_softplus(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Any) -> None:
    sigmoid(do, z, f, options)
    do.copy(do.number(1), f, where=do.mask(np.greater, z, 20, like=f))


# a = min(max(z, −1), 1)
def hardtanh(do: Program, z: Array, a: Array, options: Options) -> None:
    do(np.maximum, z, -1, out=a)
    do(np.minimum, a, 1, out=a)


# f′ = [−1 < z < 1]
def d_hardtanh(do: Program, z: Array, a: Array, f: Array, options: Options, saved: Any) -> None:
    do(np.abs, z, out=f)
    do.indicator(np.less, f, 1, out=f)


# aᵢ = e^(zᵢ − max z) / Σⱼ e^(zⱼ − max z) down each column
@borrows
def softmax(do: Program, z: Array, a: Array, options: Options) -> None:
    row = do.scratch(z[:1])
    do(np.maximum.reduce, z, axis=0, keepdims=True, out=row)
    do(np.subtract, z, do.broadcast(row, z), out=a)
    do(np.exp, a, out=a)
    do(np.add.reduce, a, axis=0, keepdims=True, out=row)
    do(np.divide, a, do.broadcast(row, a), out=a)


# dzⱼ = aⱼ (daⱼ − Σᵢ daᵢ aᵢ)
@borrows
def softmax_product(do: Program, da: Array, a: Array, dz: Array) -> None:
    row, s = do.scratch(da[:1]), do.scratch(da)
    do(np.multiply, da, a, out=s)
    do(np.add.reduce, s, axis=0, keepdims=True, out=row)
    do(np.subtract, da, do.broadcast(row, da), out=dz)
    do(np.multiply, dz, a, out=dz)


@dataclass(frozen=True)
class ActivationKernel:
    """One row: f with f′, or with the product of the Jacobian; None for both where f′ = 1."""

    forward: Callable[..., Any]
    derivative: Callable[..., Any] | None = None
    product: Callable[..., Any] | None = None


KERNELS: dict[str, ActivationKernel] = {
    "identity": ActivationKernel(identity),
    "sigmoid": ActivationKernel(sigmoid, d_sigmoid),
    "tanh": ActivationKernel(tanh, d_tanh),
    "relu": ActivationKernel(relu, d_relu),
    "leaky_relu": ActivationKernel(leaky_relu, d_leaky_relu),
    "prelu": ActivationKernel(leaky_relu, d_leaky_relu),
    "elu": ActivationKernel(elu, d_elu),
    "selu": ActivationKernel(elu, d_elu),
    "gelu": ActivationKernel(gelu, d_gelu),
    "gelu_tanh": ActivationKernel(gelu_tanh, d_gelu_tanh),
    "silu": ActivationKernel(silu, d_silu),
    "softplus": ActivationKernel(softplus, d_softplus),
    "hardtanh": ActivationKernel(hardtanh, d_hardtanh),
    "softmax": ActivationKernel(softmax, product=softmax_product),
}
