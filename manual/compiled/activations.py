"""The activations and their derivatives as compiled loops, written by `python -m manual.recorded.compiled`.

z, a and the gradients are (features, n) in one flat buffer, so an elementwise row is one loop. What the
forward pass leaves for the backward pass lies from `kept`, KEPT[row] times the size of z. Not by hand: the
rows are in `manual`, and a test holds this text to what that command writes.
"""
# ruff: noqa: SIM114  # each row has a branch of its own, and two may be alike

from typing import Any

from manual.compiled.coupled import jacobian_product, softmax
from manual.compiled.elementary import erf, exp, expm1, log1p, tanh
from manual.compiled.memory import at, loops

ROWS = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "prelu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "softplus",
    "hardtanh",
    "mish",
    "softmax",
)
(
    IDENTITY,
    SIGMOID,
    TANH,
    RELU,
    LEAKY_RELU,
    PRELU,
    ELU,
    SELU,
    GELU,
    GELU_TANH,
    SILU,
    SOFTPLUS,
    HARDTANH,
    MISH,
    SOFTMAX,
) = range(len(ROWS))
KEPT = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 2, 0)


@loops
def activate(
    row: int, w: Any, z_at: int, a_at: int, features: int, n: int, slope: Any, scratch: int, kept: int
) -> None:
    """a = f(z); `slope` is that of leaky_relu and prelu, `scratch` the place of 2 n numbers."""
    T, size = w.dtype.type, features * n
    z, a = at(w, z_at, size), at(w, a_at, size)
    if row == SOFTMAX:
        softmax(w, z_at, a_at, features, n, scratch)
    elif row == IDENTITY:
        for i in range(size):
            a[i] = z[i]
    elif row == SIGMOID:
        for i in range(size):
            t1 = exp(-abs(z[i]))
            a[i] = (t1 if z[i] < T(0) else T(1)) / (t1 + T(1))
    elif row == TANH:
        for i in range(size):
            a[i] = tanh(z[i])
    elif row == RELU:
        for i in range(size):
            a[i] = T(0) if z[i] <= T(0) else z[i]
    elif row == LEAKY_RELU:
        for i in range(size):
            a[i] = z[i] if z[i] > T(0) else z[i] * slope
    elif row == PRELU:
        for i in range(size):
            a[i] = z[i] if z[i] > T(0) else z[i] * slope
    elif row == ELU:
        for i in range(size):
            a[i] = z[i] if z[i] > T(0) else expm1(T(0) if z[i] >= T(0) else z[i])
    elif row == SELU:
        for i in range(size):
            t1 = expm1(T(0) if z[i] >= T(0) else z[i]) * T(1.6732632423543772)
            a[i] = (z[i] if z[i] > T(0) else t1) * T(1.0507009873554805)
    elif row == GELU:
        k0 = at(w, kept, size)
        for i in range(size):
            t1 = erf(z[i] * T(0.7071067811865476)) + T(1)
            k0[i] = t1
            a[i] = z[i] * t1 * T(0.5)
    elif row == GELU_TANH:
        k0 = at(w, kept, size)
        for i in range(size):
            t1 = (z[i] + z[i] * (z[i] * z[i]) * T(0.044715)) * T(0.7978845608028654)
            t2 = tanh(t1)
            k0[i] = t2
            a[i] = z[i] * (t2 + T(1)) * T(0.5)
    elif row == SILU:
        k0 = at(w, kept, size)
        for i in range(size):
            t1 = exp(-abs(z[i]))
            t2 = (t1 if z[i] < T(0) else T(1)) / (t1 + T(1))
            k0[i] = t2
            a[i] = z[i] * t2
    elif row == SOFTPLUS:
        k0 = at(w, kept, size)
        for i in range(size):
            t1 = exp(-abs(z[i]))
            k0[i] = t1
            a[i] = z[i] if z[i] > T(20) else (T(0) if z[i] <= T(0) else z[i]) + log1p(t1)
    elif row == HARDTANH:
        for i in range(size):
            t1 = T(-1) if z[i] <= T(-1) else z[i]
            a[i] = T(1) if t1 >= T(1) else t1
    elif row == MISH:
        k0 = at(w, kept, size)
        k1 = at(w, kept + size, size)
        for i in range(size):
            t1 = exp(-abs(z[i]))
            t2 = tanh((T(0) if z[i] <= T(0) else z[i]) + log1p(t1))
            k0[i] = t2
            k1[i] = t1
            a[i] = z[i] * t2


@loops
def differentiate(
    row: int,
    w: Any,
    da_at: int,
    z_at: int,
    a_at: int,
    dz_at: int,
    features: int,
    n: int,
    slope: Any,
    scratch: int,
    kept: int,
) -> None:
    """dz = da · f′(z), where the forward line was a = f(z)."""
    T, size = w.dtype.type, features * n
    da, z, a, dz = at(w, da_at, size), at(w, z_at, size), at(w, a_at, size), at(w, dz_at, size)
    if row == SOFTMAX:
        jacobian_product(w, da_at, a_at, dz_at, features, n, scratch)
    elif row == IDENTITY:
        for i in range(size):
            dz[i] = da[i]
    elif row == SIGMOID:
        for i in range(size):
            dz[i] = da[i] * (a[i] * (T(1) - a[i]))
    elif row == TANH:
        for i in range(size):
            dz[i] = da[i] * (T(1) - a[i] * a[i])
    elif row == RELU:
        for i in range(size):
            dz[i] = da[i] * (T(0) if z[i] <= T(0) else T(1))
    elif row == LEAKY_RELU:
        for i in range(size):
            dz[i] = da[i] * (T(1) if z[i] > T(0) else slope)
    elif row == PRELU:
        for i in range(size):
            dz[i] = da[i] * (T(1) if z[i] > T(0) else slope)
    elif row == ELU:
        for i in range(size):
            dz[i] = da[i] * (T(1) if z[i] > T(0) else exp(T(0) if z[i] >= T(0) else z[i]))
    elif row == SELU:
        for i in range(size):
            t1 = T(1) if z[i] > T(0) else exp(T(0) if z[i] >= T(0) else z[i]) * T(1.6732632423543772)
            dz[i] = da[i] * (t1 * T(1.0507009873554805))
    elif row == GELU:
        k0 = at(w, kept, size)
        for i in range(size):
            t1 = k0[i] * T(0.5) + z[i] * exp(z[i] * z[i] * T(-0.5)) * T(0.3989422804014327)
            dz[i] = da[i] * t1
    elif row == GELU_TANH:
        k0 = at(w, kept, size)
        for i in range(size):
            t1 = z[i] * (T(1) - k0[i] * k0[i]) * (z[i] * z[i] * T(0.134145) + T(1))
            dz[i] = da[i] * ((k0[i] + T(1)) * T(0.5) + t1 * T(0.3989422804014327))
    elif row == SILU:
        k0 = at(w, kept, size)
        for i in range(size):
            dz[i] = da[i] * (k0[i] * (z[i] * (T(1) - k0[i]) + T(1)))
    elif row == SOFTPLUS:
        k0 = at(w, kept, size)
        for i in range(size):
            t1 = T(1) if z[i] > T(20) else (k0[i] if z[i] < T(0) else T(1)) / (k0[i] + T(1))
            dz[i] = da[i] * t1
    elif row == HARDTANH:
        for i in range(size):
            dz[i] = da[i] * (T(0) if (z[i] <= T(-1)) | (z[i] >= T(1)) else T(1))
    elif row == MISH:
        k0 = at(w, kept, size)
        k1 = at(w, kept + size, size)
        for i in range(size):
            t1 = z[i] * ((k1[i] if z[i] < T(0) else T(1)) / (k1[i] + T(1))) * (T(1) - k0[i] * k0[i])
            dz[i] = da[i] * (k0[i] + t1)
