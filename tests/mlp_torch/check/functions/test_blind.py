"""What a blind evaluation found: slips that passed, right gradients that did not, and words that misled."""

import sys

import numpy as np
import pytest

from mlp_torch import check_function

r = np.random.default_rng(3)
X, Y = r.normal(size=(6, 3)), np.array([1.0, 0, 1, 1, 0, 1])


def stable_bce(p_of, penalty=0.0):
    def function(p, x, y):
        z, w = x @ p["w"], p["w"]
        loss = np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))) + penalty * np.abs(w).sum()
        return loss, {"w": x.T @ (p_of(z) - y) / 6 + penalty * np.sign(w)}

    return function


@pytest.mark.parametrize("penalty", [0.0, 0.1])
@pytest.mark.parametrize(
    ("p_of", "verdict"),
    [
        (lambda z: 1 / (1 + np.exp(-z)), True),
        (lambda z: 1.0 * (z >= 0), False),
        (lambda z: 1.0 * (z > 0), False),
    ],
)
def test_kinks_of_one_operand_are_taken_together(p_of, verdict, penalty):
    report = check_function(stable_bce(p_of, penalty), {"w": np.zeros(3)}, X, Y)
    assert (report.verdict == "right") is verdict, str(report)


@pytest.mark.parametrize(("slope", "verdict"), [(1.0, True), (0.0, False), (2.0, False), (0.5, False)])
def test_kinks_that_cancel_leave_one_derivative(slope, verdict):
    def function(p, x, y):
        z = x @ p["w"]
        return np.sum(np.maximum(z, 0) - np.maximum(-z, 0)), {"w": slope * x.sum(axis=0)}

    report = check_function(function, {"w": np.zeros(3)}, X, Y)
    assert (report.verdict == "right") is verdict, str(report)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ((50.0, 0), "wrong"),
        ((-6.0, -3), "right"),
        ((6.0, 3), "right"),
        ((0.0, 0), "right"),
        ((9, 0), "wrong"),
    ],
)
def test_a_loss_of_0_at_a_kink(given, verdict):
    def function(p, x, y):
        e = np.abs(p[0] * x + p[1] - y).sum()
        side = np.sign(p[0] * x + p[1] - y)
        beside = np.array([(side * x).sum(), side.sum()])
        return e, np.where(side.any(), beside, np.array(given, dtype=float))

    report = check_function(function, np.array([2.0, 0.0]), np.array([1.0, 2, 3]), np.array([2.0, 4, 6]))
    assert (report.verdict == "right") is (verdict == "right"), str(report)


@pytest.mark.parametrize(
    ("slope", "right"), [(2.0, True), (4.0, True), (3.0, True), (0.0, False), (5.0, False), (2.5, False)]
)
def test_two_kinks_of_python_s_max_on_one_line(slope, right):
    def function(p, x, y):
        z = (x @ p["w"])[0]
        at = slope if z == 0 else 3.0 + np.sign(z)
        return max(z, 0) + max(-z, 0) + 3 * z, {"w": at * x[0]}

    report = check_function(function, {"w": np.array([0.5, -1.0])}, np.array([[2.0, 1.0]]), np.zeros(1))
    assert (report.verdict == "right") is right, str(report)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("at", ["above", "below"])
def test_a_hinge_in_a_loop(at, sign):
    def function(p, x, y):
        L, g = 0.0, np.zeros(2)
        for a, b in zip(x, y, strict=True):
            m = 1 - b * (a @ p["w"])
            L += max(0, m)
            if m >= 0 if at == "above" else m > 0:
                g -= b * a
        return L / 4, {"w": sign * g / 4}

    x, y = np.array([[1.0, 0], [0, 1], [1, 1], [2, 1]]), np.array([1.0, 1, 1, -1])
    report = check_function(function, {"w": np.ones(2)}, x, y)
    assert (report.verdict == "right") is (sign == 1), str(report)
    assert "0 up to the rounding" not in str(report)


@pytest.mark.parametrize("slip", [0.0, 1.0])
def test_a_perceptron_from_zero_weights(slip):
    def function(p, x, y):
        L, dw, db = 0.0, np.zeros(3), slip * np.ones(1)
        for xi, yi in zip(x, y, strict=True):
            m = -yi * (xi @ p["w"] + p["b"][0])
            L += max(0.0, m)
            if m > 0:
                dw -= yi * xi
                db -= yi
        return L, {"w": dw + slip * 100, "b": db}

    report = check_function(function, {"w": np.zeros(3), "b": np.zeros(1)}, X, 2 * Y - 1)
    assert (report.verdict == "right") is (slip == 0), str(report)


@pytest.mark.parametrize("slip", [1.0, 2.0, -1.0])
@pytest.mark.parametrize("distance", [1e-6, 1e-9, 1e-12])
def test_beside_a_kink(distance, slip):
    def function(p, x, y):
        z = x @ p["w"]
        e = np.maximum(z, 0) - y
        return 0.5 * e @ e, {"w": slip * x.T @ (e * (z > 0))}

    x, y = np.array([[1.0, 1], [1, -2], [0.5, 2]]), np.array([0.3, 0.4, 1.0])
    report = check_function(function, {"w": np.array([0.3, -0.3 + distance])}, x, y)
    assert (report.verdict == "right") is (slip == 1), str(report)


@pytest.mark.parametrize("slip", [1.0, 3.0, 1 + 1e-9])
def test_a_rounded_loss(slip):
    def function(p, x, y):
        d = x @ p["w"] - y
        return round(float(d @ d / 8), 2), {"w": slip * x.T @ d / 4}

    report = check_function(function, {"w": r.normal(size=3)}, X, Y)
    assert (report.verdict == "right") is (slip == 1), str(report)
    assert "your loss is rounded to 2 digits (test_blind.py" in str(report)


def test_a_rounded_loss_without_a_trace():
    def function(p, x, y):
        d = np.frombuffer((x @ p["w"] - y).tobytes())
        return round(float(d @ d / 8), 3), {"w": 3 * x.T @ d / 4}

    report = check_function(function, {"w": r.normal(size=3)}, X, Y)
    assert report.verdict == "not_comparable", str(report)
    assert "rounded to 3 digits" in report.message


@pytest.mark.parametrize("slip", [1.0, 1.08])
def test_half_precision_inside(slip):
    def function(p, x, y):
        d = (x.astype(np.float16) @ p["W"].astype(np.float16)) + p["b"] - y
        return (d**2).mean(), {"W": x.T @ d / 6, "b": slip * d.sum(0) / 6}

    report = check_function(
        function, {"W": r.normal(size=(3, 2)), "b": r.normal(size=2)}, X, r.normal(size=(6, 2))
    )
    assert report.arrays["W"].verdict == "right", str(report)
    assert (report.arrays["b"].verdict == "right") is (slip == 1), str(report)


def squares(p, x, y):
    e = x @ p["w"] - y
    return (e**2).sum(), {"w": 2 * x.T @ e}


def test_an_empty_batch():
    check_function(squares, {"w": np.ones(3)}, np.zeros((0, 3)), np.zeros(0))


def test_an_exit_while_tracing():
    def function(p, x, y):
        if type(p["w"]) is not np.ndarray:
            sys.exit("no array")
        return squares(p, x, y)

    assert check_function(function, {"w": r.normal(size=3)}, X, Y).verdict == "right"


def test_a_small_gradient_is_no_sum_over_axes():
    def function(p, x, y):
        d = x @ p["W"] - y
        return 1e-13 * (d**2).sum(), {"W": 2e-13 * x.T @ d * np.array([1, 1, 1.01])}

    report = check_function(function, {"W": r.normal(size=(3, 3))}, X, r.normal(size=(6, 3)))
    assert report.verdict == "wrong", str(report)
    assert "sum over all axes" not in str(report)


def test_a_loss_is_no_other_than_itself():
    def function(p, x, y):
        z = x @ p["W1"]
        h = np.where(z > 0, z, np.exp(z) - 1)
        e = h @ p["w2"] - y
        up = np.outer(2 * e / 6, p["w2"])
        return (e**2).mean(), {"W1": x.T @ (up * np.where(z > 0, 1, h + 2)), "w2": h.T @ (2 * e / 6)}

    report = check_function(function, {"W1": np.zeros((3, 4)), "w2": r.normal(size=4)}, X, Y)
    assert not report.passed
    assert "right for squared_error" not in report.message, str(report)


def test_labels_that_are_words():
    def function(p, x, y):
        return squares(p, x, (y == "cat") * 1.0)

    report = check_function(function, {"w": r.normal(size=3)}, X, np.array(["cat", "dog"] * 3))
    assert report.verdict == "right", str(report)


@pytest.mark.parametrize("factor", [2.0, 1.0000012])
def test_a_factor_is_said_once(factor):
    def function(p, x, y):
        loss, g = squares(p, x, y)
        return loss, {"w": factor * g["w"]}

    report = check_function(function, {"w": r.normal(size=3)}, X, Y)
    assert not report.passed
    assert "2 = 2" not in str(report)
    assert "times 1." not in str(report)


@pytest.mark.parametrize("slip", [1.0, 2.0, -1.0, 1 + 1e-6])
def test_a_saturated_sigmoid_rounds(slip):
    def function(p, x, y):
        h = 1 / (1 + np.exp(-(x @ p["W"])))
        e = h @ p["v"] - y
        dW = x.T @ (np.outer(2 * e / 9, p["v"]) * h * (1 - h))
        return (e**2).mean(), {"W": slip * dW, "v": 2 * h.T @ e / 9}

    g = np.random.default_rng(0)
    x, y = np.abs(g.normal(size=(9, 2))) + 1, g.normal(size=9)
    report = check_function(function, {"W": 4 + 0.1 * g.normal(size=(2, 3)), "v": g.normal(size=3)}, x, y)
    assert (report.verdict == "right") is (slip == 1), str(report)
    assert slip != 1 or "1 − h where h is near 1" in str(report)


@pytest.mark.parametrize("slip", [1.0, 2.0, -1.0])
@pytest.mark.parametrize("steep", [8.0, 12.0])
def test_a_confident_softmax_rounds(slip, steep):
    def function(p, x, y):
        z = x @ p["W"]
        z = z - z.max(axis=1, keepdims=True)
        q = np.exp(z)
        q = q / q.sum(axis=1, keepdims=True)
        d = q.copy()
        d[np.arange(9), y] -= 1
        return -np.log(q[np.arange(9), y]).mean(), {"W": slip * x.T @ d / 9}

    g = np.random.default_rng(0)
    x = np.abs(g.normal(size=(9, 2))) + 1
    p = {"W": np.array([[steep, 0, 1], [steep, 1, 0]])}
    report = check_function(function, p, x, np.zeros(9, int))
    assert report.verdict in (
        ("right", "not_comparable") if slip == 1 else ("wrong", "scaled", "other_loss")
    ), str(report)
    assert steep != 8 or slip != 1 or report.verdict == "right"


@pytest.mark.parametrize("kept", ["first", "last", "none"])
def test_a_gradient_of_an_earlier_call(kept):
    cache = {}

    def function(p, x, y):
        a = np.tanh(x @ p["W"])
        old = cache.get("a", a)
        if kept == "last" or not cache:
            cache["a"] = a
        s = a if kept == "none" else old
        return 0.5 * ((a - y) ** 2).sum(), {"W": x.T @ ((a - y) * (1 - s**2))}

    report = check_function(function, {"W": r.normal(size=(3, 2))}, X, r.normal(size=(6, 2)))
    assert (report.verdict == "right") is (kept == "none"), str(report)
    assert kept == "none" or "wrong at others" in report.message


def test_a_constant_that_is_one_side_of_a_kink_by_chance_is_not_right():
    r = np.random.default_rng(3)
    x, y = 5 * r.normal(size=(6, 3)), r.integers(0, 2, 6)

    def f(p, x, y):
        z = x @ p["w"] + p["b"]
        loss = np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))  # smooth: softplus(z) − zy
        return loss, {"w": x.T @ (0 * z - y) / 6, "b": float(np.mean(0 * z - y))}

    report = check_function(f, {"w": np.zeros(3), "b": 0.0}, x, y, timeout=0.1)
    assert report.verdict == "not_comparable", str(report)
    assert "the same at other parameters, and wrong there" in report.message
