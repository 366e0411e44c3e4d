"""A function without a description: its network is found from its loss, and its faults named by layer."""

import numpy as np
import pytest

from mlp_torch import check_function

N = 7
SLOPES = {
    "tanh": lambda z, a: 1 - a**2,
    "relu": lambda z, a: 1.0 * (z > 0),
    "sigmoid": lambda z, a: a * (1 - a),
}
ACTIVATIONS = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "sigmoid": lambda z: 1 / (1 + np.exp(-z))}


def data(outputs=3):
    r = np.random.default_rng(outputs)
    P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, outputs))}
    return P | {"b2": r.normal(size=outputs)}, r.normal(size=(N, 4)), r


def regression(hidden, slip, penalty=0.0):
    def function(P, x, y):
        z = x @ P["W1"] + P["b1"]
        h = ACTIVATIONS[hidden](z)
        o = h @ P["W2"] + P["b2"]
        loss = np.mean((o - y) ** 2) + penalty * (np.sum(P["W1"] ** 2) + np.sum(P["W2"] ** 2))
        d = 2 * (o - y) / o.size
        G = {"W2": h.T @ d + 2 * penalty * P["W2"], "b2": d.sum(axis=0)}
        dz = d @ P["W2"].T * (1.0 if "slope" in slip else SLOPES[hidden](z, h))
        G |= {
            "W1": x.T @ dz + 2 * penalty * P["W1"],
            "b1": dz.mean(axis=0) if "mean" in slip else dz.sum(axis=0),
        }
        if "penalty" in slip:
            G["W1"] -= 2 * penalty * P["W1"]
        return loss, G

    return function


@pytest.mark.parametrize("hidden", list(SLOPES))
@pytest.mark.parametrize(
    ("slip", "kinds"),
    [
        ("", []),
        ("slope", ["missing_activation_derivative"]),
        ("mean", ["wrong_bias_reduction"]),
        ("slope mean", ["missing_activation_derivative", "wrong_bias_reduction"]),
        ("slope penalty", ["missing_activation_derivative", "wrong_regulariser"]),
    ],
)
def test_a_regression_s_faults_are_named(hidden, slip, kinds):
    P, x, r = data()
    function = regression(hidden, slip, 0.05 if "penalty" in slip else 0.0)
    report = check_function(function, P, x, r.normal(size=(N, 3)))
    assert sorted(f.kind for f in report.faults) == kinds, str(report)
    assert report.verdict == ("wrong" if kinds else "right")
    assert all(f.layer == 1 for f in report.faults if f.kind == "missing_activation_derivative")


@pytest.mark.parametrize("index", [True, False])
def test_a_classifier_in_columns_is_found_and_its_faults_named(index):
    P, x, r = data()
    P = {n: v.T if v.ndim == 2 else v[:, None] for n, v in P.items()}
    labels = r.integers(0, 3, N)
    hot = np.eye(3)[labels].T

    def function(P, x, y):
        h = np.tanh(P["W1"] @ x + P["b1"])
        e = np.exp(P["W2"] @ h + P["b2"])
        p = e / np.sum(e, axis=0, keepdims=True)
        d = (p - hot) / N
        dz = (P["W2"].T @ d) * (1 - h)
        G = {"W1": dz @ x.T, "b1": np.sum(dz, axis=1, keepdims=True)}
        return -np.sum(hot * np.log(p)) / N, G | {"W2": d @ h.T, "b2": N * np.sum(d, axis=1, keepdims=True)}

    report = check_function(function, P, x.T, labels if index else hot)
    kinds = {f.kind for f in report.faults}
    assert kinds == {"wrong_activation_derivative", "wrong_bias_reduction"}, str(report)


def test_a_forward_pass_that_no_layers_make_stays_unexplained():
    P, x, r = data()

    def function(P, x, y):
        h = np.sin(x @ P["W1"] + P["b1"])
        o = h @ P["W2"] + P["b2"]
        d = 2 * (o - y) / o.size
        dz = d @ P["W2"].T
        return np.mean((o - y) ** 2), {
            "W1": x.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ d, "b2": d.sum(axis=0),
        }  # fmt: skip

    report = check_function(function, P, x, r.normal(size=(N, 3)))
    assert report.verdict == "wrong"
    assert not report.faults
