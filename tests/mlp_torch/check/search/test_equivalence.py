"""Mistakes that make the same arrays are told together; numbers that overflow or cancel mislead nobody."""

import numpy as np
import pytest

from mlp_torch import Penalty, check_gradients

N, SIZES = 7, (3, 5, 2)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def network(seed, y=None):
    r = np.random.default_rng(seed)
    P = {f"W{i + 1}": r.normal(size=SIZES[i : i + 2]) for i in range(2)}
    P |= {f"b{i + 1}": r.normal(size=SIZES[i + 1]) for i in range(2)}
    x = r.normal(size=(N, SIZES[0]))
    return P, x, (r.uniform(size=(N, SIZES[2])) < 0.5) * 1.0 if y is None else y(r)


def backward(P, x, a1, dz2, slope):
    dz1 = dz2 @ P["W2"].T * slope
    return {"W1": x.T @ dz1, "b1": dz1.sum(axis=0), "W2": a1.T @ dz2, "b2": dz2.sum(axis=0)}


def sets(report):
    return [{f.kind for f in faults} for faults in [report.faults, *report.alternatives]]


SIGMOIDS = {"activations": ["sigmoid", "sigmoid"], "loss": "half_squared_error"}


@pytest.mark.parametrize("hidden", [True, False])
def test_a_sigmoid_without_its_derivative_is_also_the_gradient_of_bce(hidden):
    """One mistake at two layers, or another loss and one mistake: neither hides the other."""
    P, x, y = network(1)
    a1 = sigmoid(x @ P["W1"] + P["b1"])
    p = sigmoid(a1 @ P["W2"] + P["b2"])
    G = backward(P, x, a1, (p - y) / N, 1.0 if hidden else a1 * (1 - a1))
    said = sets(check_gradients(P, G, x, y, **SIGMOIDS))
    rest = {"missing_activation_derivative"} if hidden else set()
    assert {"missing_activation_derivative"} in said
    assert {"loss_mismatch"} | rest in said


def test_everything_turned_round_is_also_the_data_turned_and_the_penalty_subtracted():
    P, x, y = network(2)
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    dz2 = (a1 @ P["W2"] + P["b2"] - y) / N
    G = backward(P, x, a1, dz2, 1 - a1**2)
    G = {n: -(g + (0.1 * P[n] if n[0] == "W" else 0)) for n, g in G.items()}
    report = check_gradients(
        P, G, x, y, activations=["tanh", "identity"], loss="half_squared_error", l2=Penalty(0.1)
    )
    assert sets(report)[0] == {"sign"}
    assert {"sign", "wrong_regulariser"} in sets(report)


def test_a_constant_on_the_data_alone_and_a_sign_on_everything():
    P, x, y = network(8)
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    G = backward(P, x, a1, a1 @ P["W2"] + P["b2"] - y, 1 - a1**2)  # not divided by N
    G = {n: -(g + (0.1 * P[n] if n[0] == "W" else 0)) for n, g in G.items()}
    report = check_gradients(
        P, G, x, y, activations=["tanh", "identity"], loss="half_squared_error", l2=Penalty(0.1)
    )
    assert {"sign", "constant_factor"} in sets(report)


def test_a_turned_mean_over_the_biases_is_a_sign_and_a_reduction():
    P, x, y = network(3)
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    G = backward(P, x, a1, -(a1 @ P["W2"] + P["b2"] - y), 1 - a1**2)
    G["b1"] /= N
    report = check_gradients(
        P, G, x, y, activations=["tanh", "identity"], loss="half_squared_error", reduction="sum"
    )
    assert {"sign", "wrong_bias_reduction"} in sets(report)
    assert {"sign", "constant_factor"} in sets(report)


def test_a_constant_that_holds_the_learning_rate_is_both():
    P, x, y = network(4)
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    G = backward(P, x, a1, (a1 @ P["W2"] + P["b2"] - y) / N, 1 - a1**2)
    G["W1"] *= 0.05 * 2  # = 1/10
    report = check_gradients(P, G, x, y, activations=["tanh", "identity"], loss="half_squared_error", lr=0.05)
    assert {"constant_factor"} in sets(report)
    assert {"extra_learning_rate", "constant_factor"} in sets(report)
    assert not any("missing_learning_rate" in s for s in sets(report))


def test_weights_updated_with_a_gradient_that_was_cut_afterwards():
    P, x, y = network(5)
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    dz2 = a1 @ P["W2"] + P["b2"] - y
    step = a1.T @ dz2  # its penalty forgotten
    dz1 = dz2 @ (P["W2"] - 0.1 * step).T * (1 - a1**2)
    G = {"W1": x.T @ dz1, "b1": dz1.sum(axis=0), "W2": step, "b2": dz2.sum(axis=0)}
    G = {n: g * min(1, 1.5 / np.linalg.norm(g)) for n, g in G.items()}
    report = check_gradients(
        P, G, x, y, activations=["tanh", "identity"], loss="half_squared_error", reduction="sum",
        l2=Penalty(0.3), lr=0.1,
    )  # fmt: skip
    assert {"clipping", "updated_weights_used", "wrong_regulariser"} in sets(report)


def test_a_cut_hides_that_the_update_s_array_lacked_the_learning_rate():
    P, x, y = network(9)
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    dz2 = a1 @ P["W2"] + P["b2"] - y
    step = a1.T @ dz2 / 0.1
    dz1 = dz2 @ (P["W2"] - 0.1 * step).T * (1 - a1**2)
    G = {"W1": x.T @ dz1, "b1": dz1.sum(axis=0), "W2": step, "b2": dz2.sum(axis=0)}
    G = {n: g * min(1, 1.5 / np.linalg.norm(g)) for n, g in G.items()}
    report = check_gradients(
        P, G, x, y, activations=["tanh", "identity"], loss="half_squared_error", reduction="sum", lr=0.1
    )
    assert {"clipping", "updated_weights_used", "missing_learning_rate"} in sets(report)


def test_a_lost_sign_times_2_where_every_output_is_too_small_is_a_sign():
    P, x, y = network(10, lambda r: r.uniform(50, 60, size=(N, 2)))
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    G = backward(P, x, a1, 2 * np.abs(a1 @ P["W2"] + P["b2"] - y), 1 - a1**2)
    report = check_gradients(
        P, G, x, y, activations=["tanh", "identity"], loss="squared_error", reduction="sum"
    )
    assert {"sign"} in sets(report)
    assert {"wrong_loss_derivative", "constant_factor"} in sets(report)


def test_sums_that_are_not_reset_are_a_constant_where_one_sample_alone_counts():
    P, x, _ = network(11)
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    o = a1 @ P["W2"] + P["b2"]
    y = o.copy()
    y[2] -= 1
    dz2 = (o - y) * (N - np.arange(N))[:, None]
    G = backward(P, x, a1, dz2, 1.0)
    report = check_gradients(
        P, G, x, y, activations=["tanh", "identity"], loss="half_squared_error", reduction="sum"
    )
    assert {"constant_factor", "missing_activation_derivative"} in sets(report)
    assert {"stale_gradient", "missing_activation_derivative"} in sets(report)


def saturated(quotient, slip=1.0):
    """bce over a neuron at 1 − 2e-9 whose label is 0; the gradient by the quotient loses half the digits."""
    P, x, y = network(6, lambda r: np.tile([[0.0, 1.0]], (N, 1)))
    P["b2"] = P["b2"] + [0.0, -1.0]
    x = x.copy()
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    z2 = a1 @ P["W2"] + P["b2"]
    P["b2"] = P["b2"] + [20 - z2[0, 0], 0.0]
    z2 = a1 @ P["W2"] + P["b2"]
    p = sigmoid(z2)
    dz2 = (p - y) / N
    if quotient:
        dz2 = ((1 - y) / (1 - p) - y / p) / N * np.exp(-z2) / (1 + np.exp(-z2)) ** 2
    G = backward(P, x, a1, dz2, 1 - a1**2)
    G["W1"] *= slip
    return P, G, x, y


@pytest.mark.parametrize("quotient", [True, False])
def test_a_saturated_neuron_is_right_by_the_quotient_and_wrong_by_any_slip(quotient):
    options = {"activations": ["tanh", "sigmoid"], "loss": "bce"}
    assert check_gradients(*saturated(quotient), **options).verdict == "right"
    assert {"constant_factor"} in sets(check_gradients(*saturated(quotient, 1 / N), **options))
    assert check_gradients(*saturated(quotient, 1 + 1e-4), **options).verdict == "wrong"


def test_labels_are_named_where_a_probability_is_almost_zero():
    P, x, y = network(7, lambda r: r.integers(0, 2, N))
    P["b2"] = np.array([50.0, 0.0])
    a1 = np.tanh(x @ P["W1"] + P["b1"])
    z2 = a1 @ P["W2"] + P["b2"]
    p = np.exp(z2) / np.exp(z2).sum(axis=1, keepdims=True)
    G = backward(P, x, a1, (p - np.eye(2)[1 - y]) / N, 1 - a1**2)
    report = check_gradients(P, G, x, y, activations=["tanh", "softmax"], loss="cross_entropy")
    assert {"label_coding"} in sets(report), str(report)


def test_what_overflows_fits_nothing():
    """softplus at an upstream gradient of 1e3 is beyond any square that float64 holds."""
    r = np.random.default_rng(3)
    n = 4
    X, Y = r.normal(size=(n, n)), np.eye(n)[r.permutation(n)].T
    A, B = r.normal(size=(n, n)), r.normal(size=(n, n))
    z1 = A @ X
    e = np.exp(B @ np.log1p(np.exp(z1)))
    d = (e / e.sum(axis=0) - Y) / n
    s = sigmoid(z1)
    G = {"A": (B @ d * s * (1 - s)) @ X.T, "B": d @ np.log1p(np.exp(z1)).T}
    report = check_gradients(
        {"A": A, "B": B}, G, X, Y, activations=["softplus", "softmax"], loss="cross_entropy",
        samples="columns", weight_layout="out,in",
    )  # fmt: skip
    assert sets(report) == [{"transpose", "wrong_activation_derivative"}]
