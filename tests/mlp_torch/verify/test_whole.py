"""Whole arrays enclose what `truth.py` says ball by ball, narrowly; what they do not cover is asked there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from manual import LOSSES
from manual.numbers import Array
from mlp_torch.verify.derived.rows import truth_with
from mlp_torch.verify.enclosure import Enclosure, exact, from_balls, mapped, proven, times
from mlp_torch.verify.kinds.activation import whole
from mlp_torch.verify.kinds.activation.rows import ROWS
from mlp_torch.verify.kinds.activation.stages import true_values
from mlp_torch.verify.kinds.activation.whole import LARGEST, SMALLEST, exponential, reciprocal
from mlp_torch.verify.kinds.loss.entries import ROWS as LOSS_ROWS
from mlp_torch.verify.kinds.loss.entries import true_terms
from mlp_torch.verify.truth import FUNCTIONS, TERMS

WHOLE = [name for name, row in ROWS.items() if row.whole is not None]
SLOPES = {"prelu": [0.25], "leaky_relu": ["0.01"]}
EDGES = [0.0, -0.0, 5e-324, 1e-300, SMALLEST, LARGEST, np.nextafter(LARGEST, 99), 700.0, 1e150]
ORDINARY = st.one_of(st.floats(-3, 3), st.floats(-LARGEST, LARGEST), st.sampled_from(EDGES))
ENTRIES = st.lists(ORDINARY.flatmap(lambda v: st.sampled_from([v, -v])), min_size=1, max_size=40)


@contextmanager
def sharply() -> Iterator[None]:
    """Balls so narrow that they are the truth: sums of any two floats have fewer bits."""
    previous, ctx.prec = ctx.prec, 2400
    try:
        yield
    finally:
        ctx.prec = previous


def outside(e: Enclosure, balls: list[Any], relative: float) -> list[str]:
    """The entries where the ball may leave the enclosure, or where the radius is wider than promised."""
    found = []
    for i, ball in enumerate(balls):
        hi, lo, radius = (float(part.ravel()[i]) for part in (e.hi, e.lo, e.radius))
        if not abs(arb(ball) - arb(hi) - arb(lo)) <= arb(radius):
            found.append(f"{i}: {ball} is not in {hi!r} + {lo!r} ± {radius!r}")
        if radius > relative * abs(hi) + 2.0**-1018:
            found.append(f"{i}: {radius!r} is wide for {hi!r}")
    return found


def balls_of(row: str, z: Array) -> list[tuple[Any, Any]]:
    with sharply():
        slope = [arb(s) for s in SLOPES.get(row, [])]
        return [FUNCTIONS[row](arb(float(v)), *slope) for v in z]


def activation_misses(row: str, z: Array) -> list[str]:
    with proven():
        pair = true_values(row, z, *(arb(s) for s in SLOPES.get(row, [])))
    balls = balls_of(row, z)
    # silu's derivative has a zero, where nothing is narrow relative to it
    wide = [2.0**-80, np.inf if row == "silu" else 2.0**-96]
    with sharply():
        return [m for side in (0, 1) for m in outside(pair[side], [b[side] for b in balls], wide[side])]


@pytest.mark.parametrize("row", WHOLE)
@given(ENTRIES)
def test_a_row_encloses_the_truth_narrowly(row: str, z: list[float]) -> None:
    assert activation_misses(row, np.array(z)) == []


@pytest.mark.parametrize("row", FUNCTIONS)
def test_more_entries_than_a_block_in_two_dimensions_keep_their_places(row: str) -> None:
    z = np.random.default_rng(0).normal(0, 2, (whole.BLOCK // 1000, 1009))
    z[0, 0], z[-1, -1] = 1e-30, 90.0
    with proven():
        slope = [arb(s) for s in SLOPES.get(row, [])]
        found = true_values(row, z, *slope)
    for side, e in enumerate(found):
        one_by_one = mapped(lambda v, side=side: FUNCTIONS[row](v, *slope)[side], z)
        assert e.hi.shape == z.shape
        assert (np.abs(e.hi - one_by_one.hi) <= 2.0**-52 * np.abs(one_by_one.hi)).all()


@pytest.mark.parametrize("row", TERMS)
@given(st.lists(st.tuples(ORDINARY, ORDINARY), min_size=1, max_size=30))
def test_a_loss_term_and_its_derivative_are_enclosed(row: str, pairs: list[tuple[float, float]]) -> None:
    o, y = np.array(pairs).T.copy()
    with proven():
        found = true_terms(row, o, y, LOSSES[row].options)
    with sharply():
        term = truth_with(TERMS[row], LOSSES[row].options)
        balls = [term(arb(float(a)), arb(float(b))) for a, b in zip(o, y, strict=True)]
        wide = 2.0**-96 if row in LOSS_ROWS and LOSS_ROWS[row].squares else np.inf
        assert [m for side in (0, 1) for m in outside(found[side], [b[side] for b in balls], wide)] == []


@given(st.lists(st.floats(-2 * LARGEST, 0), min_size=1, max_size=60))
def test_the_exponential_is_enclosed(x: list[float]) -> None:
    with sharply():
        assert outside(exponential(np.array(x)), [arb(v).exp() for v in x], 2.0**-98) == []


@given(st.lists(st.tuples(st.floats(1, 2), st.floats(-0.3, 0.3)), min_size=1, max_size=40))
def test_products_and_reciprocals_of_pairs_are_enclosed(pairs: list[tuple[float, float]]) -> None:
    with sharply():
        a = [arb(p) + arb(q) * arb("1e-17") for p, q in pairs]
        e = from_balls(a, (len(a),))
        assert outside(reciprocal(e), [1 / v for v in a], 2.0**-98) == []
        assert outside(times(e, e), [v * v for v in a], 2.0**-98) == []


# ---- each check fails on a planted fault -----------------------------------------------------------

Z = np.random.default_rng(1).normal(0, 2, 50)


def off(right: Callable[..., Any], epsilon: float) -> Callable[..., Any]:
    """The same enclosures moved by a relative ε."""

    def moved(e: Enclosure) -> Enclosure:
        return Enclosure(e.hi, e.lo + epsilon * e.hi, e.radius)

    def wrong(*arguments: Any) -> Any:
        found = right(*arguments)
        return tuple(map(moved, found)) if isinstance(found, tuple) else moved(found)

    return wrong


@pytest.mark.parametrize("row", WHOLE)
def test_a_row_that_is_off_by_2_to_the_minus_90_is_seen(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, domain = ROWS[row].whole
    monkeypatch.setitem(ROWS, row, replace(ROWS[row], whole=(off(function, 2.0**-90), domain)))
    assert activation_misses(row, Z) != []


def test_an_exponential_that_is_off_by_2_to_the_minus_90_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "exponential", off(exponential, 2.0**-90))
    assert activation_misses("tanh", Z) != []
    assert activation_misses("sigmoid", Z) != []


def test_a_row_without_its_domain_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = (whole.tanh, lambda z: np.ones(z.shape, dtype=bool))
    monkeypatch.setitem(ROWS, "tanh", replace(ROWS["tanh"], whole=everywhere))
    with np.errstate(all="ignore"):
        assert activation_misses("tanh", np.array([1e-9, 50.0])) != []


def test_a_product_without_its_slack_is_seen() -> None:
    third = from_balls([arb(1) / 3], (1,))
    narrow = Enclosure(third.hi, third.lo, np.zeros(1))
    with sharply():
        assert outside(times(narrow, exact(np.array([3.0]))), [arb(1)], np.inf) != []
