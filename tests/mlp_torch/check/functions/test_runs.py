"""How often an author's code is run, what of it is kept, and what is computed only when it is asked for."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlp_torch.check.functions.decimals import Formula
from mlp_torch.check.functions.derivative import Derivative
from mlp_torch.check.functions.eager.run import DRAWN, FINE, Run, Signs, running
from mlp_torch.check.functions.floors import FEW, RUNS, rounding
from mlp_torch.check.functions.tracing import trace

r = np.random.default_rng(0)
VALUES = {"W": r.normal(size=(3, 4)), "V": r.normal(size=(4, 2))}
X = r.normal(size=(5, 3))


def loss(p):
    h = np.tanh(X @ p["W"])
    out = h @ p["V"]
    return 0.5 * np.sum(out**2)


def gradients(p):
    h = np.tanh(X @ p["W"])
    out = h @ p["V"]
    return {"W": X.T @ ((out @ p["V"].T) * (1 - h**2)), "V": h.T @ out}


def both(p):
    return loss(p), gradients(p)


def read(found):
    return found[0], lambda numbers: {n: numbers(g) for n, g in found[1].items()}


@pytest.fixture
def traced():
    return trace(both, VALUES, float(loss(VALUES)), read)


def test_slopes_are_the_gradient_and_the_nearest_parameter_is_found_alone(traced):
    out = next(s for s in traced.steps if s.name == "out")
    slopes = traced.slopes(out.array, out.value)
    assert list(slopes) == ["V", "W"]
    assert np.allclose(slopes["V"], traced.gradient()["V"], rtol=1e-14)
    assert list(slopes.found) == ["V"]
    for n, g in slopes.over(2.0).items():
        assert np.allclose(2 * g, gradients(VALUES)[n], rtol=1e-13)


def counted(traced):
    """(the trace, the runs that were asked of it)."""
    runs = []

    def again(run):
        runs.append(run)
        return traced.again(run)

    return replace(traced, again=again), runs


@pytest.mark.parametrize(
    ("slip", "expected"), [(0.0, FEW), (1e-10, RUNS), (1e-4, RUNS), (0.5, FEW), (np.nan, FEW)]
)
def test_a_gap_far_beyond_rounding_takes_no_more_runs_than_none_does(traced, slip, expected):
    one, runs = counted(traced)
    hand = gradients(VALUES)
    hand["W"] = hand["W"] * (1 + slip)
    rounding(Derivative(traced.gradient(), "", 1e-12, {}, one), FINE, hand)
    assert len(runs) == expected


@pytest.mark.parametrize(("gap", "expected", "may"), [(1e-16, 2, True), (1e-11, 2, False), (0.1, 1, False)])
def test_a_gap_far_beyond_the_formula_s_rounding_takes_one_run_of_it(traced, gap, expected, may):
    one, runs = counted(traced)
    formula = Formula(both, (VALUES,), VALUES, VALUES, one)
    assert formula.may_round("W", np.full((3, 4), gap)) == may
    assert len(runs) == expected


@pytest.mark.parametrize("last", [True, False], ids=["of the loss", "of the author's gradients"])
def test_a_run_with_rounding_errors_leaves_nothing_behind(traced, last):
    run = Run(noise=FINE, follow=traced.run.decisions, stop_after=traced.last if last else None)
    found = traced.again(run)
    assert found.gradient() if last else found.hand
    seen = weakref.ref(run)
    del run, found
    gc.collect()
    assert seen() is None


def test_the_trace_keeps_no_array_of_the_author_s_backward_pass(traced):
    assert len(traced.run.made) == traced.last + 1


def test_python_s_collector_goes_on_after_a_run_that_fails():
    def fails():
        with running(Run()):
            assert not gc.isenabled()
            raise ZeroDivisionError

    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        fails()
    assert gc.isenabled()


@pytest.mark.parametrize("size", [1, 7, DRAWN, 2 * DRAWN + 1])
def test_every_error_is_one_unit_up_or_down(size):
    signs = Signs(FINE, 0)
    drawn = torch.cat([signs.like(torch.zeros(size)) for _ in range(9)]).numpy()
    assert set(drawn) <= {1 + FINE, 1 - FINE}
    assert abs(np.sign(drawn - 1).mean()) < 5 / np.sqrt(drawn.size)
