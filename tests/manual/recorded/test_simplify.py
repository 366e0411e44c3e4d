"""Simplified, a formula is the same value by other roundings, whatever constants and signs stand in it."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from manual.numbers import number, pi
from manual.recorded import Record, Recorded
from manual.recorded.simplify import simplified
from tests.manual.recorded.test_record import FUNCTIONS, evaluated

POINTS = np.array([-3.7, -0.4, 0.3, 1.9])


def made(shape: Any, record: Record) -> Recorded:
    """The formula of a drawn shape: leaves, or an operation of such."""
    op, *parts = shape
    z = record.input("z")
    if op == "z":
        return z
    if op == "number":
        return record.constant(number(parts[0], z))
    if op == "pi":
        return pi(z)
    return FUNCTIONS[op](*(made(part, record) for part in parts))


LEAVES = st.one_of(
    st.just(("z",)), st.just(("pi",)), st.tuples(st.just("number"), st.sampled_from(["-2", "0.1", "1", "3"]))
)
SHAPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "div", "min", "max"]), inner, inner),
        st.tuples(st.sampled_from(["neg", "neg", "abs", "tanh", "exp"]), inner),
    ),
    max_leaves=8,
)


@given(SHAPES)
def test_a_simplified_formula_is_the_same_value_but_for_rounding(shape: Any) -> None:
    plain, cheap = (made(shape, Record(simplify)) for simplify in (None, simplified))
    with np.errstate(all="ignore"):
        (expected,) = evaluated([plain], {"z": POINTS})
        (found,) = evaluated([cheap], {"z": POINTS})
    usual = np.isfinite(expected) & (np.abs(expected) < 1e6) & (np.abs(expected) > 1e-3)
    np.testing.assert_allclose(
        np.broadcast_to(found, POINTS.shape)[np.broadcast_to(usual, POINTS.shape)],
        np.broadcast_to(expected, POINTS.shape)[np.broadcast_to(usual, POINTS.shape)],
        rtol=1e-6, atol=1e-9,
    )  # fmt: skip


def test_a_negated_product_with_a_constant_that_cannot_be_folded_ends() -> None:
    z = Record(simplified).input("z")
    (found,) = evaluated([-(z * np.sqrt(pi(z)))], {"z": POINTS})
    np.testing.assert_allclose(found, -POINTS * np.sqrt(np.pi))
