"""At parameters that solve the loss every gradient is 0: no wrong backward pass is called right there."""

import numpy as np
import pytest

from mlp_torch import Layer, check_function, check_gradients

r = np.random.default_rng(0)
X = r.normal(size=(7, 4))
P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, 3)), "b2": r.normal(size=3)}
LAYERS = [Layer("W1", "b1", "tanh"), Layer("W2", "b2")]


def function(p, x, y, top=1.0, below=1.0):
    a = np.tanh(x @ p["W1"] + p["b1"])
    o = a @ p["W2"] + p["b2"]
    d = top * 2 * (o - y) / 7
    dz = below * d @ p["W2"].T * (1 - a * a)
    return np.sum((o - y) ** 2) / 7, {"W1": x.T @ dz, "b1": dz.sum(0), "W2": a.T @ d, "b2": d.sum(0)}


SOLVED = np.tanh(X @ P["W1"] + P["b1"]) @ P["W2"] + P["b2"]


@pytest.mark.parametrize(("top", "below"), [(1, 1), (-1, 1), (1, 2)])
def test_zeros_of_a_right_and_of_a_wrong_pass_are_not_judged(top, below):
    report = check_gradients(
        P, function(P, X, SOLVED, top, below)[1], X, SOLVED, layers=LAYERS, loss="squared_error"
    )
    assert report.verdict == "not_comparable"
    assert "nothing was judged" in report.message
    assert {row.verdict for row in report.arrays.values()} == {"hidden"}


def test_what_is_not_0_there_is_wrong():
    gradients = function(P, X, SOLVED)[1]
    gradients["W1"] = gradients["W1"] + 1e-6
    report = check_gradients(P, gradients, X, SOLVED, layers=LAYERS, loss="squared_error")
    assert report.verdict == "wrong"
    assert [n for n, row in report.arrays.items() if row.verdict != "right"] == ["W1"]


def test_at_the_least_squares_all_is_rounding():
    x = np.c_[X, np.ones(7)]
    y = r.normal(size=(7, 1))
    w = np.linalg.lstsq(x, y)[0]
    g = x.T @ (x @ w - y) / 7
    for factor in (1, -3, 0):
        report = check_gradients(
            {"w": w}, {"w": factor * g}, x, y, activations=["identity"], loss="half_squared_error"
        )
        assert report.verdict == "not_comparable"
        assert "up to rounding" in report.message
    assert not check_gradients(
        {"w": w}, {"w": g + 1e-9}, x, y, activations=["identity"], loss="half_squared_error"
    ).passed


def test_a_function_is_judged_at_parameters_beside_them():
    assert check_function(function, P, X, SOLVED).verdict == "right"
    for top, below, kind, arrays in (
        (-1, 1, "sign", ("W1", "b1", "W2", "b2")),
        (1, 2, "constant_factor", ("W1", "b1")),
    ):
        report = check_function(lambda p, x, y, t=top, b=below: function(p, x, y, t, b), P, X, SOLVED)
        assert report.verdict == "wrong"
        assert [(f.kind, f.arrays) for f in report.faults] == [(kind, arrays)]
        assert any("every true gradient is 0" in note for note in report.notes)


def test_certain_and_right_classes_leave_nothing_to_judge():
    W, labels = 1e3 * np.eye(4), np.arange(4)
    report = check_gradients(
        {"W": W}, {"W": 0 * W}, np.eye(4), labels, activations=["softmax"], loss="cross_entropy",
        weight_layout="in,out", samples="rows",
    )  # fmt: skip
    assert report.verdict == "not_comparable"
    assert "nothing was judged" in report.message
