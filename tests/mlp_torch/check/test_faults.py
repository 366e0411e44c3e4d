"""Faults that meet in one layer, or that look like another: each named by its own word."""

import numpy as np
import pytest

from mlp_torch import Dropout, Layer, check_gradients

r = np.random.default_rng(5)
N, P = 9, 0.3
X, Y = r.normal(size=(N, 5)), np.eye(3)[r.integers(0, 3, N)]
W = [r.normal(size=s) * 0.6 for s in ((5, 7), (7, 6), (6, 3))]
B = [r.normal(size=s) * 0.3 for s in (7, 6, 3)]
MASK = (r.random((N, 6)) > P) * 1.0


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


ACTS = {
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "softplus": (lambda z: np.log1p(np.exp(z)), sigmoid),
    "selu": (
        lambda z: 1.2 * np.where(z > 0, z, 0.3 * np.expm1(np.minimum(z, 0))),
        lambda z: 1.2 * np.where(z > 0, 1, 0.3 * np.exp(np.minimum(z, 0))),
    ),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
}
CONSTANTS = {"selu": {"alpha": 0.3, "scale": 1.2}}


def gradients(act, slope=None, mask=MASK / (1 - P), given=MASK / (1 - P)):
    """tanh, `act` with dropout, softmax; `slope(z, a)` and `mask` as the backward has them."""
    f, d = ACTS[act]
    a1 = np.tanh(X @ W[0] + B[0])
    z2 = a1 @ W[1] + B[1]
    a2 = f(z2)
    h2 = a2 * given
    e = np.exp(h2 @ W[2] + B[2])
    dz3 = (e / e.sum(axis=1, keepdims=True) - Y) / N
    dz2 = dz3 @ W[2].T * mask * (d(z2) if slope is None else slope(z2, a2))
    dz1 = dz2 @ W[1].T * (1 - a1 * a1)
    pairs = [(X, dz1), (a1, dz2), (h2, dz3)]
    dW = {f"W{i + 1}": a.T @ dz for i, (a, dz) in enumerate(pairs)}
    return dW | {f"b{i + 1}": dz.sum(axis=0) for i, (_, dz) in enumerate(pairs)}


def check(act, found, p=P, mask=MASK, **options):
    parameters = {f"{letter}{i + 1}": v[i] for letter, v in (("W", W), ("b", B)) for i in range(3)}
    layers = [
        Layer(weight="W1", bias="b1", activation="tanh"),
        Layer(
            weight="W2", bias="b2", activation=act, activation_parameters=CONSTANTS.get(act, {}),
            dropout=Dropout(p, mask, scaled=False),
        ),
        Layer(weight="W3", bias="b3", activation="softmax"),
    ]  # fmt: skip
    return check_gradients(parameters, found, X, Y, layers=layers, loss="cross_entropy", **options)


def kinds(report):
    return sorted((fault.kind, fault.layer) for fault in report.faults)


FORGOTTEN = {"mask and scale": np.ones_like(MASK), "mask": np.ones_like(MASK) / (1 - P), "scale": MASK}
WRONG = [
    ("sigmoid", lambda z, a: a, "wrong_activation_derivative"),
    ("sigmoid", lambda z, a: sigmoid(a) * (1 - sigmoid(a)), "activation_derivative_at_wrong_array"),
    ("sigmoid", lambda z, a: z * (1 - z), "activation_derivative_at_wrong_array"),
    ("tanh", lambda z, a: 1 - a, "wrong_activation_derivative"),
    ("tanh", lambda z, a: a * (1 - a), "wrong_activation_derivative"),
    ("softplus", lambda z, a: sigmoid(a), "activation_derivative_at_wrong_array"),
    ("softplus", lambda z, a: np.ones_like(z), "missing_activation_derivative"),
    ("relu", lambda z, a: a, "wrong_activation_derivative"),
    (
        "selu",
        lambda z, a: 1.2 * np.where(a > 0, 1, 0.3 * np.exp(np.minimum(a, 0))),
        "activation_derivative_at_wrong_array",
    ),
]


@pytest.mark.parametrize("forgotten", FORGOTTEN)
@pytest.mark.parametrize(("act", "slope", "kind"), WRONG)
def test_a_wrong_derivative_and_dropout_forgotten_in_one_layer_are_both_named(act, slope, kind, forgotten):
    report = check(act, gradients(act, slope, FORGOTTEN[forgotten]))
    assert kinds(report) == sorted([(kind, 2), ("wrong_dropout_backward", 2)])


@pytest.mark.parametrize("ascent", [True, False])
def test_a_delta_through_weights_updated_by_adding_the_gradient_is_named(ascent):
    w1, w2, y = r.normal(size=(5, 4)), r.normal(size=(4, 1)), r.random((N, 1))
    a1 = sigmoid(X @ w1)
    a2 = sigmoid(a1 @ w2)
    dz2 = (y - a2) * a2 * (1 - a2)
    dw2 = a1.T @ dz2
    dw1 = X.T @ (dz2 @ (w2 + 0.7 * dw2).T * a1 * (1 - a1))
    sign = 1 if ascent else -1
    report = check_gradients(
        [w1, w2], [sign * dw1, sign * dw2], X, y, activations=["sigmoid"] * 2, loss="half_squared_error",
        reduction="sum", ascent=ascent, lr=0.7,
    )  # fmt: skip
    assert [fault.kind for fault in report.faults] == ["updated_weights_used"]
