"""The bit ledger's terms: the unit of an array, and the bits that a sum of its multiples needs."""

from collections.abc import Callable, Mapping

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage

SENTINELS = (0.0, 1024.0, -1024.0)
# Units and sums are held between these powers of two, so that no float32 is flushed or overflows.
LOWEST, HIGHEST = -126, 126

Values = Mapping[str, Array]
Entry = Callable[[Stage, Values], int]


class RefusedError(ValueError):
    """The ledger cannot prove that no operation rounds; the text says at which stage and why."""


class OutOfRangeError(Exception):
    """A unit or a sum that float32 would flush or overflow."""


def unit(values: Array) -> int:
    """The smallest q such that every entry is an integer multiple of 2^-q (very negative for zeros)."""
    v = np.asarray(values, dtype=np.float64)
    v = v[v != 0]
    if v.size == 0:
        return -1000
    mantissa, exponent = np.frexp(np.abs(v))
    integers = (mantissa * 2.0**53).astype(np.int64)
    lowest = exponent - 53 + np.log2(integers & -integers)  # of powers of two: whole numbers
    return int(-lowest.min())


def bits(largest: Array, q: int) -> int:
    """Bits of the largest partial sum, counted in units of 2^-q; both must be normal numbers."""
    top = float(np.max(largest, initial=0.0))
    if -q < LOWEST or not top <= 2.0**HIGHEST:
        raise OutOfRangeError
    return 0 if top == 0 else int(np.ceil(np.log2(top) + q - 1e-9)) + 1


def product(a: Array, b: Array) -> int:
    return bits(np.abs(a) @ np.abs(b), unit(a) + unit(b))


def entrywise(a: Array, b: Array) -> int:
    return bits(np.abs(a * b), unit(a) + unit(b))
