"""The bounds of products and sums are Higham's, counted anew in fractions: neither narrower nor wider.

A sum of n terms strays by γₙ of their absolute values, γₙ = n u / (1 − n u), and by n of the smallest
normal number where products underflow; the global bound carries the inputs' errors on besides.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual.numbers import Array
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.rounding import Rounding, erf, up
from tests.mlp_torch.verify.counted import COUNTED, SHAPES, SIZES, SUMMED, Lone, exact, own
from tests.mlp_torch.verify.edges import local
from tests.problems import DTYPES, Problem

# What a bound's own evaluation in float64 may add: (n + 128) 2⁻⁵² here and there.
SLACK = Fraction(1, 2**40)


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
        passed = COUNTED[stage.kind][2]
        inputs = [exact(np.abs(trace[name])) for name in stage.reads]
        given_errors = [exact(errors.get(name, np.zeros(np.shape(trace[name])))) for name in stage.reads]
        least = own(stage.kind, inputs, r)
        assert is_between(local(trace, stage.name).bound, least), stage.name
        assert is_between(errors[stage.name], least + passed(given_errors, *inputs)), stage.name
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


@pytest.mark.parametrize("kind", COUNTED)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_rule_encloses_the_true_value_and_knows_how_large_its_terms_are(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(-99, 100, [SIZES[s] for s in shape]) / 2.0 ** rng.integers(9)
        for shape in SHAPES[kind].split()
    ]
    if kind.startswith("dropout"):
        arrays[1] = np.abs(arrays[1])
    found = Lone(kind, *arrays).local(Rounding.of(np.float32))
    value = COUNTED[kind][1]
    hi, lo, radius = (exact(part) for part in (found.truth.hi, found.truth.lo, found.truth.radius))
    size = value(*(exact(np.abs(a)) for a in arrays))
    assert (abs(hi + lo - value(*map(exact, arrays))) <= radius).all()
    assert (radius <= size.max() / 2**80).all()
    assert (exact(found.size) == size).all()  # sums of few bits


@pytest.mark.parametrize("kind", COUNTED)
def test_a_bound_is_raised_by_what_its_own_evaluation_may_lose_and_no_more(kind: str) -> None:
    """Of ones the sums are exact, so what is left above the formula is what `up` has added: n + 128 units."""
    n, r = 64, Rounding.of(np.float64)
    sizes = SIZES | {SUMMED.get(kind, "N"): n}
    arrays = [np.ones([sizes[s] for s in shape]) for shape in SHAPES[kind].split()]
    errors = [np.full_like(a, 2.0**-30) for a in arrays]
    if kind == "linear":
        errors[1:] = [np.zeros_like(a) for a in arrays[1:]]  # weights are leaves
    stage, inputs = Lone(kind, *arrays), [exact(a) for a in arrays]
    least = own(kind, inputs, r)
    passed = COUNTED[kind][2]([exact(e) for e in errors], *inputs)
    expected = 128 + n * (not kind.startswith("dropout"))
    for bound, low in ((stage.local(r).bound, least), (stage.step(r, *errors), least + passed)):
        added = (exact(np.broadcast_to(bound, low.shape)) / low - 1) * 2**52
        assert (abs(added - expected) < 16).all()


def test_up_adds_128_units_and_one_a_term() -> None:
    for n, units in ((None, 128), (0, 128), (1, 129), (1000, 1128)):
        raised = up(np.array([1.0])) if n is None else up(np.array([1.0]), n)
        assert raised == 1 + units * 2.0**-52


def test_erf_is_float64_whatever_it_is_given() -> None:
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    assert erf(x).dtype == np.float64
    assert (erf(x) == erf(x.astype(np.float64))).all()
