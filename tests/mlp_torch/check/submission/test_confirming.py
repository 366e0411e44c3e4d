"""A slope is known from values as far as it says, and no wrong gradient is confirmed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch.check.submission.confirming import confirm
from mlp_torch.check.submission.slopes import slope

CURVES = {
    "exp": (math.exp, 1.0),
    "sin": (math.sin, 1.0),
    "steep": (lambda t: math.tanh(50 * t), 50.0),
    "far from 0": (lambda t: 1e6 + math.sin(t), 1.0),
    "level": (lambda t: 3.0, 0.0),
    "small": (lambda t: 1 + 1e-9 * t, 1e-9),
    "float32": (lambda t: float(np.float32(math.exp(t))), 1.0),
    "rounded": (lambda t: round(math.exp(t), 4), 1.0),
    "a kink beside": (lambda t: math.exp(t) + 5 * max(0.0, t - 0.001), 1.0),
    "large": (lambda t: 1e30 * math.exp(t), 1e30),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("wanted", [0.0, 1e-6, 1e-3])
def test_a_slope_is_off_by_no_more_than_it_says(name, wanted):
    curve, true = CURVES[name]
    found = slope(curve, curve(0.0), wanted)
    assert abs(found.value - true) <= 3 * found.error
    if name not in ("rounded",):
        assert found.error <= max(1e-3 * abs(true), 1e-5)


@pytest.mark.parametrize("curve", [abs, lambda t: max(0.0, t), lambda t: float(t > 0), lambda t: math.nan])
def test_at_a_kink_or_a_jump_no_slope_is_known(curve):
    assert not slope(curve, curve(0.0), 0.0).error < 0.5


def of_loss(loss, gradients):
    """What `confirm` asks, of a loss and gradients in NumPy."""

    def ask(arrays, wanted):
        return float(loss(arrays)), gradients(arrays) if wanted else {}

    return ask


r = np.random.default_rng(1)
X, Y = r.normal(size=(9, 5)), r.normal(size=(9, 3))
P = {"W1": r.normal(size=(5, 4)), "b1": r.normal(size=4), "W2": r.normal(size=(4, 3)), "b2": r.normal(size=3)}


def loss(p):
    return ((np.tanh(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"] - Y) ** 2).mean()


def gradients(p):
    a = np.tanh(X @ p["W1"] + p["b1"])
    d = 2 * (a @ p["W2"] + p["b2"] - Y) / Y.size
    h = d @ p["W2"].T * (1 - a * a)
    return {"W1": X.T @ h, "b1": h.sum(axis=0), "W2": a.T @ d, "b2": d.sum(axis=0)}


def test_a_right_gradient_is_confirmed_in_every_array():
    assert confirm(of_loss(loss, gradients), P).confirmed == set(P)


@settings(max_examples=60)
@given(st.sampled_from(list(P)), st.floats(-3, 0.5), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_slip_above_a_thousandth_is_contradicted_in_its_array_alone(name, power, one_entry, seed):
    size = 10.0**power

    def wrong(p):
        found = gradients(p)
        slip = np.random.default_rng(seed).normal(size=found[name].shape)
        if one_entry:
            slip = np.where(np.arange(slip.size).reshape(slip.shape) == 0, 1.0, 0.0)
        found[name] = found[name] + size * np.linalg.norm(found[name]) * slip / np.linalg.norm(slip)
        return found

    found = confirm(of_loss(loss, wrong), P)
    assert set(found.contradicted) == {name}
    assert found.confirmed == set(P) - {name}


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12])
def test_the_scale_of_the_loss_changes_nothing(scale):
    def scaled(p):
        return {n: scale * g for n, g in gradients(p).items()}

    assert confirm(of_loss(lambda p: scale * loss(p), scaled), P).confirmed == set(P)
    found = confirm(of_loss(lambda p: scale * loss(p), lambda p: {**scaled(p), "b1": -scaled(p)["b1"]}), P)
    assert set(found.contradicted) == {"b1"}


@pytest.mark.parametrize("sign", [1, -1])
def test_at_a_kink_other_parameters_decide(sign):
    start = {"W": np.zeros((5, 3))}

    def kinked(p):
        return np.maximum(X @ p["W"], 0).sum()

    def slopes(p):
        return {"W": sign * X.T @ (X @ p["W"] > 0)}

    found = confirm(of_loss(kinked, slopes), start)
    assert (found.confirmed == {"W"}) == (sign == 1)


@pytest.mark.parametrize("noise", [1e-3, 1.0])
def test_noise_confirms_nothing(noise):
    found = confirm(of_loss(lambda p: loss(p) + noise * r.normal(), gradients), P)
    assert not found.confirmed


@pytest.mark.parametrize("noise", [0.1, 1.0, np.inf])
def test_gradients_that_are_noise_are_not_confirmed(noise):
    def noisy(p):
        found = gradients(p)
        return {**found, "W2": found["W2"] + noise * np.linalg.norm(found["W2"]) * r.normal(size=(4, 3))}

    def failing(p):
        return gradients(p) if p is not P and np.array_equal(p["W2"], P["W2"]) else noisy(p)

    for wrong in (noisy, failing):
        found = confirm(of_loss(loss, wrong), P)
        assert "W2" not in found.confirmed | found.small


def test_a_level_loss_confirms_nothing():
    zero = {n: np.zeros_like(v) for n, v in P.items()}
    found = confirm(of_loss(lambda p: 0.0, lambda p: zero), P)
    assert not found.confirmed | set(found.contradicted)


def test_a_zero_where_the_loss_changes_is_contradicted():
    found = confirm(of_loss(loss, lambda p: {**gradients(p), "b2": np.zeros(3)}), P)
    assert set(found.contradicted) == {"b2"}


@pytest.mark.parametrize("given", [np.ones((2, 2)), np.full(4, np.nan), np.array(["a"] * 4), None])
def test_what_is_no_gradient_is_not_confirmed(given):
    found = confirm(of_loss(loss, lambda p: {**gradients(p), "b1": given}), P)
    assert found.confirmed == set(P) - {"b1"}
    assert found.left(P) == ["b1"]
