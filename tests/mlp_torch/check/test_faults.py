"""Faults that meet in one layer, or that look like another: each named by its own word."""

import numpy as np
import pytest

from mlp_torch import Dropout, Layer, Penalty, check_gradients

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


LAMBDA = 0.2
THETA = {f"{letter}{i + 1}": v[i] for letter, v in (("W", W), ("b", B)) for i in range(3)}


def with_penalties(l2=0.0, l1=0.0):
    return {n: g + l2 * THETA[n] + l1 * np.sign(THETA[n]) for n, g in gradients("tanh").items()}


@pytest.mark.parametrize("name", ["b1", "b2", "b3"])
@pytest.mark.parametrize("mean", [1, N])
def test_a_bias_that_is_not_summed_is_named_beside_its_own_penalty(name, mean):
    found = with_penalties(LAMBDA)
    found[name] = gradients_by_sample()[name] / mean + LAMBDA * THETA[name]
    report = check("tanh", found, l2=Penalty(LAMBDA, on_biases=True))
    assert kinds(report) == [("bias_not_summed", int(name[1]))]


def gradients_by_sample():
    """db of each sample, (N, out)."""
    a1 = np.tanh(X @ W[0] + B[0])
    z2 = a1 @ W[1] + B[1]
    mask = MASK / (1 - P)
    e = np.exp((np.tanh(z2) * mask) @ W[2] + B[2])
    dz3 = (e / e.sum(axis=1, keepdims=True) - Y) / N
    dz2 = dz3 @ W[2].T * mask * (1 - np.tanh(z2) ** 2)
    return {"b3": dz3, "b2": dz2, "b1": dz2 @ W[1].T * (1 - a1 * a1)}


@pytest.mark.parametrize("wrong", [2, 0.5, -1, 0])
def test_a_bias_averaged_and_its_penalty_wrong_are_both_named(wrong):
    found = with_penalties(LAMBDA)
    plain = gradients("tanh")
    for i in (1, 2, 3):
        found[f"b{i}"] = plain[f"b{i}"] / N + wrong * LAMBDA * B[i - 1]
    report = check("tanh", found, l2=Penalty(LAMBDA, on_biases=True))
    assert sorted({fault.kind for fault in report.faults}) == ["wrong_bias_reduction", "wrong_regulariser"]


@pytest.mark.parametrize("factor", [2, 0.5, 1 / N, -1, 0])
def test_one_factor_on_both_penalties_is_one_fault(factor):
    found = gradients("tanh")
    for n in ("W1", "W2", "W3"):
        found[n] = found[n] + factor * (0.2 * THETA[n] + 0.1 * np.sign(THETA[n]))
    report = check("tanh", found, l2=Penalty(0.2), l1=Penalty(0.1))
    assert [fault.kind for fault in report.faults] == ["wrong_regulariser"]


@pytest.mark.parametrize("slip", [np.abs, lambda w: w])
def test_an_l1_gradient_without_the_sign_is_the_penalty_alone(slip):
    found = gradients("tanh")
    for n in ("W1", "W2", "W3"):
        found[n] = found[n] + 0.1 * slip(THETA[n])
    report = check("tanh", found, l1=Penalty(0.1))
    assert [fault.kind for fault in report.faults] == ["wrong_regulariser"]


@pytest.mark.parametrize("l2", [0.0, LAMBDA])
def test_nothing_coming_down_is_zero_gradient_and_no_constant(l2):
    found = with_penalties(l2)
    for n in ("W1", "b1", "W2", "b2"):
        found[n] = l2 * THETA[n]
    report = check("tanh", found, **({"l2": Penalty(l2, on_biases=True)} if l2 else {}))
    assert kinds(report) == [("zero_gradient", 2)]
    assert report.faults[0].arrays == ("W1", "b1", "W2", "b2")


def test_rounding_is_never_clipping():
    found = gradients("tanh")
    found["b3"] = np.full(3, gradients_by_sample()["b3"].sum() + 3e-17)
    report = check("tanh", found)
    named = {fault.kind for faults in (report.faults, *report.alternatives) for fault in faults}
    assert named == {"wrong_bias_reduction", "zero_gradient"}


def test_a_weight_made_with_the_array_beside_the_right_one_is_named():
    a1 = np.tanh(X @ W[0] + B[0])
    z2 = a1 @ W[1] + B[1]
    each = gradients_by_sample()
    found = gradients("tanh")
    report = check("tanh", found | {"W3": z2.T @ each["b3"]})
    assert kinds(report) == [("activation_derivative_at_wrong_array", 3)]
    report = check("tanh", found | {"W2": a1.T @ (each["b2"] / (1 - np.tanh(z2) ** 2))})
    assert kinds(report) == [("missing_activation_derivative", 2)]
    assert report.faults[0].arrays == ("W2",)


def test_two_named_faults_come_before_one_nameless_factor():
    found = gradients("selu", lambda z, a: np.where(z > 0, 1, 0.3 * np.exp(np.minimum(z, 0))), mask=MASK)
    assert kinds(check("selu", found)) == [("wrong_activation_derivative", 2), ("wrong_dropout_backward", 2)]


def test_dropout_scale_lacking_comes_before_clipping_and_constants():
    assert kinds(check("relu", gradients("relu", mask=MASK))) == [("wrong_dropout_backward", 2)]


def test_a_half_that_may_be_dropout_is_told_as_either():
    found = gradients("tanh", mask=MASK, given=2 * MASK)
    found = {n: g / 2 for n, g in found.items()}  # halved, and below dropout's 1/(1 − p) = 2 is lacking too
    report = check("tanh", found, p=0.5)
    sets = [sorted({fault.kind for fault in faults}) for faults in (report.faults, *report.alternatives)]
    assert ["constant_factor"] in sets
    assert ["constant_factor", "wrong_dropout_backward"] in sets
