"""The activations of `truth.py` for whole arrays at once, enclosed in float64 pairs instead of ball by ball.

Every operation carries its radius: what its rounding and what its operands' radii may move. e^x comes
from two tables in ball arithmetic and a Taylor polynomial (Tang 1989, "Table-driven implementation of the
exponential function"). `truth.py` stays the definition, and speaks wherever an entry is too large, too
small or has no function here; the tests hold every one of them against it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from flint import arb

from manual.numbers import Array
from mlp_torch.verify.enclosure import (
    Enclosure,
    chosen,
    exact,
    from_balls,
    mapped_pair,
    normalized,
    proven,
    times,
    two_product,
)

Pair = tuple[Enclosure, Enclosure]
# f and f′ of an array, and the entries where they may be asked.
Whole = tuple[Callable[..., Pair], Callable[[Array], Array]]
LARGEST = 64.0  # e^(−2·64) and all of its parts are far from underflow
SMALLEST = 2.0**-16  # below, 1 − e^(−2|z|) would lose what f(z) ≈ z needs
SQUARABLE = 2.0**400
BLOCK = 4096  # entries whose pairs lie in the cache together
STEPS = 512  # of e^x's finer table, a unit


def reciprocal(s: Enclosure) -> Enclosure:
    """1 / s for 1 ≤ s ≤ 2 known to 2⁻⁴⁵: one step of Newton's from the float64 quotient q."""
    q = 1 / s.hi
    near, rest = two_product(s.hi, q)
    moved = s.lo * q
    left = ((1 - near) - rest) - moved  # ρ = 1 − s q; 1 − near is exact (Sterbenz)
    lo = q * left
    # 1/s = q (1 + ρ + ρ²/(1 − ρ)); ρ errs by 2⁻⁵³ of its terms, q ρ by 2⁻⁵³ of itself; 1/s moves by r/s²
    slack = q * (2.0**-51 * (np.abs(left) + np.abs(moved)) + 4 * left * left) + 2.0**-52 * np.abs(lo)
    return Enclosure(q, lo, (slack + s.radius * q * q) * (1 + 2.0**-30))


@cache
def _tables() -> tuple[Enclosure, Enclosure, list[Enclosure]]:
    """e^−i for i ≤ 2 LARGEST, e^(−j/STEPS), and 1/24, 1/6, 1/2, 1, 1 = 1/k!."""
    with proven():
        whole = [arb(-i).exp() for i in range(int(2 * LARGEST) + 1)]
        fine = [(arb(-j) / STEPS).exp() for j in range(STEPS)]
        inverse = [from_balls([arb(1) / k], ()) for k in (24, 6, 2, 1, 1)]
        return from_balls(whole, (len(whole),)), from_balls(fine, (STEPS,)), inverse


def _taken(table: Enclosure, index: Array) -> Enclosure:
    return Enclosure(table.hi[index], table.lo[index], table.radius[index])


def exponential(x: Array) -> Enclosure:
    """e^x for exact −2 LARGEST ≤ x ≤ 0: e^−i e^(−j/512) e^r, x = −(i + j/512) + r exactly, |r| ≤ 2⁻¹⁰."""
    whole, fine, inverse = _tables()
    n = np.rint(-STEPS * x)
    r = x + n / STEPS
    # Σ rᵏ/(k + 5)!: cut after k = 3 it lacks 2⁻⁴⁰/9! at most, and four roundings add less than 2⁻⁵⁸
    tail = 1 / 120 + r * (1 / 720 + r * (1 / 5040 + r / 40320))
    e = Enclosure(tail, np.zeros_like(tail), np.full_like(tail, 2.0**-57))
    for factor in inverse:
        e = e * r + factor
    index = n.astype(np.int64)
    return times(times(_taken(fine, index % STEPS), e), _taken(whole, index // STEPS))


def _turned(e: Enclosure, sign: Array | float) -> Enclosure:
    return Enclosure(e.hi * sign, e.lo * sign, e.radius)


def sigmoid(z: Array) -> Pair:
    e = exponential(-np.abs(z))
    s = reciprocal(e + exact(np.ones_like(z)))
    rest = times(e, s)
    return chosen(z >= 0, s, rest), times(rest, s)


def tanh(z: Array) -> Pair:
    one, e = exact(np.ones_like(z)), exponential(-2 * np.abs(z))
    s = reciprocal(e + one)
    slope = times(times(e, s), s)
    return _turned(times(one + _turned(e, -1.0), s), np.sign(z)), Enclosure(
        4 * slope.hi, 4 * slope.lo, 4 * slope.radius
    )


def silu(z: Array) -> Pair:
    s, ds = sigmoid(z)
    return s * z, s + ds * z


def piecewise(z: Array, slope: Any) -> Pair:
    """z or slope · z; a slope that is a decimal, not a float, has a low part."""
    nearest = np.array([float(slope)])
    given = exact(nearest) if slope == nearest[0] else from_balls([slope], (1,))
    d = chosen(z > 0, exact(np.ones(1)), given)
    return d * z, d


def ordinary(z: Array) -> Array:
    return (np.abs(z) >= SMALLEST) & (np.abs(z) <= LARGEST)


def squarable(z: Array) -> Array:
    return np.abs(z) <= SQUARABLE


def _filled(pair: Pair, others: Pair, at: Array) -> Pair:
    for enclosure, other in zip(pair, others, strict=True):
        for part in ("hi", "lo", "radius"):
            getattr(enclosure, part)[at] = getattr(other, part)
    return pair


def evaluated(ball: Callable[..., Any], whole: Whole | None, z: Array, *slope: Any) -> Pair:
    """True f and f′ of every entry: by `whole` in its domain, else by `ball`; `slope`, if any, is a ball."""

    def single(v: Any) -> Any:
        return ball(v, *slope)

    if whole is None:
        return mapped_pair(single, z)
    function, domain = whole
    inside = domain(z).ravel()
    flat = np.where(inside, z.ravel(), 1.0)
    blocks = [function(flat[i : i + BLOCK], *slope) for i in range(0, max(len(flat), 1), BLOCK)]
    pair = tuple(_joined([block[side] for block in blocks]) for side in (0, 1))
    found = _filled((pair[0], pair[1]), mapped_pair(single, z.ravel()[~inside]), ~inside)
    return found[0].reshape(z.shape), found[1].reshape(z.shape)


def _joined(blocks: list[Enclosure]) -> Enclosure:
    parts = ("hi", "lo", "radius")
    return normalized(Enclosure(*(np.concatenate([getattr(b, part) for b in blocks]) for part in parts)))
