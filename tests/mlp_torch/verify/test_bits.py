"""The bits that a sum needs, counted anew in whole numbers: none too few, and none more than it takes."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual.numbers import Array
from mlp_torch.verify import bits
from mlp_torch.verify.bits import OutOfRangeError, unit
from tests.mlp_torch.verify.counted import COUNTED, SHAPES, SIZES, Lone, exact


def finest(values: Array) -> int:
    """The smallest q such that all entries are multiples of 2^-q."""

    def places(v: Fraction) -> int:
        trailing = (v.numerator & -v.numerator).bit_length() - 1
        return v.denominator.bit_length() - 1 - trailing

    return max(places(v) for v in exact(values).flat if v)


def needed(top: Fraction, q: int) -> int:
    """⌈log₂ m⌉ + 1 of m = top · 2^q."""
    m = top * Fraction(2) ** q
    assert m.denominator == 1
    return (m.numerator - 1).bit_length() + 1


def drawn(rng: np.random.Generator, shape: list[int]) -> Array:
    """Whole numbers of few bits over a power of two; now and then none but powers of two."""
    values = rng.integers(1, 17, shape) if rng.integers(2) else 2 ** rng.integers(0, 5, shape)
    return np.where(rng.integers(2, size=shape), values, -values) * 2.0 ** rng.integers(-9, 10)


def together(*units: int) -> int:
    return sum(units)


# the unit of a kind's terms, from those of its inputs, where it is not their sum
UNITS: dict[str, Callable[..., int]] = {"linear": lambda a, W, b: max(a + W, b)}


@pytest.mark.parametrize("kind", COUNTED)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stage_needs_the_bits_of_its_largest_sum_in_units_of_its_terms(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        arrays = [drawn(rng, [SIZES[s] for s in shape]) for shape in SHAPES[kind].split()]
        top = COUNTED[kind][1](*(exact(np.abs(a)) for a in arrays)).max()
        q = UNITS.get(kind, together)(*map(finest, arrays))
        assert Lone(kind, *arrays).bits() == needed(top, q)


@given(st.integers(0, 2**32 - 1))
def test_products_by_matrix_and_by_entry_need_the_bits_of_both_factors_units(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = drawn(rng, [3, 4]), drawn(rng, [4, 2]), drawn(rng, [3, 4])
    assert bits.product(a, b) == needed((abs(exact(a)) @ abs(exact(b))).max(), finest(a) + finest(b))
    assert bits.entrywise(a, c) == needed(abs(exact(a) * exact(c)).max(), finest(a) + finest(c))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int8])
def test_the_unit_of_an_array_is_that_of_its_finest_entry_whatever_its_type(dtype: Any) -> None:
    assert unit(np.array([-128, 0, 64], dtype)) == -6
    assert unit(np.array([3, 4, 6], dtype)) == 0
    if dtype != np.int8:
        assert unit(np.array([0.5, 3 * 2.0**-10, 1024], dtype)) == 10


def test_zeros_have_no_unit_and_need_no_bits() -> None:
    for zeros in (np.zeros(3), np.zeros((0, 3))):
        assert unit(zeros) == -1000
        assert bits.bits(zeros, 3) == bits.bits(zeros, -1000) == 0


def test_a_power_of_two_needs_one_bit_more_than_its_exponent_and_a_fraction_above_it_two() -> None:
    assert [bits.bits(np.array([2.0**k, 0]), 3) for k in (-3, -2, 0, 5)] == [1, 2, 4, 9]
    assert [bits.bits(np.array([0, 2.0**k + 2.0**-3]), 3) for k in (-3, -2, 0, 5)] == [2, 3, 5, 10]


def test_units_and_sums_stay_between_the_powers_of_two_that_float32_holds() -> None:
    assert bits.bits(np.array([1.0]), 126) == 127
    assert bits.bits(np.array([2.0**126]), 0) == 127
    for largest, q in ((1.0, 127), (np.nextafter(2.0**126, np.inf), 0), (np.inf, 0), (np.nan, 0)):
        with pytest.raises(OutOfRangeError):
            bits.bits(np.array([largest]), q)
