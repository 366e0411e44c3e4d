"""How far rounding may carry each stage: bounds that follow from the operation count, none guessed.

u is half the distance from 1 to the next float. Every +, −, ×, ÷ is assumed correct to a relative u
(IEEE 754), a sum of n terms in any order, fused or not, to γₙ = n u / (1 − n u) of the sum of absolute
values (Higham 2002, lemma 3.1), an elementary function (exp, log, tanh, erf, expm1, log1p, sqrt) to 4
ulp, which is 8 u (erf inside torch's float32 gelu: 20 ulp): a test measures both libraries. Results
below the smallest normal number may be flushed; a product or quotient on the way, which is then multiplied
by what may be large, loses at most half the least subnormal number there. Where an intermediate result
could overflow, nothing is claimed. The bounds hold for every usual way to evaluate a stage, so they judge
any engine; they are themselves computed in float64 and rounded up by `up`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erf

from manual.numbers import Array

ELEMENTARY = 8  # units of u: 4 ulp
ERF_FLOAT32 = 40  # torch's float32 gelu takes a fast erf that is documented to 20 ulp


@dataclass(frozen=True)
class Rounding:
    """The arithmetic of one dtype: unit roundoff, smallest normal, largest and least subnormal number."""

    u: float
    tiny: float
    largest: float
    least: float

    @classmethod
    def of(cls, dtype: Any) -> "Rounding":
        info = np.finfo(dtype)
        return cls(float(info.eps) / 2, float(info.tiny), float(info.max), float(info.smallest_subnormal))

    def fits(self, size: Array | float) -> Array:
        """Whether intermediate results of that size, rounded, cannot overflow."""
        return np.asarray(size <= self.largest / 2)  # ½: no bound here is used where n u > ½

    @property
    def erf(self) -> int:
        """The error of erf inside gelu, in units of u."""
        return ERF_FLOAT32 if self.u > 2.0**-50 else ELEMENTARY

    def gamma(self, n: float) -> float:
        """γₙ; infinite where n u ≥ 1, and nothing can be said."""
        return n * self.u / (1 - n * self.u) if n * self.u < 1 else np.inf


def up(bound: Array, n: int = 0) -> Array:
    """A computed bound, raised by what its own float64 evaluation over n terms may have lost."""
    return bound * (1 + (n + 128) * 2.0**-52)


@dataclass(frozen=True)
class Point:
    """What a bound may use: z, the true f and f′ there (to float64), the arithmetic."""

    z: Array
    f: Array
    d: Array
    r: Rounding


def _relative(forward: float, backward: float) -> Callable[[Point], tuple[Array, Array]]:
    """Relative errors of f and f′, in units of u, and underflow: what does not round is exact."""

    def errors(p: Point) -> tuple[Array, Array]:
        return (
            p.r.gamma(forward) * np.abs(p.f) + (p.r.tiny if forward else 0.0),
            p.r.gamma(backward) * np.abs(p.d) + (p.r.tiny if backward else 0.0),
        )

    return errors


# s = 1/(1 + e) or e/(1 + e), e = e^−|z|: e twice, a sum, a quotient. f′ = a (1 − a) from the rounded a:
# an error ε of a moves a (1 − a) by |ε| |1 − 2a| + ε²
def _sigmoid(p: Point) -> tuple[Array, Array]:
    forward = p.r.gamma(2 * ELEMENTARY + 4) * p.f + p.r.tiny
    moved = forward * np.abs(1 - 2 * p.f) + forward**2
    return forward, moved * (1 + p.r.gamma(3)) + p.r.gamma(3) * p.d


# a² moves by 2 |a| ε + ε²; then a product and a difference
def _tanh(p: Point) -> tuple[Array, Array]:
    forward = p.r.gamma(ELEMENTARY) * np.abs(p.f) + p.r.tiny
    moved = 2 * np.abs(p.f) * forward + forward**2
    return forward, moved * (1 + p.r.gamma(3)) + p.r.gamma(2) * (p.f**2 + p.d)


# Φ = (1 + erf t)/2, t = z/√2 to 2u: erf moves by |t| 2/√π e^−t² 2u and errs by 8u; 1 + erf cancels for
# z < 0, so the error of Φ is absolute. φ = e^(−z²/2)/√(2π): the exponent's 2u count z²/2 times.
def _gelu(p: Point) -> tuple[Array, Array]:
    t = np.abs(p.z) / np.sqrt(2)
    cdf = (1 + erf(p.z / np.sqrt(2))) / 2
    pdf = np.exp(-t * t) / np.sqrt(2 * np.pi)
    cdf_error = p.r.gamma(p.r.erf) / 2 + p.r.gamma(3) * 1.2 * t * np.exp(-t * t) + p.r.gamma(3) * cdf
    square = np.minimum(t * t, 1e4)  # where e^(−t²) is 0 in any arithmetic
    spread = np.exp(-square * (1 - p.r.gamma(2))) / np.sqrt(2 * np.pi)
    pdf_error = spread * (p.r.gamma(ELEMENTARY + 8) + p.r.gamma(2) * square)
    forward = np.abs(p.z) * cdf_error * (1 + p.r.gamma(3)) + p.r.gamma(3) * np.abs(p.f)
    backward = (cdf_error + np.abs(p.z) * pdf_error) * (1 + p.r.gamma(4)) + p.r.gamma(4) * (
        np.abs(p.d) + 2 * np.abs(p.z) * pdf
    )
    return forward + p.r.tiny, backward + p.r.tiny


# t = tanh u, u = √(2/π) (z + c z³), all terms of one sign, to 14u: tanh moves by |u| (1 − t²) 14u
def _gelu_tanh(p: Point) -> tuple[Array, Array]:
    root = np.sqrt(2 / np.pi)
    inner = root * (p.z + 0.044715 * p.z**3)
    slope = root * (1 + 3 * 0.044715 * p.z**2)
    t = np.tanh(inner)
    sech2 = 1 / np.cosh(np.minimum(np.abs(inner), 350)) ** 2
    moved = p.r.gamma(ELEMENTARY) * np.abs(t) + p.r.gamma(14) * np.abs(inner) * sech2
    moved = moved * (1 + p.r.gamma(14) * np.minimum(np.abs(inner), 1))
    half = moved / 2 + p.r.gamma(2) * (1 + t) / 2
    square = 2 * np.abs(t) * moved + moved**2 + p.r.gamma(3) * (t * t + sech2)
    backward = half + np.abs(p.z) / 2 * slope * (square * (1 + p.r.gamma(18)) + p.r.gamma(18) * sech2)
    forward = np.abs(p.z) * half * (1 + p.r.gamma(3)) + p.r.gamma(3) * np.abs(p.f)
    backward = backward + p.r.gamma(3) * (np.abs(p.d) + (1 + t) / 2)
    # 1 − tanh² is 0 long before z² overflows, and 0 · ∞ is no number
    backward = np.where(p.r.fits(np.abs(p.z) ** 3), backward, np.inf)
    return forward + p.r.tiny, backward + p.r.tiny


# s (1 + z (1 − s)): 1 − s errs by ε + u, z times; then the sum, then s itself
def _silu(p: Point) -> tuple[Array, Array]:
    s = np.exp(-np.maximum(-p.z, 0)) / (1 + np.exp(-np.abs(p.z)))
    error = p.r.gamma(2 * ELEMENTARY + 4) * s + p.r.tiny
    bracket = np.abs(1 + p.z * (1 - s))
    moved = np.abs(p.z) * (error + p.r.gamma(3) * (1 - s)) + p.r.gamma(2) * (1 + np.abs(p.z) * (1 - s))
    forward = p.r.gamma(2 * ELEMENTARY + 6) * np.abs(p.f) + p.r.tiny * (1 + np.abs(p.z))
    backward = s * moved + error * bracket + error * moved + p.r.gamma(2) * np.abs(p.d)
    return forward, backward * (1 + p.r.gamma(4)) + p.r.tiny * (1 + np.abs(p.z))


def _exact(p: Point) -> tuple[Array, Array]:
    zero = np.zeros_like(p.z)
    return zero, zero


# One row an activation: absolute errors of f and of f′.
ACTIVATION_ERRORS: dict[str, Callable[[Point], tuple[Array, Array]]] = {
    "identity": _exact,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": _exact,
    "hardtanh": _exact,
    "leaky_relu": _relative(2, 1),  # the slope's decimal is rounded, then a product
    "prelu": _relative(1, 0),
    "elu": _relative(ELEMENTARY + 2, ELEMENTARY + 2),
    "selu": _relative(ELEMENTARY + 6, ELEMENTARY + 6),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "softplus": _relative(2 * ELEMENTARY + 4, 2 * ELEMENTARY + 4),
}


def softmax_errors(z: Array, log_p: Array, r: Rounding) -> tuple[Array, Array]:
    """Errors of log softmax (absolute) and softmax (relative), row by row.

    z − max errs by u |z − max|, which exp turns into a relative error; the sum's relative error is
    the mean of its terms' plus γ_K; the logarithm turns that into an absolute one again.
    """
    k = z.shape[1]
    distance = np.abs(z - z.max(axis=1, keepdims=True))
    log_sum = np.abs(-log_p - distance)  # log Σ e^(z − max), at least 0
    p = np.exp(log_p)
    spread = (p * distance).sum(axis=1, keepdims=True)
    sum_error = r.gamma(1) * spread + r.gamma(ELEMENTARY + k + 1)
    log_error = (
        r.gamma(1) * distance
        + 2 * sum_error
        + r.gamma(ELEMENTARY) * log_sum
        + r.gamma(2) * (np.abs(log_p) + distance)
    )
    exponent = np.minimum(log_error, 1)
    relative = np.expm1(exponent) + r.gamma(ELEMENTARY + 3) + 2 * sum_error
    return log_error, relative


@dataclass(frozen=True)
class Standardized:
    """How far x̂ = (z − μ)/√(σ² + ε) and 1/√(σ² + ε) may stray, to float64, along one axis.

    c = z − μ may err by e = γ of |z| + mean |z| (two-pass, Welford or pairwise) and by what z brings
    with it; the variance then by 2 mean(|c| e) + mean(e²) + γ mean(c²); its share q of σ² + ε moves
    1/σ by q/2 (1 − q)^−3/2. `scale` is |z| + mean |z|.
    """

    x: Array
    rstd: Array
    x_error: Array
    rstd_error: Array
    scale: Array


def standardized(z: Array, axis: int, eps: float, r: Rounding, incoming: Array | float = 0.0) -> Standardized:
    """The errors of standardising z (float64) along `axis`, where z itself may err by `incoming`."""
    n = z.shape[axis]

    def mean(a: Array) -> Array:
        return np.broadcast_to(a, z.shape).mean(axis=axis, keepdims=True)

    centred = z - mean(z)
    scale = np.abs(z) + mean(np.abs(z))
    e = r.gamma(n + 6) * scale + r.tiny + incoming + mean(np.asarray(incoming))
    size = np.abs(centred) + e
    rstd = 1 / np.sqrt(mean(centred**2) + eps)
    q = (mean(2 * size * e) + r.gamma(n + 4) * mean(size**2)) * rstd**2 + r.gamma(2)
    q = np.where(r.fits(n * scale.max(axis=axis, keepdims=True) ** 2), q, np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        rstd_error = np.where(q < 0.5, q / 2 / (1 - np.minimum(q, 0.5)) ** 1.5, np.inf) + r.gamma(10)
    x = centred * rstd
    x_error = rstd * e * (1 + rstd_error) + np.abs(x) * rstd_error + r.gamma(4) * np.abs(x)
    return Standardized(x, rstd, x_error, rstd_error, scale)


def normalization_error(s: Standardized, gamma: Array, beta: Array, r: Rounding) -> Array:
    """The error of n = γ x̂ + β, also as z α + (β − μ α) with α = γ/σ, which may underflow as x̂ may."""
    spread = np.abs(gamma) * (s.x_error * (1 + r.gamma(4)) + r.gamma(4) * s.rstd * s.scale)
    lost = r.tiny + r.least * (s.scale + np.abs(gamma))
    return spread + r.gamma(4) * (np.abs(gamma * s.x) + np.abs(beta)) + lost


def normalization_backward_error(
    s: Standardized, g: Array, g_error: Array, gamma: Array, axis: int, r: Rounding
) -> Array:
    """The error of dz = (g − mean(g) − x̂ mean(g x̂))/σ, where g = dn γ has size |g| and errs by g_error.

    Also as b z + c with b from 1/σ³, where x̂ mean(g x̂) is a difference of terms of size |z| + |μ|. What is
    flushed on the way there, a sum's term or a product with 1/σ, is then multiplied by 1/σ³ and twice by
    such a size; what dn loses before it is multiplied by γ, by γ too.
    """
    n = s.x.shape[axis]

    def mean(a: Array) -> Array:
        return a.mean(axis=axis, keepdims=True)

    size = np.abs(g) + g_error
    x_size = np.abs(s.x) + s.x_error
    mean_g, mean_gx = mean(size), mean(size * x_size)
    gx_error = mean(size * s.x_error + g_error * x_size) + r.gamma(n + 6) * mean_gx
    third = x_size * gx_error + s.x_error * mean_gx
    error = g_error + mean(g_error) + r.gamma(n + 4) * mean_g + third
    error = error + r.gamma(6) * (size + mean_g + x_size * mean_gx + s.rstd * s.scale * mean_gx)
    whole = size + mean_g + 2 * x_size * mean_gx
    factor = np.broadcast_to(np.abs(gamma), g.shape).max(axis=axis, keepdims=True)
    flushed = n * (r.tiny + r.least * factor) * (1 + s.rstd) ** 3 * (1 + s.scale) ** 2
    moved = error * (1 + s.rstd_error) ** 3 + 3 * s.rstd_error * (1 + s.rstd_error) ** 2 * whole
    return s.rstd * moved + flushed
