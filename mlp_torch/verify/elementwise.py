"""The functions of `truth.py` for whole arrays at once, enclosed in float64 pairs instead of ball by ball.

Every operation carries its radius: what its rounding and what its operands' radii may move. e^x comes
from two tables in ball arithmetic and a Taylor polynomial (Tang 1989, "Table-driven implementation of the
exponential function"). `truth.py` stays the definition, and speaks wherever an entry is too large, too
small or has no row here; the tests hold every row of `WHOLE` and of `WHOLE_TERMS` against it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from flint import arb

from manual.numbers import Array
from mlp_torch.verify.enclosure import (
    UNDERFLOW,
    Enclosure,
    balls,
    exact,
    from_balls,
    mapped_pair,
    proven,
    two_product,
    two_sum,
)
from mlp_torch.verify.truth import FUNCTIONS, TERMS

Pair = tuple[Enclosure, Enclosure]
LARGEST = 64.0  # e^(−2·64) and all of its parts are far from underflow
SMALLEST = 2.0**-16  # below, 1 − e^(−2|z|) would lose what f(z) ≈ z needs
SQUARABLE = 2.0**400
BLOCK = 4096  # entries whose pairs lie in the cache together
STEPS = 512  # of e^x's finer table, a unit


def times(a: Enclosure, b: Enclosure) -> Enclosure:
    """a · b, both enclosed."""
    hi, rest = two_product(a.hi, b.hi)
    left, right = a.hi * b.lo, a.lo * b.hi
    lo = rest + (left + right)
    # three roundings of low parts, each 2⁻⁵³ of what it gives; lo · lo is left out
    slack = 2.0**-52 * (np.abs(left) + np.abs(right) + np.abs(lo)) + np.abs(a.lo * b.lo) + UNDERFLOW
    reach = a.radius * (np.abs(b.hi) + np.abs(b.lo) + b.radius) + b.radius * (np.abs(a.hi) + np.abs(a.lo))
    return Enclosure(hi, lo, (reach + slack) * (1 + 2.0**-50))


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


def _where(condition: Array, a: Enclosure, b: Enclosure) -> Enclosure:
    pairs = ((a.hi, b.hi), (a.lo, b.lo), (a.radius, b.radius))
    return Enclosure(*(np.where(condition, p, q) for p, q in pairs))


def _sigmoid(z: Array) -> Pair:
    e = exponential(-np.abs(z))
    s = reciprocal(e + exact(np.ones_like(z)))
    rest = times(e, s)
    return _where(z >= 0, s, rest), times(rest, s)


def _tanh(z: Array) -> Pair:
    one, e = exact(np.ones_like(z)), exponential(-2 * np.abs(z))
    s = reciprocal(e + one)
    slope = times(times(e, s), s)
    return _turned(times(one + _turned(e, -1.0), s), np.sign(z)), Enclosure(
        4 * slope.hi, 4 * slope.lo, 4 * slope.radius
    )


def _silu(z: Array) -> Pair:
    s, ds = _sigmoid(z)
    return s * z, s + ds * z


def _piecewise(z: Array, slope: Any) -> Pair:
    """z or slope · z; a slope that is a decimal, not a float, has a low part."""
    nearest = np.array([float(slope)])
    given = exact(nearest) if slope == nearest[0] else from_balls([slope], (1,))
    d = _where(z > 0, exact(np.ones(1)), given)
    return d * z, d


def _ordinary(z: Array) -> Array:
    return (np.abs(z) >= SMALLEST) & (np.abs(z) <= LARGEST)


def _squarable(z: Array) -> Array:
    return np.abs(z) <= SQUARABLE


# One row an activation: f and f′ of an array, and the entries where they may be asked.
WHOLE: dict[str, tuple[Callable[..., Pair], Callable[[Array], Array]]] = {
    "identity": (lambda z: _piecewise(z, 1), _squarable),
    "sigmoid": (_sigmoid, _ordinary),
    "tanh": (_tanh, _ordinary),
    "silu": (_silu, _ordinary),
    "relu": (lambda z: _piecewise(z, 0), _squarable),
    "leaky_relu": (_piecewise, _squarable),
    "prelu": (_piecewise, _squarable),
}


def _normalized(e: Enclosure) -> Enclosure:
    """The same value, hi the nearest float64 to it."""
    return Enclosure(*two_sum(e.hi, e.lo), e.radius)


def _filled(pair: Pair, others: Pair, at: Array) -> Pair:
    for enclosure, other in zip(pair, others, strict=True):
        for part in ("hi", "lo", "radius"):
            getattr(enclosure, part)[at] = getattr(other, part)
    return pair


def activation(row: str, z: Array, *slope: Any) -> Pair:
    """True f and f′ of every entry; `slope`, where the row has one, is a ball."""

    def ball(v: Any) -> Any:
        return FUNCTIONS[row](v, *slope)

    if row not in WHOLE:
        return mapped_pair(ball, z)
    function, domain = WHOLE[row]
    inside = domain(z).ravel()
    flat = np.where(inside, z.ravel(), 1.0)
    blocks = [function(flat[i : i + BLOCK], *slope) for i in range(0, max(len(flat), 1), BLOCK)]
    pair = tuple(_joined([block[side] for block in blocks]) for side in (0, 1))
    found = _filled((pair[0], pair[1]), mapped_pair(ball, z.ravel()[~inside]), ~inside)
    return found[0].reshape(z.shape), found[1].reshape(z.shape)


def _joined(blocks: list[Enclosure]) -> Enclosure:
    parts = ("hi", "lo", "radius")
    return _normalized(Enclosure(*(np.concatenate([getattr(b, part) for b in blocks]) for part in parts)))


def _squared_error(output: Array, y: Array) -> Pair:
    difference = Enclosure(*two_sum(output, -y), np.full(output.shape, UNDERFLOW))
    return times(difference, difference), difference


# One row an elementwise loss: Σ's term over (ŷ − y)² and its derivative over ŷ − y.
WHOLE_TERMS: dict[str, tuple[float, float]] = {"mse": (1.0, 2.0), "half_squared_error": (0.5, 1.0)}


def term(row: str, output: Array, y: Array) -> Pair:
    """A loss's true term and its derivative, for every output and target."""
    if row in WHOLE_TERMS and (_squarable(output) & _squarable(y)).all():
        values, derivatives = (
            Enclosure(e.hi * c, e.lo * c, e.radius * c)
            for e, c in zip(_squared_error(output, y), WHOLE_TERMS[row], strict=True)
        )
        return _normalized(values), _normalized(derivatives)
    pairs = [TERMS[row](a, b) for a, b in zip(balls(output), balls(y), strict=True)]
    first, second = (from_balls([p[side] for p in pairs], output.shape) for side in (0, 1))
    return first, second
