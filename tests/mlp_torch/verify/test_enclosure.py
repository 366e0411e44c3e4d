"""Enclosures hold the exact value: products, sums and ball evaluations against `Fraction` and 400 bits."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from manual.numbers import Array
from mlp_torch.verify.enclosure import (
    PRECISION,
    Enclosure,
    exact,
    from_balls,
    mapped,
    mapped_pair,
    product,
    proven,
    total,
    two_product,
    two_sum,
)
from mlp_torch.verify.rounding import Rounding
from tests.duals import entrywise

ORDINARY = st.floats(-1e3, 1e3, allow_subnormal=True)
# any exponent whose products neither overflow nor leave float64 altogether
WIDE = st.builds(np.ldexp, st.floats(-1, 1), st.integers(-480, 480)).map(float)
TINY = st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 1e-310, -1e-200])
ENTRIES = [ORDINARY, WIDE, TINY, st.one_of(ORDINARY, WIDE, TINY)]


@st.composite
def matrices(draw: st.DrawFn, rows: int, columns: int) -> Array:
    entries = draw(st.sampled_from(ENTRIES))
    flat = draw(st.lists(entries, min_size=rows * columns, max_size=rows * columns))
    return np.array(flat, dtype=np.float64).reshape(rows, columns)


@st.composite
def factors(draw: st.DrawFn) -> tuple[Array, Array]:
    m, k, p = (draw(st.integers(1, 7)) for _ in range(3))
    return draw(matrices(m, k)), draw(matrices(k, p))


def fractions(values: Any) -> Array:
    return entrywise(lambda v: Fraction(float(v)), values)


def misses(e: Enclosure, truth: Array) -> str:
    """The first entry whose true value is outside, or nothing."""
    for index in np.ndindex(truth.shape):
        hi, lo, radius = (Fraction(float(part[index])) for part in (e.hi, e.lo, e.radius))
        gap = abs(truth[index] - hi - lo)
        if gap > radius:
            return f"{index}: {float(gap)} > {float(radius)}"
    return ""


@given(factors())
def test_a_product_holds_the_exact_one(pair: tuple[Array, Array]) -> None:
    a, b = pair
    assert misses(product(a, b), np.asarray(fractions(a) @ fractions(b))) == ""


@given(factors())
def test_the_radius_of_a_product_is_a_small_part_of_what_each_entry_is_made_of(
    pair: tuple[Array, Array],
) -> None:
    """Not of the largest entries of its row and column, which may meet nothing there."""
    a, b = pair
    least = 4 * a.shape[1] * np.finfo(float).tiny
    assert (product(a, b).radius <= 2.0**-60 * (np.abs(a) @ np.abs(b)) + least).all()


@pytest.mark.parametrize("inner", [1, 2, 3, 31, 64, 257, 1000])
def test_a_product_of_many_terms_holds_the_exact_one(inner: int) -> None:
    rng = np.random.default_rng(inner)
    a, b = rng.normal(size=(2, inner)), rng.normal(size=(inner, 3)) * 10.0 ** rng.integers(-9, 9, (inner, 3))
    assert misses(product(a, b), np.asarray(fractions(a) @ fractions(b))) == ""


def test_a_product_that_cancels_holds_the_exact_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 20)), rng.normal(size=(20, 4))
    a, b = np.hstack([a, a * (1 + 2.0**-50)]), np.vstack([b, -b])
    assert misses(product(a, b), np.asarray(fractions(a) @ fractions(b))) == ""


@pytest.mark.parametrize("inner", [1, 7, 64, 784])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_radius_of_a_product_is_below_a_sixteenth_of_the_rounding_that_it_judges(
    inner: int, dtype: Any
) -> None:
    rng = np.random.default_rng(inner)
    a, b = (rng.normal(size=s).astype(dtype).astype(float) for s in ((9, inner), (inner, 8)))
    gamma = Rounding.of(np.float64).gamma(inner)
    assert (product(a, b).radius < gamma * (np.abs(a) @ np.abs(b)) / 16).all()


def test_a_product_without_terms_is_zero() -> None:
    e = product(np.zeros((2, 0)), np.zeros((0, 3)))
    assert e.hi.shape == (2, 3)
    assert not e.hi.any()
    assert not e.radius.any()


@given(st.data(), st.integers(1, 40), st.integers(1, 3))
def test_a_total_holds_the_exact_sum(data: st.DataObject, n: int, columns: int) -> None:
    v = data.draw(matrices(n, columns))
    assert misses(total(exact(v), 0), np.asarray(fractions(v).sum(axis=0))) == ""
    assert misses(total(exact(v), 1), np.asarray(fractions(v).sum(axis=1))) == ""
    whole = np.asarray(sum(fractions(v).ravel(), Fraction(0)), dtype=object)
    assert misses(total(exact(v)), whole) == ""


@pytest.mark.parametrize("n", [2, 3, 63, 1000])
def test_a_total_that_cancels_to_its_low_part_holds_the_exact_sum(n: int) -> None:
    rng = np.random.default_rng(n)
    v = rng.normal(size=n)
    v = rng.permutation(np.concatenate([v, -v * (1 + 2.0**-52), rng.normal(size=n) * 1e-25]))
    assert misses(total(exact(v), 0), np.asarray(sum(fractions(v)), dtype=object)) == ""


@given(ORDINARY | WIDE | TINY, ORDINARY | WIDE | TINY)
def test_two_sum_is_the_sum_exactly(a: float, b: float) -> None:
    s, e = two_sum(np.float64(a), np.float64(b))
    assert Fraction(float(s)) + Fraction(float(e)) == Fraction(a) + Fraction(b)


@given(*[st.builds(np.ldexp, st.floats(-1, 1), st.integers(-400, 400)).map(float)] * 2)
def test_two_product_is_the_product_exactly_where_nothing_underflows(a: float, b: float) -> None:
    a, b = (0.0 if abs(v) < 1e-130 else v for v in (a, b))
    p, e = two_product(np.float64(a), np.float64(b))
    assert Fraction(float(p)) + Fraction(float(e)) == Fraction(a) * Fraction(b)


@st.composite
def enclosures(draw: st.DrawFn) -> tuple[Enclosure, Fraction]:
    """An enclosure and a value inside, at the edge or not; lo may be as large as hi, as after cancelling."""
    hi = draw(ORDINARY)
    lo, radius = hi * draw(st.floats(-1, 1)) * 2.0 ** -draw(st.integers(0, 60)), abs(draw(ORDINARY)) * 1e-20
    share = draw(st.sampled_from([-1, 1, 0, Fraction(1, 3)]))
    parts = (np.array([v]) for v in (hi, lo, radius))
    return Enclosure(*parts), Fraction(hi) + Fraction(lo) + share * Fraction(radius)


@given(enclosures(), enclosures())
def test_a_sum_of_enclosures_holds_every_sum_of_values_inside(
    a: tuple[Enclosure, Fraction], b: tuple[Enclosure, Fraction]
) -> None:
    assert misses(a[0] + b[0], np.array([a[1] + b[1]])) == ""


@given(enclosures(), ORDINARY | TINY)
def test_a_multiple_of_an_enclosure_holds_every_multiple_of_values_inside(
    a: tuple[Enclosure, Fraction], factor: float
) -> None:
    assert misses(a[0] * np.array([factor]), np.array([a[1] * Fraction(factor)])) == ""


@given(enclosures(), st.floats(-4, 4), st.integers(-60, 0), st.booleans())
def test_the_distance_lies_between_its_bounds(
    a: tuple[Enclosure, Fraction], off: float, shift: int, float32: bool
) -> None:
    e, truth = a
    with np.errstate(under="ignore"):
        value = (e.hi * (1 + off * 2.0**shift)).astype(np.float32 if float32 else np.float64)
    lower, upper = e.distance(value)
    assert Fraction(float(lower[0])) <= abs(Fraction(float(value[0])) - truth) <= Fraction(float(upper[0]))


FUNCTIONS = {
    "exp": lambda v: v.exp(),
    "tanh": lambda v: v.tanh(),
    "erf": lambda v: v.erf(),
    "third": lambda v: v / 3,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_ball_evaluation_holds_the_value_at_400_bits(name: str) -> None:
    v = np.concatenate([np.random.default_rng(0).normal(0, 30, 40), [0.0, 1e-300, -745.0, 5e-324]])
    e = mapped(FUNCTIONS[name], v)
    pair = mapped_pair(lambda z: (FUNCTIONS[name](z), z), v)[0]
    before, ctx.prec = ctx.prec, 400
    try:
        for i, value in enumerate(v):
            gap = abs(FUNCTIONS[name](arb(float(value))) - arb(float(e.hi[i])) - arb(float(e.lo[i])))
            assert gap <= arb(float(e.radius[i]))
    finally:
        ctx.prec = before
    np.testing.assert_array_equal(pair.hi, e.hi)
    assert (e.radius <= 2.0**-100 * np.abs(e.hi) + 1e-300).all()


def test_balls_have_their_precision_whatever_it_was_before_and_after() -> None:
    before = ctx.prec
    with proven():
        assert ctx.prec == PRECISION
    assert ctx.prec == before
    with pytest.raises(ZeroDivisionError), proven():
        raise ZeroDivisionError
    assert ctx.prec == before


def test_a_shape_is_kept_by_every_part() -> None:
    e = exact(np.arange(6.0)).reshape((2, 3))
    assert e.hi.shape == e.lo.shape == e.radius.shape == (2, 3)


# ---- each check fails on a planted fault -----------------------------------------------------------


def test_a_product_in_plain_float64_is_found_outside() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 50)), rng.normal(size=(50, 4))
    truth = np.asarray(fractions(a) @ fractions(b))
    assert misses(exact(a @ b), truth) != ""
    right = product(a, b)
    assert misses(replace(right, lo=np.zeros_like(right.lo)), truth) != ""


def test_a_ball_of_53_bits_is_found_outside_without_its_radius() -> None:
    before, ctx.prec = ctx.prec, 53
    try:
        third = from_balls([arb(1) / 3], (1,))
    finally:
        ctx.prec = before
    assert misses(replace(third, radius=np.full(1, 2.0**-104)), np.array([Fraction(1, 3)])) != ""
