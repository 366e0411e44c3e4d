"""A function's loss is compared with the standard ones: the right gradient of another loss is told."""

import numpy as np
import pytest

from mlp_torch import check_function

r = np.random.default_rng(5)
X, LABELS = r.normal(size=(7, 4)), r.integers(0, 3, 7)
ONE_HOT, BITS, REALS = np.eye(3)[LABELS], 1.0 * (r.uniform(size=(7, 1)) < 0.5), r.normal(size=(7, 2))
BITS[:2, 0] = 0, 1


def network(outputs):
    g = np.random.default_rng(outputs)
    shapes = {"W1": (4, 5), "b1": (5,), "W2": (5, outputs), "b2": (outputs,)}
    return {name: g.normal(size=shape) for name, shape in shapes.items()}


def backward(P, x, a1, dz2):
    dz1 = dz2 @ P["W2"].T * (1 - a1**2)
    return {"W2": a1.T @ dz2, "b2": dz2.sum(axis=0), "W1": x.T @ dz1, "b1": dz1.sum(axis=0)}


def classifier(loss, dz2=None, after=None):
    """softmax over z2 with any cost; the gradient is cross-entropy's unless `dz2` says otherwise."""

    def function(P, x, y):
        a1 = np.tanh(x @ P["W1"] + P["b1"])
        z2 = a1 @ P["W2"] + P["b2"]
        e = np.exp(z2 - z2.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        cost = loss(p, y)
        d = (p - y) / len(x) if dz2 is None else dz2(p, y)
        gradients = backward(P, x, a1, d)
        if after is not None:
            after(gradients, P, a1, d, x)
        return cost, gradients

    return function


def squared(p, y):
    return ((p - y) ** 2).sum() / len(p)


def entropy(p, y):
    return -(y * np.log(p)).sum() / len(p)


def test_the_gradient_of_cross_entropy_with_a_squared_error_cost():
    report = check_function(classifier(squared), network(3), X, ONE_HOT)
    assert report.verdict == "other_loss", str(report)
    assert [f.kind for f in report.faults] == ["loss_mismatch"]
    assert report.message.startswith(
        "your gradient is right for cross_entropy, but the loss you return is squared_error"
    )
    assert "your loss is squared_error over p, reduction mean_over_samples" in str(report)


def sigmoid_net(loss, dz2, hidden=lambda a1: a1):
    def function(P, x, y):
        a1 = np.tanh(np.dot(x, P["W1"]) + P["b1"])
        out = 1 / (1 + np.exp(-(np.dot(a1, P["W2"]) + P["b2"])))
        return loss(out, y), backward(P, x, a1, dz2(out, y))

    return function


@pytest.mark.parametrize(("reduce", "word", "n"), [(np.mean, "mean_over_samples", 7), (np.sum, "sum", 1)])
def test_a_sigmoid_with_bce_and_the_gradient_of_squared_error(reduce, word, n):
    function = sigmoid_net(
        lambda o, y: -reduce(y * np.log(o) + (1 - y) * np.log(1 - o)),
        lambda o, y: 2 * (o - y) * o * (1 - o) / n,
    )
    report = check_function(function, network(1), X, BITS)
    assert report.verdict == "other_loss", str(report)
    assert f"is right for squared_error over out, reduction {word}" in report.faults[0].detail
    assert f"bce over out, reduction {word}" in report.faults[0].evidence


@pytest.mark.parametrize(("reduce", "word", "n"), [(np.mean, "mean_over_samples", 7), (np.sum, "sum", 1)])
def test_a_right_function_is_told_which_loss_it_returns(reduce, word, n):
    function = sigmoid_net(
        lambda o, y: -reduce(y * np.log(o) + (1 - y) * np.log(1 - o)), lambda o, y: (o - y) / n
    )
    report = check_function(function, network(1), X, BITS)
    assert report.verdict == "right", str(report)
    assert f"note: your loss is bce over out, reduction {word}" in report.notes


def test_a_gradient_that_overwrites_its_probabilities():
    def function(P, x, y):
        hidden = np.maximum(0, x.dot(P["W1"]) + P["b1"])
        scores = hidden.dot(P["W2"]) + P["b2"]
        probs = np.exp(scores) / np.sum(np.exp(scores), axis=1, keepdims=True)
        data_loss = np.sum(-np.log(probs[range(len(x)), y])) / len(x)
        loss = data_loss + 0.5 * 0.3 * np.sum(P["W1"] * P["W1"]) + 0.5 * 0.3 * np.sum(P["W2"] * P["W2"])
        dscores = probs
        dscores[range(len(x)), y] -= 1
        dscores /= len(x)
        g = {"W2": np.dot(hidden.T, dscores) + 0.3 * P["W2"], "b2": np.sum(dscores, axis=0)}
        dhidden = np.dot(dscores, P["W2"].T)
        dhidden[hidden <= 0] = 0
        g["W1"], g["b1"] = np.dot(x.T, dhidden) + 0.3 * P["W1"], np.sum(dhidden, axis=0)
        return loss, g

    report = check_function(function, network(3), X, LABELS)
    assert report.verdict == "right", str(report)
    words = "cross_entropy over probs, reduction mean_over_samples, plus ½·0.3·Σθ² of W1 and W2"
    assert f"note: your loss is {words}" in report.notes


def test_samples_in_columns_of_a_class():
    class Net:
        def __init__(self):
            g = np.random.default_rng(3)
            self.W, self.b = g.normal(size=(2, 4)), g.normal(size=(2, 1))

        def train(self, X, Y):
            m = X.shape[1]
            A = np.tanh(self.W @ X + self.b)
            dZ = (A - Y) / m  # half the squared error would want 1 - A² too
            return np.sum(np.abs(A - Y)) / m, {"W": dZ @ X.T, "b": dZ.sum(axis=1, keepdims=True)}

    net = Net()
    report = check_function(net.train, {"W": net.W, "b": net.b}, X.T, REALS.T)
    assert report.verdict == "wrong", str(report)
    assert "note: your loss is absolute_error over A, reduction mean_over_samples" in report.notes


def test_a_loss_that_is_no_standard_one_is_said_to_be_none():
    def function(P, x, y):
        o = x @ P["w"]
        e = o - y
        return np.mean(np.log(np.cosh(e))), {"w": x.T @ np.tanh(e) / len(x)}

    report = check_function(function, {"w": np.array([0.3, -0.2, 0.5, 0.1])}, X, REALS[:, 0])
    assert report.verdict == "right", str(report)
    assert any("none of the standard losses" in note for note in report.notes)


def test_the_gradient_of_a_standard_loss_under_a_cost_that_is_none():
    def function(P, x, y):
        o = x @ P["w"]
        return np.mean(np.log(np.cosh(o - y))), {"w": 2 * x.T @ (o - y) / len(x)}

    report = check_function(function, {"w": np.array([0.3, -0.2, 0.5, 0.1])}, X, REALS[:, 0])
    assert report.verdict == "other_loss", str(report)
    assert "right for squared_error, but the loss you return is none" in report.message


def test_a_standard_loss_times_a_constant():
    def function(P, x, y):
        o = x @ P["w"]
        return 1.7 * np.sum((o - y) ** 2), {"w": 3.4 * x.T @ (o - y)}

    report = check_function(function, {"w": np.array([0.3, -0.2, 0.5, 0.1])}, X, REALS[:, 0])
    assert report.verdict == "right", str(report)
    assert any("squared_error over o, reduction sum, times 1.7" in note for note in report.notes)


def test_readings_that_are_the_same_number_are_all_told():
    def function(P, x, y):
        o = x @ P["W"]
        return np.sum((o - y) ** 2) / o.size, {"W": 2 * x.T @ (o - y) / o.size}

    report = check_function(function, {"W": network(2)["W1"][:, :2]}, X, REALS)
    note = next(n for n in report.notes if "your loss is" in n)
    assert "squared_error over o, reduction mean_over_all" in note
    assert ", or half_squared_error over o, reduction mean_over_samples" in note


def test_a_constant_beside_another_loss():
    function = sigmoid_net(
        lambda o, y: -np.mean(y * np.log(o) + (1 - y) * np.log(1 - o)),
        lambda o, y: 3 * 2 * (o - y) * o * (1 - o),
    )
    report = check_function(function, network(1), X, BITS)
    assert report.verdict == "wrong", str(report)
    assert [f.kind for f in report.faults] == ["loss_mismatch", "constant_factor"]
    assert "squared_error over out, reduction sum, times 3" in report.message


def test_targets_that_broadcast_in_the_loss():
    def function(P, x, y):
        o = x @ P["w"]
        e = o - y  # (7, 1) - (7,)
        return np.mean(e**2), {"w": 2 * x.T @ e.mean(axis=1, keepdims=True) / len(x)}

    report = check_function(function, {"w": network(1)["W1"][:, :1]}, X, REALS[:, 0])
    assert [f.kind for f in report.faults] == ["broadcast"], str(report)
    assert "squared_error over o broadcast to (7, 7)" in report.message


def test_a_penalty_whose_gradient_is_another_one():
    def function(P, x, y):
        s = x @ P["W"]
        m = np.maximum(0, s - s[np.arange(7), y].reshape(-1, 1) + 1)
        m[np.arange(7), y] = 0
        k = (m > 0) * 1.0
        k[np.arange(7), y] -= k.sum(axis=1)
        return m.sum() / 7 + 0.1 * np.sum(P["W"] ** 2), {"W": x.T @ k / 7 + 0.1 * P["W"]}

    report = check_function(function, {"W": network(3)["W1"][:, :3]}, X, LABELS)
    assert [f.kind for f in report.faults] == ["wrong_regulariser"], str(report)
    assert "plus -0.1·θ" in report.message
    assert "multiclass_hinge over s" in report.faults[0].evidence


def lost(gradients, P, a1, d, x):
    gradients["W1"] = x.T @ (d @ P["W2"].T)


def twice(gradients, P, a1, d, x):
    gradients["W1"] *= 1 + 1e-5


def turned(gradients, P, a1, d, x):
    gradients.update({n: -g for n, g in gradients.items()})


@pytest.mark.parametrize(
    ("slip", "kind"),
    [(lost, "missing_activation_derivative"), (twice, "constant_factor"), (turned, "sign")],
)
@pytest.mark.parametrize(("loss", "other"), [(squared, {"loss_mismatch"}), (entropy, set())])
def test_a_wrong_gradient_stays_wrong_whatever_the_loss(slip, kind, loss, other):
    report = check_function(classifier(loss, after=slip), network(3), X, ONE_HOT)
    assert report.verdict == "wrong", str(report)
    sets = [{f.kind for f in faults} for faults in [report.faults, *report.alternatives]]
    assert {kind} | other in sets, str(report)


@pytest.mark.parametrize("returned", [True, False])
def test_where_tracing_fails_the_value_is_compared_with_the_returned_output(returned):
    def function(params, x, t):
        out = np.frombuffer((x @ params["w"]).tobytes())  # no graph goes through bytes
        e = out - t
        loss, gradients = (e**2).mean(), {"w": 2 * x.T @ e / len(t)}
        return (loss, gradients, out) if returned else (loss, gradients)

    report = check_function(function, {"w": np.array([0.3, -0.2, 0.5, 0.1])}, X, REALS[:, 0])
    assert report.verdict == "right", str(report)
    assert "tracing failed" in report.method
    said = " ".join(report.notes)
    assert ("squared_error over the output" in said) is returned
    assert ("return the output too" in said) is not returned


def test_data_that_is_several_arrays_is_no_reason_to_stop():
    """x = (queries, keys) of different lengths: no standard loss is over them, and the gradient is judged."""
    g = np.random.default_rng(7)
    queries, keys, y = g.normal(size=(5, 3)), g.normal(size=(7, 3)), g.normal(size=(5, 7))

    def f(p, x, y, factor=2.0):
        a, b = x
        gap = a @ p["W"] @ b.T - y
        return np.mean(gap**2), {"W": factor * a.T @ gap @ b / gap.size}

    parameters = {"W": g.normal(size=(3, 3))}
    assert check_function(f, parameters, (queries, keys), y).verdict == "right"
    assert check_function(f, parameters, (queries, keys), y, factor=1.0).verdict == "scaled"
