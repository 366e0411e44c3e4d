"""Proven values: float64 pairs hi + lo with a radius that the true value cannot leave.

Elementary functions come from python-flint's ball arithmetic (`arb`, 128 bits). Matrix products come
from BLAS itself: each factor is cut into slices of so few bits that no product of two slices rounds in
any order of summation, the same argument as the bit ledger of `dyadic.py` (Ozaki, Ogita, Oishi and
Rump 2012, "Error-free transformations of matrix multiplication"). Sums and products of single entries
are Dekker's and Knuth's error-free transformations.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, ctx

from manual.numbers import Array

PRECISION = 128
# Everything below this is absorbed by the allowance for underflow in `rounding.py`.
UNDERFLOW = float(np.finfo(np.float64).tiny)
LEAST = float(np.finfo(np.float64).smallest_subnormal)


@contextmanager
def proven() -> Iterator[None]:
    """Ball arithmetic at `PRECISION` bits; flint's own default of 53 proves nothing about float64."""
    previous, ctx.prec = ctx.prec, PRECISION
    try:
        yield
    finally:
        ctx.prec = previous


@dataclass(frozen=True)
class Enclosure:
    """|true − hi − lo| ≤ radius, entry by entry, in float64."""

    hi: Array
    lo: Array
    radius: Array

    def distance(self, value: Array) -> tuple[Array, Array]:
        """Lower and upper bound of |value − true|; `value` is converted to float64, which is exact."""
        v = value.astype(np.float64, copy=False)
        difference, rest = two_sum(v, -self.hi)
        small = rest - self.lo
        middle = np.abs(difference + small)
        # each of the two sums errs by 2⁻⁵³ of its result, and the first may be the larger: they cancel
        slack = (self.radius + 2.0**-50 * middle + 2.0**-52 * np.abs(small)) * (1 + 2.0**-50)
        return np.maximum(middle - slack, 0), (middle + slack) * (1 + 2.0**-50)

    def __mul__(self, factor: Array) -> "Enclosure":
        """The product with floats that are exact."""
        factor = factor.astype(np.float64, copy=False)
        hi, rest = two_product(self.hi, factor)
        moved = self.lo * factor
        lo = rest + moved
        # a product and a sum of the low parts, each rounded to 2⁻⁵³; lo may be as large as hi, where
        # hi was left over by a cancellation, so hi is no measure of it
        slack = 2.0**-52 * (np.abs(moved) + np.abs(lo)) + UNDERFLOW
        radius = self.radius * np.abs(factor) + slack
        return Enclosure(hi, lo, radius * (1 + 2.0**-50))

    def __add__(self, other: "Enclosure") -> "Enclosure":
        hi, rest = two_sum(self.hi, other.hi)
        low = self.lo + other.lo
        lo = rest + low
        slack = 2.0**-52 * (np.abs(low) + np.abs(lo))  # two sums of low parts, as in __mul__
        radius = self.radius + other.radius + slack
        return Enclosure(hi, lo, radius * (1 + 2.0**-50))

    def reshape(self, shape: tuple[int, ...]) -> "Enclosure":
        return Enclosure(*(part.reshape(shape) for part in (self.hi, self.lo, self.radius)))


def exact(value: Array) -> Enclosure:
    """The enclosure of floats that are the true value."""
    v = np.asarray(value, dtype=np.float64)
    return Enclosure(v, np.zeros_like(v), np.zeros_like(v))


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b = s + e exactly (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _split(a: Array) -> tuple[Array, Array]:
    t = 134217729.0 * a  # 2²⁷ + 1
    high = t - (t - a)
    return high, a - high


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a · b = p + e exactly (Dekker), short of over- and underflow."""
    p = a * b
    a1, a2 = _split(a)
    b1, b2 = _split(b)
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


def times(a: Enclosure, b: Enclosure) -> Enclosure:
    """a · b, both enclosed."""
    hi, rest = two_product(a.hi, b.hi)
    left, right = a.hi * b.lo, a.lo * b.hi
    lo = rest + (left + right)
    # three roundings of low parts, each 2⁻⁵³ of what it gives; lo · lo is left out
    slack = 2.0**-52 * (np.abs(left) + np.abs(right) + np.abs(lo)) + np.abs(a.lo * b.lo) + UNDERFLOW
    reach = a.radius * (np.abs(b.hi) + np.abs(b.lo) + b.radius) + b.radius * (np.abs(a.hi) + np.abs(a.lo))
    return Enclosure(hi, lo, (reach + slack) * (1 + 2.0**-50))


def divided(e: Enclosure, n: int) -> Enclosure:
    """e / n, enclosed."""
    reciprocal = arb(1) / n
    hi = float(reciprocal)
    return _times_pair(e, hi, float(reciprocal - hi))


def _times_pair(e: Enclosure, hi: float, lo: float) -> Enclosure:
    first = e * np.asarray(hi)
    # |lo| ≤ 2⁻⁵³ |hi|: left out are lo · lo, the rounding of hi · lo and of lo itself
    slack = 2.0**-104 * np.abs(e.hi * hi) + 2.0**-52 * np.abs(e.lo * hi) + UNDERFLOW
    lo_part = Enclosure(e.hi * lo, np.zeros_like(e.hi), slack)
    return first + lo_part


def normalized(e: Enclosure) -> Enclosure:
    """The same value, hi the nearest float64 to it."""
    return Enclosure(*two_sum(e.hi, e.lo), e.radius)


def chosen(mask: Array, a: Enclosure, b: Enclosure) -> Enclosure:
    """a where `mask` holds, else b."""
    pairs = ((a.hi, b.hi), (a.lo, b.lo), (a.radius, b.radius))
    return Enclosure(*(np.where(mask, first, second) for first, second in pairs))


def widened(e: Enclosure, like: Enclosure) -> Enclosure:
    """Broadcast to the shape of `like`."""
    return Enclosure(*(np.broadcast_to(part, like.hi.shape) for part in (e.hi, e.lo, e.radius)))


def _slices(a: Array, axis: int, bits: int, count: int) -> tuple[list[Array], Array]:
    """A as a sum of `count` slices, each a multiple of one unit a row and at most 2^bits units.

    Returns the slices and the largest remainder a row. `axis` is the axis summed over.
    """
    size = np.abs(a).max(axis=axis, keepdims=True)
    exponent = np.frexp(np.where(size > 0, size, 1))[1]
    slices: list[Array] = []
    for _ in range(count):
        shift = np.ldexp(1.5, exponent + 52 - bits)
        part = (a + shift) - shift  # rounds a to a multiple of 2^(exponent − bits)
        slices.append(part)
        a = a - part
        exponent = exponent - bits
    return slices, np.abs(a).max(axis=axis, keepdims=True)


def product(a: Array, b: Array) -> Enclosure:
    """A @ b proven, for finite float64 a (M, K) and b (K, P), to some 2⁻⁶⁴ of |a| @ |b|."""
    found, size = _of_slices(a, b), np.abs(a) @ np.abs(b)
    none = size == 0  # of no products but such as are less than half of the least number
    parts = [np.where(none, 0.0, part) for part in (found.hi, found.lo, found.radius)]
    parts[2][none] = a.shape[1] * LEAST
    rows, columns = np.nonzero(parts[2] > 2.0**-64 * size + a.shape[1] * UNDERFLOW)
    if len(rows):  # the largest of a row and of a column meet nothing there
        single = total(exact(a[rows].T) * b[:, columns], 0)
        for part, better in zip(parts, (single.hi, single.lo, single.radius), strict=True):
            part[rows, columns] = better
    return Enclosure(*parts)


def _of_slices(a: Array, b: Array) -> Enclosure:
    """A @ b from BLAS: the radius is a part of the largest of a row times the largest of a column.

    With K entries a sum and slices of β bits, 2β + ⌈log₂ K⌉ ≤ 53 keeps every slice product exact in
    any order; the slices left out are bounded entry by entry by the radius.
    """
    inner = a.shape[1]
    if inner == 0 or a.size == 0 or b.size == 0:
        return exact(np.zeros((a.shape[0], b.shape[1])))
    beta = (53 - int(np.ceil(np.log2(inner + 1)))) // 2 - 1
    count = -(-80 // beta)
    left, left_rest = _slices(a, 1, beta, count)
    right, right_rest = _slices(b, 0, beta, count)
    # all slices p, q of one p + q share a unit and are at most 2^β of it, 2^(β − 1) for p > 0: their sum
    # over p, too, is exact in the two bits that β leaves free, as long as there are at most 13
    rows, columns = np.concatenate(left, axis=1), np.concatenate(right[::-1], axis=0)
    hi, lo = rows[:, :inner] @ columns[-inner:], np.zeros((a.shape[0], b.shape[1]))
    for width in range(2 * inner, (count + 1) * inner, inner):  # the largest products first
        hi, rest = two_sum(hi, rows[:, :width] @ columns[-width:])
        lo += rest
    row, column = np.abs(a).max(axis=1, keepdims=True), np.abs(b).max(axis=0, keepdims=True)
    scale = row * column  # formed first: 2^−100 of a tiny row alone would vanish
    # a slice p is at most 2^(1 − pβ) of its row's largest entry; slices p + q ≥ count were left out
    left_out = scale * (count * 4 * 2.0 ** (-count * beta) * 2)
    remainder = left_rest * column + row * right_rest
    radius = inner * (left_out + remainder) + scale * (count**4 * 2.0**-102 * inner)
    return Enclosure(hi, lo, radius * (1 + 2.0**-50) + UNDERFLOW)


def _even(part: Array) -> Array:
    """With a row of zeros more where the number of rows is odd."""
    return part if len(part) % 2 == 0 else np.concatenate([part, np.zeros_like(part[:1])])


def total(terms: Enclosure, axis: int | None = None) -> Enclosure:
    """The sum along an axis, or of all entries, by repeated halving."""
    if axis is None:
        return total(terms.reshape((-1, 1)), 0).reshape(())
    hi, lo, radius = (np.moveaxis(part, axis, 0) for part in (terms.hi, terms.lo, terms.radius))
    running = Enclosure(hi, lo, radius)
    while (n := len(running.hi)) > 1:
        parts = [_even(part) for part in (running.hi, running.lo, running.radius)]
        running = Enclosure(*(p[: (n + 1) // 2] for p in parts)) + Enclosure(
            *(p[(n + 1) // 2 :] for p in parts)
        )
    return Enclosure(running.hi[0], running.lo[0], running.radius[0])


def balls(values: Array) -> list[Any]:
    """Exact balls of all entries, in C order."""
    return [arb(v) for v in np.asarray(values, dtype=np.float64).ravel().tolist()]


def cells(shape: tuple[int, ...], *arrays: Array) -> list[list[Any]]:
    """Each array as exact balls, one for every cell of `shape`."""
    return [balls(np.broadcast_to(a, shape)) for a in arrays]


def from_balls(values: list[Any], shape: tuple[int, ...]) -> Enclosure:
    """Balls as float64 pairs."""
    hi = [float(v) for v in values]
    lo = [float(v - h) for v, h in zip(values, hi, strict=True)]
    radius = np.array([float(v.rad()) for v in values])
    first, second = np.array(hi).reshape(shape), np.array(lo).reshape(shape)
    radius = radius.reshape(shape)
    slack = radius * (1 + 2.0**-50) + 2.0**-104 * np.abs(first) + UNDERFLOW
    one = (second == 0) & (radius == 0)  # the float itself, but for less than the least number
    return Enclosure(first, second, np.where(one, LEAST, slack))


def mapped(function: Callable[[Any], Any], values: Array) -> Enclosure:
    """`function` of every entry, in ball arithmetic."""
    with proven():
        return from_balls([function(v) for v in balls(values)], values.shape)


def mapped_pair(function: Callable[[Any], tuple[Any, Any]], values: Array) -> tuple[Enclosure, Enclosure]:
    """Two functions of every entry, computed together, in ball arithmetic."""
    with proven():
        pairs = [function(v) for v in balls(values)]
        return (
            from_balls([p[0] for p in pairs], values.shape),
            from_balls([p[1] for p in pairs], values.shape),
        )
