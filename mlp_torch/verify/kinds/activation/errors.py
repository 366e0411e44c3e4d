"""How far rounding may carry f and f′ of one number: derived by hand, a function an activation.

Each takes a `Point` and gives the absolute errors of f and of f′ there, for every usual way to evaluate them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.verify.rounding import ELEMENTARY, Rounding, erf

Pair = tuple[Array, Array]
Errors = Callable[["Point"], Pair]


@dataclass(frozen=True)
class Point:
    """What a bound may use: z, the true f and f′ there (to float64), the arithmetic."""

    z: Array
    f: Array
    d: Array
    r: Rounding


def relative(forward: float, backward: float) -> Errors:
    """Relative errors of f and f′, in units of u, and underflow: what does not round is exact."""

    def errors(p: Point) -> Pair:
        return (
            p.r.gamma(forward) * np.abs(p.f) + (p.r.tiny if forward else 0.0),
            p.r.gamma(backward) * np.abs(p.d) + (p.r.tiny if backward else 0.0),
        )

    return errors


# s = 1/(1 + e) or e/(1 + e), e = e^−|z|: e twice, a sum, a quotient. f′ = a (1 − a) from the rounded a:
# an error ε of a moves a (1 − a) by |ε| |1 − 2a| + ε²
def sigmoid(p: Point) -> Pair:
    forward = p.r.gamma(2 * ELEMENTARY + 4) * p.f + p.r.tiny
    moved = forward * np.abs(1 - 2 * p.f) + forward**2
    return forward, moved * (1 + p.r.gamma(3)) + p.r.gamma(3) * p.d


# a² moves by 2 |a| ε + ε²; then a product and a difference
def tanh(p: Point) -> Pair:
    forward = p.r.gamma(ELEMENTARY) * np.abs(p.f) + p.r.tiny
    moved = 2 * np.abs(p.f) * forward + forward**2
    return forward, moved * (1 + p.r.gamma(3)) + p.r.gamma(2) * (p.f**2 + p.d)


# Φ = (1 + erf t)/2, t = z/√2 to 2u: erf moves by |t| 2/√π e^−t² 2u and errs by 8u; 1 + erf cancels for
# z < 0, so the error of Φ is absolute. φ = e^(−z²/2)/√(2π): the exponent's 2u count z²/2 times.
def gelu(p: Point) -> Pair:
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
def gelu_tanh(p: Point) -> Pair:
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
def silu(p: Point) -> Pair:
    s = np.exp(-np.maximum(-p.z, 0)) / (1 + np.exp(-np.abs(p.z)))
    error = p.r.gamma(2 * ELEMENTARY + 4) * s + p.r.tiny
    bracket = np.abs(1 + p.z * (1 - s))
    moved = np.abs(p.z) * (error + p.r.gamma(3) * (1 - s)) + p.r.gamma(2) * (1 + np.abs(p.z) * (1 - s))
    forward = p.r.gamma(2 * ELEMENTARY + 6) * np.abs(p.f) + p.r.tiny * (1 + np.abs(p.z))
    backward = s * moved + error * bracket + error * moved + p.r.gamma(2) * np.abs(p.d)
    return forward, backward * (1 + p.r.gamma(4)) + p.r.tiny * (1 + np.abs(p.z))


def none(p: Point) -> Pair:
    """What never rounds."""
    zero = np.zeros_like(p.z)
    return zero, zero
