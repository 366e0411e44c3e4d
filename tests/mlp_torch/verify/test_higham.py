"""The bounds of products and sums are Higham's, counted anew in fractions: neither narrower nor wider.

A sum of n terms strays by γₙ of their absolute values, γₙ = n u / (1 − n u), and by n of the smallest
normal number where products underflow; the global bound carries the inputs' errors on besides.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual.numbers import Array
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.rounding import Rounding
from tests.mlp_torch.verify.edges import local
from tests.problems import DTYPES, Problem

# What a bound's own evaluation in float64 may add: (n + 128) 2⁻⁵² here and there.
SLACK = Fraction(1, 2**40)


def exact(array: Any) -> Array:
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(array)


# kind: the number of terms, the terms' size, and what the errors e of the inputs change
Counted = tuple[Callable[..., int], Callable[..., Any], Callable[..., Any]]
COUNTED: dict[str, Counted] = {
    "linear": (
        lambda a, W, b: W.shape[1] + 1,
        lambda a, W, b: a @ W.T + b,
        lambda e, a, W, b: e[0] @ W.T,
    ),
    "linear_backward_input": (lambda dz, W: len(W), lambda dz, W: dz @ W, lambda e, dz, W: e[0] @ W),
    "linear_backward_weight": (
        lambda dz, a: len(a),
        lambda dz, a: dz.T @ a,
        lambda e, dz, a: dz.T @ e[1] + e[0].T @ (a + e[1]),
    ),
    # n terms are n − 1 additions
    "backward_bias": (lambda dz: len(dz) - 1, lambda dz: dz.sum(axis=0), lambda e, dz: e[0].sum(axis=0)),
    "dropout": (lambda a, mask: 1, lambda a, mask: a * mask, lambda e, a, mask: e[0] * mask),
    "dropout_backward": (lambda a, mask: 1, lambda a, mask: a * mask, lambda e, a, mask: e[0] * mask),
}


def is_between(found: Array, least: Array) -> bool:
    """Whether a computed bound is the counted one, but for what its own evaluation may add."""
    pairs = zip(exact(np.broadcast_to(found, least.shape)).flat, least.flat, strict=True)
    return all(low <= bound <= low * (1 + SLACK) for bound, low in pairs)


@given(
    dtype=st.sampled_from(list(DTYPES)),
    powers=st.tuples(*[st.sampled_from([0.5, 0.4, 0, -0.02])] * 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_bounds_of_products_and_sums_are_highams(
    dtype: str, powers: tuple[float, float], seed: int
) -> None:
    problem = Problem(5, (3, 7, 2), seed)
    model = problem.model(DTYPES[dtype], activation="tanh", dropout=0.4)
    r = Rounding.of(DTYPES[dtype])
    # ½: where two factors meet, their product is next to the smallest normal number
    small, smaller = (DTYPES[dtype](r.tiny**power) for power in powers)
    for value in model.parameters.values():
        value *= small
    x, y = problem.batch("mse", DTYPES[dtype])
    trace = model.trace(x * smaller, y, "mse")
    errors = propagate(trace).errors
    seen = set()
    for stage in trace:
        if stage.kind not in COUNTED:
            continue
        count, size, passed = COUNTED[stage.kind]
        inputs = [exact(np.abs(trace[name])) for name in stage.reads]
        given_errors = [exact(errors.get(name, np.zeros(np.shape(trace[name])))) for name in stage.reads]
        n, u, tiny = count(*inputs), Fraction(r.u), Fraction(r.tiny)
        own = n * u / (1 - n * u) * size(*inputs) + (n + (stage.kind == "backward_bias")) * tiny
        assert is_between(local(trace, stage.name).bound, own), stage.name
        assert is_between(errors[stage.name], own + passed(given_errors, *inputs)), stage.name
        seen.add(stage.kind)
    assert seen == set(COUNTED)


@pytest.mark.parametrize("factor", [1 - 2.0**-30, 1 + 2.0**-30])
def test_a_bound_that_is_off_by_a_billionth_would_be_seen(factor: float) -> None:
    least = exact(np.array([1.0, 3.0]))
    assert is_between(np.array([1.0, 3.0]), least)
    assert not is_between(np.array([1.0, 3.0 * factor]), least)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_gamma_ends_and_what_fits_are_where_the_arithmetic_ends(dtype: Any) -> None:
    r = Rounding.of(dtype)
    assert [r.gamma(1 / r.u), r.gamma(1.5 / r.u), r.gamma(3 / r.u)] == [np.inf] * 3
    assert r.gamma(0.5 / r.u) == 1
    half = r.largest / 2
    assert r.fits(np.array([half, np.nextafter(half, np.inf)])).tolist() == [True, False]
    assert replace(r, largest=4.0).fits(2.0)
