"""The activation functions and their derivatives as compiled loops; formulas and kinks as in `manual`.

z, a and the gradients are (features, n) in one flat buffer, so an elementwise row is one loop.
"""

import math
from typing import Any

from manual.compiled.elementary import erf, exp, expm1, log1p, sigmoid, tanh
from manual.compiled.memory import at, loops, root

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
    SOFTMAX,
) = range(len(ROWS))
ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
CUBIC, THRESHOLD = 0.044715, 20


@loops
def activate(row: int, w: Any, z_at: int, a_at: int, features: int, n: int, slope: Any, scratch: int) -> None:
    """a = f(z); `slope` is that of leaky_relu and prelu, `scratch` the place of 2 n numbers."""
    T = w.dtype.type
    size = features * n
    z, a = at(w, z_at, size), at(w, a_at, size)
    zero, one, half, two = T(0), T(1), T(0.5), T(2)
    if row == IDENTITY:
        for i in range(size):
            a[i] = z[i]
    elif row == SIGMOID:
        for i in range(size):
            a[i] = sigmoid(z[i])
    elif row == TANH:
        for i in range(size):
            a[i] = tanh(z[i])
    elif row == RELU:
        for i in range(size):
            a[i] = zero if z[i] <= zero else z[i]
    elif row in (LEAKY_RELU, PRELU):
        for i in range(size):
            a[i] = z[i] if z[i] > zero else slope * z[i]
    elif row in (ELU, SELU):
        alpha, scale = (T(ALPHA), T(SCALE)) if row == SELU else (one, one)
        for i in range(size):
            a[i] = scale * (z[i] if z[i] > zero else alpha * expm1(zero if z[i] > zero else z[i]))
    elif row == GELU:
        root_two = root(two)
        for i in range(size):
            a[i] = z[i] * (one + erf(z[i] / root_two)) * half
    elif row == GELU_TANH:
        factor, cubic = root(two / T(math.pi)), T(CUBIC)
        for i in range(size):
            a[i] = z[i] * (one + tanh(factor * (z[i] + cubic * z[i] * z[i] * z[i]))) * half
    elif row == SILU:
        for i in range(size):
            a[i] = z[i] * sigmoid(z[i])
    elif row == SOFTPLUS:
        threshold = T(THRESHOLD)
        for i in range(size):
            rest = log1p(exp(-abs(z[i])))  # log(1 + e^z) = max(z, 0) + log(1 + e^−|z|)
            a[i] = z[i] if z[i] > threshold else (z[i] if z[i] > zero else zero) + rest
    elif row == HARDTANH:
        for i in range(size):
            a[i] = -one if z[i] < -one else (one if z[i] > one else z[i])
    elif row == SOFTMAX:
        softmax(w, z_at, a_at, features, n, scratch)


@loops
def softmax(w: Any, z_at: int, a_at: int, features: int, n: int, scratch: int) -> None:
    """aᵢ = e^zᵢ / Σⱼ e^zⱼ over the features of each sample, the largest taken off first."""
    total = at(w, scratch + n, n)
    exponentials(w, z_at, a_at, features, n, scratch)
    for j in range(features):
        a = at(w, a_at + j * n, n)
        for r in range(n):
            a[r] = a[r] / total[r]


@loops
def exponentials(w: Any, z_at: int, e_at: int, features: int, n: int, scratch: int) -> None:
    """e = e^(z − top), top = max z and total = Σ e of each sample; top and total go to `scratch`."""
    T = w.dtype.type
    top, total = at(w, scratch, n), at(w, scratch + n, n)
    first = at(w, z_at, n)
    for r in range(n):
        top[r] = first[r]
        total[r] = T(0)
    for j in range(1, features):
        z = at(w, z_at + j * n, n)
        for r in range(n):
            top[r] = z[r] if z[r] > top[r] else top[r]
    for j in range(features):
        z, e = at(w, z_at + j * n, n), at(w, e_at + j * n, n)
        for r in range(n):
            e[r] = exp(z[r] - top[r])
            total[r] += e[r]


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
) -> None:
    """dz = da · f′(z), where the forward line was a = f(z)."""
    T = w.dtype.type
    size = features * n
    da, z, a, dz = at(w, da_at, size), at(w, z_at, size), at(w, a_at, size), at(w, dz_at, size)
    zero, one, half, two = T(0), T(1), T(0.5), T(2)
    if row == IDENTITY:
        for i in range(size):
            dz[i] = da[i]
    elif row == SIGMOID:
        for i in range(size):
            dz[i] = da[i] * (a[i] * (one - a[i]))
    elif row == TANH:
        for i in range(size):
            dz[i] = da[i] * (one - a[i] * a[i])
    elif row == RELU:
        for i in range(size):
            dz[i] = da[i] * (zero if z[i] <= zero else one)
    elif row in (LEAKY_RELU, PRELU):
        for i in range(size):
            dz[i] = da[i] * (one if z[i] > zero else slope)
    elif row in (ELU, SELU):
        alpha, scale = (T(ALPHA), T(SCALE)) if row == SELU else (one, one)
        for i in range(size):
            dz[i] = da[i] * (scale * (one if z[i] > zero else alpha * exp(zero if z[i] > zero else z[i])))
    elif row == GELU:
        root_two, norm = root(two), root(two * T(math.pi))
        for i in range(size):
            density = exp(-z[i] * z[i] * half) / norm
            dz[i] = da[i] * ((one + erf(z[i] / root_two)) * half + z[i] * density)
    elif row == GELU_TANH:
        factor, cubic, three = root(two / T(math.pi)), T(CUBIC), T(3)
        for i in range(size):
            t = tanh(factor * (z[i] + cubic * z[i] * z[i] * z[i]))
            inner = factor * (one + three * cubic * z[i] * z[i])
            dz[i] = da[i] * ((one + t) * half + z[i] * (one - t * t) * inner * half)
    elif row == SILU:
        for i in range(size):
            s = sigmoid(z[i])
            dz[i] = da[i] * (s * (one + z[i] * (one - s)))
    elif row == SOFTPLUS:
        for i in range(size):
            dz[i] = da[i] * (one if z[i] > T(THRESHOLD) else sigmoid(z[i]))
    elif row == HARDTANH:
        for i in range(size):
            dz[i] = da[i] * (zero if (z[i] <= -one) | (z[i] >= one) else one)
    elif row == SOFTMAX:
        jacobian_product(w, da_at, a_at, dz_at, features, n, scratch)


# ∂aᵢ/∂zⱼ = aᵢ (δᵢⱼ − aⱼ), so dzⱼ = aⱼ (daⱼ − Σᵢ daᵢ aᵢ)
@loops
def jacobian_product(w: Any, da_at: int, a_at: int, dz_at: int, features: int, n: int, scratch: int) -> None:
    inner = at(w, scratch, n)
    for r in range(n):
        inner[r] = w.dtype.type(0)
    for j in range(features):
        da, a = at(w, da_at + j * n, n), at(w, a_at + j * n, n)
        for r in range(n):
            inner[r] += da[r] * a[r]
    for j in range(features):
        da, a, dz = at(w, da_at + j * n, n), at(w, a_at + j * n, n), at(w, dz_at + j * n, n)
        for r in range(n):
            dz[r] = a[r] * (da[r] - inner[r])


# ∂a/∂slope = z for z ≤ 0, else 0, summed over all entries; here over those of each sample
@loops
def slope_terms(w: Any, da_at: int, z_at: int, features: int, n: int, terms: Any) -> None:
    zero = w.dtype.type(0)
    for r in range(n):
        terms[r] = 0.0
    for j in range(features):
        da, z = at(w, da_at + j * n, n), at(w, z_at + j * n, n)
        for r in range(n):
            terms[r] += da[r] * (zero if z[r] > zero else z[r])
