"""The lecture's own networks against closed forms, exact fractions and autograd; and the slides' slips."""

import warnings
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manual import MLP, fit
from manual.activations import sigmoid
from manual.perceptron import (
    FourParameters,
    LinearPerceptron,
    ScalarFactor,
    X,
    Y,
    best_weight,
    careful_d_sigmoid,
    gradient,
    perceptron,
    slide_gradient_w3,
    slide_sigmoid,
    train_smallest,
)

EXACT_X, EXACT_Y = [Fraction(str(x)) for x in X], [Fraction(str(y)) for y in Y]
numbers = st.floats(-3, 3).filter(lambda v: abs(v) > 1e-3)


# ---- the forward pass --------------------------------------------------------------------------------


def test_the_perceptron_is_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(7, 3)), rng.normal(size=3)
    f = perceptron(x, w)
    np.testing.assert_allclose(np.log(f / (1 - f)), x @ w, rtol=1e-12)
    np.testing.assert_allclose(f, torch.sigmoid(torch.tensor(x) @ torch.tensor(w)).numpy(), rtol=1e-14)


def test_the_slides_sigmoid_overflows_and_is_right_all_the_same() -> None:
    with pytest.warns(RuntimeWarning, match="overflow encountered in exp"):
        assert slide_sigmoid(np.array([-1000.0]))[0] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sigmoid(np.array([-1000.0]))[0] == 0
        a = np.linspace(-700, 700, 1001)
        np.testing.assert_allclose(slide_sigmoid(a), sigmoid(a), rtol=1e-15)


def test_a_times_1_minus_a_is_no_derivative_where_the_sigmoid_has_rounded_to_1() -> None:
    a = np.array([40.0])
    f = slide_sigmoid(a)
    assert f[0] == 1
    assert (f * (1 - f))[0] == 0
    assert careful_d_sigmoid(a)[0] == pytest.approx(np.exp(-40.0), rel=1e-15)


@given(st.integers(-700, 700))
def test_the_careful_derivative_is_the_series_of_arb(a: int) -> None:
    from flint import arb, arb_series, ctx

    with ctx.workprec(200):
        z = arb_series([arb(a), arb(1)], prec=2)
        truth = (1 / (1 + (-z).exp()))[1]
    assert careful_d_sigmoid(np.array([float(a)]))[0] == pytest.approx(float(truth), rel=1e-14)


# ---- the smallest and the second smallest ------------------------------------------------------------


def test_the_best_weight_is_117_8_over_117_25() -> None:
    best = best_weight(EXACT_X, EXACT_Y)
    assert best == Fraction("117.8") / Fraction("117.25")
    assert sum((y - best * x) * x for x, y in zip(EXACT_X, EXACT_Y, strict=True)) == 0


def test_the_slides_one_liner_never_settles_on_the_slides_data() -> None:
    iterates = train_smallest(Fraction(0), EXACT_X, EXACT_Y, 1, passes=10)
    assert iterates[:5] == [0, 101, Fraction("-299.2"), Fraction("3377.9"), Fraction("1.1")]
    for start in range(4, 40, 4):  # every later pass is the same: 1.1, −7.9, 27.5, −297.475, 1.1
        assert iterates[start : start + 5] == [
            Fraction("1.1"),
            Fraction("-7.9"),
            Fraction("27.5"),
            Fraction("-297.475"),
            Fraction("1.1"),
        ]


@given(st.fractions(-100, 100), st.sampled_from(range(4)))
def test_each_sample_multiplies_the_distance_to_its_own_ratio_by_1_minus_x_squared(
    w: Fraction, i: int
) -> None:
    x, y = EXACT_X[i], EXACT_Y[i]
    after = train_smallest(w, [x], [y])[-1]
    assert after - y / x == (1 - x * x) * (w - y / x)


def test_without_the_sample_at_1_the_one_liner_diverges_by_3341_25_a_pass() -> None:
    ends = train_smallest(Fraction(0), EXACT_X[:3], EXACT_Y[:3], 1, passes=5)[::3]
    steps = [b - a for a, b in pairwise(ends)]
    assert all(b == Fraction("-3341.25") * a for a, b in pairwise(steps))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        train_smallest(np.float64(0), X[:3], Y[:3], 1, passes=100)


@pytest.mark.parametrize("lr", ["0.005", "0.015", "0.0199"])
def test_below_2_over_x_squared_the_one_liner_contracts_to_one_weight(lr: str) -> None:
    a, b = (train_smallest(Fraction(w), EXACT_X, EXACT_Y, Fraction(lr), passes=1)[-1] for w in (0, 1))
    factor = b - a
    assert factor == np.prod([1 - Fraction(lr) * x * x for x in EXACT_X])
    assert abs(factor) < 1
    settled = a / (1 - factor)  # the fixed point of one pass
    assert float(
        train_smallest(Fraction(5), EXACT_X, EXACT_Y, Fraction(lr), 40)[-1] - settled
    ) == pytest.approx(0, abs=1e-6)
    assert settled != best_weight(EXACT_X, EXACT_Y)


def test_the_full_batch_contracts_to_the_best_weight_by_the_closed_form() -> None:
    engine = LinearPerceptron(np.zeros(1))
    for _ in fit(engine, np.array(X)[:, None], np.array(Y), epochs=30, batch_size=4, lr=0.015):
        pass
    best, factor = 117.8 / 117.25, 1 - 0.015 * 117.25 / 4
    expected = [best - best * factor**t for t in range(31)]
    np.testing.assert_allclose(np.array(engine.path)[:, 0], expected, rtol=1e-13)


@given(numbers, numbers, numbers, numbers, numbers)
def test_the_second_smallest_has_autograds_two_partial_derivatives(
    w1: float, w2: float, x1: float, x2: float, y: float
) -> None:
    w = torch.tensor([w1, w2], dtype=torch.float64, requires_grad=True)
    loss = (y - w @ torch.tensor([x1, x2], dtype=torch.float64)) ** 2 / 2
    (theirs,) = torch.autograd.grad(loss, w)
    ours = LinearPerceptron(np.array([w1, w2])).gradient(np.array([[x1, x2]]), np.array([y]))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-14)


# ---- four parameters ---------------------------------------------------------------------------------

CHAINS = st.builds(FourParameters, numbers, numbers, numbers, numbers)


def network(chain: FourParameters) -> MLP:
    """The same function as a 1-1-1-1 network."""
    model = MLP((1, 1, 1, 1), activation="sigmoid", output_activation="sigmoid")
    for i, (w, b) in enumerate([(chain.w1, chain.b1), (chain.w2, 0.0), (chain.w3, 0.0)]):
        model.parameters[f"layers.{i}.weight"] = np.array([[w]])
        model.parameters[f"layers.{i}.bias"] = np.array([b])
    return model


@given(CHAINS, numbers, numbers)
def test_the_product_of_the_factors_is_autograds_gradient(chain: FourParameters, x: float, y: float) -> None:
    v = {n: torch.tensor(getattr(chain, n), dtype=torch.float64, requires_grad=True) for n in names()}
    hidden = torch.sigmoid(v["w2"] * torch.sigmoid(v["w1"] * x + v["b1"]))
    loss = (y - torch.sigmoid(v["w3"] * hidden)) ** 2 / 2
    theirs = dict(zip(names(), torch.autograd.grad(loss, [v[n] for n in names()]), strict=True))
    for name, ours in chain.gradients(x, y).items():
        assert ours == pytest.approx(float(theirs[name]), rel=1e-11)


@given(CHAINS, numbers, numbers)
def test_the_chain_of_four_parameters_is_the_general_network(
    chain: FourParameters, x: float, y: float
) -> None:
    trace = network(chain).trace(np.array([[x]]), np.array([[y]]), "half_squared_error")
    ours = chain.gradients(x, y)
    for name, stage in (("w3", "dW3"), ("w2", "dW2"), ("w1", "dW1"), ("b1", "db1")):
        assert ours[name] == pytest.approx(trace[stage].item(), rel=1e-12)
    assert chain.forward(x, y)["L"] == pytest.approx(trace.loss, rel=1e-12)


def names() -> tuple[str, ...]:
    return ("w3", "w2", "w1", "b1")


FACTORS = FourParameters(0.5, 0.1, -1.5, 2.0).factors(2.0, 1.0)


def test_the_factors_stand_in_the_slides_order() -> None:
    slide = {
        "w3": "∂L/∂f3 ∂f3/∂a3 ∂a3/∂w3",
        "w2": "∂L/∂f3 ∂f3/∂a3 ∂a3/∂f2 ∂f2/∂a2 ∂a2/∂w2",
        "w1": "∂L/∂f3 ∂f3/∂a3 ∂a3/∂f2 ∂f2/∂a2 ∂a2/∂f1 ∂f1/∂a1 ∂a1/∂w1",
        "b1": "∂L/∂f3 ∂f3/∂a3 ∂a3/∂f2 ∂f2/∂a2 ∂a2/∂f1 ∂f1/∂a1 ∂a1/∂b1",
    }
    assert {name: " ".join(f.name for f in factors) for name, factors in FACTORS.items()} == slide


def test_a_factor_is_reused_exactly_if_the_gradient_before_has_it() -> None:
    known: set[str] = set()
    for factors in FACTORS.values():
        for factor in factors:
            assert factor.reused == (factor.name in known)
        known = {f.name for f in factors}


def test_the_slides_learning_rate_inside_the_derivative_makes_it_wrong_by_that_rate() -> None:
    right = gradient(FACTORS["w3"])
    assert slide_gradient_w3(FACTORS["w3"], 0.1) == pytest.approx(0.1 * right)
    h = 1e-6
    up, down = (FourParameters(0.5, 0.1, -1.5, 2.0 + d).forward(2.0, 1.0)["L"] for d in (h, -h))
    assert (up - down) / (2 * h) == pytest.approx(right, rel=1e-8)


def test_a_wrong_factor_would_be_seen() -> None:
    for name, factors in FACTORS.items():
        for i, f in product(range(len(factors)), (1 + 1e-9, -1)):
            old = factors[i]
            bad = ScalarFactor(old.of, old.by, old.formula, old.value * f, old.reused)
            wrong = gradient([*factors[:i], bad, *factors[i + 1 :]])
            assert wrong != pytest.approx(gradient(FACTORS[name]), rel=1e-11)
