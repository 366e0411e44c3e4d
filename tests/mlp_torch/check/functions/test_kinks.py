"""At a kink both one-sided derivatives are right, and no others: it is found, named, and swallows nothing."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from mlp_torch import check_function

r = np.random.default_rng(0)
X, Y = r.normal(size=(6, 3)), np.array([1.0, -1, 1, 1, -1, -1])
TIES = np.array([[1.0, -1], [1, 1], [2, -2]]), np.array([[1.0], [0], [1]])
P = {"W1": np.array([[1.0, 1], [1, -1]]), "W2": np.array([[1.0], [-1]])}


def relu_net(slope, sign=1.0):
    def function(p, x, y):
        z1 = x @ p["W1"]
        a = np.maximum(z1, 0)
        d = 2 * (a @ p["W2"] - y) / 3
        dz = (d @ p["W2"].T) * slope(z1)
        return np.sum((a @ p["W2"] - y) ** 2) / 3, {"W1": sign * x.T @ dz, "W2": a.T @ d}

    return function


SIDES = {
    "from below": lambda z: z > 0,
    "from above": lambda z: z >= 0,
    "the mean of both sides": lambda z: 0.5 * (z > 0) + 0.5 * (z >= 0),
}


@pytest.mark.parametrize("side", list(SIDES))
def test_either_side_and_their_mean_are_right_and_the_kink_is_named(side):
    function = relu_net(SIDES[side])
    report = check_function(function, P, *TIES)
    assert report.verdict == "right", str(report)
    line = inspect.getsourcelines(function)[1] + 2
    assert (
        f"z1[0, 0] and 2 more entries lie on the corner of np.maximum ({Path(__file__).name}:{line})"
        in str(report)
    )
    assert f"your derivative there is {side}" in str(report)


@pytest.mark.parametrize("side", list(SIDES))
def test_the_wrong_sign_at_a_kink_is_wrong(side):
    assert check_function(relu_net(SIDES[side], -1.0), P, *TIES).verdict == "wrong"


def test_a_factor_at_a_kink_is_wrong_and_the_search_for_its_line_comes_to_an_end():
    report = check_function(relu_net(lambda z: 2.0 * (z > 0)), P, *TIES, timeout=60)
    assert report.verdict == "wrong"
    assert report.lines


def test_between_the_sides_is_not_comparable_and_the_remedy_is_said():
    report = check_function(relu_net(lambda z: (z > 0) + 0.3 * (z == 0)), P, *TIES)
    assert report.verdict == "not_comparable", str(report)
    assert "between the one-sided derivatives" in report.message
    assert "move the data or the parameters off the kink" in report.message


@pytest.mark.parametrize(
    ("at_zero", "verdict"), [(0.0, "right"), (1.0, "right"), (-1.0, "right"), (1.5, "wrong"), (-4.0, "wrong")]
)
def test_a_lasso_at_zero(at_zero, verdict):
    def function(p, x, y):
        e, w = x @ p["w"] - y, p["w"]
        slope = np.sign(w) + at_zero * (w == 0)
        return np.mean(e**2) + 0.1 * np.abs(w).sum(), {"w": 2 * x.T @ e / len(y) + 0.1 * slope}

    report = check_function(function, {"w": np.array([0.0, 0.5, 0.0])}, X, Y)
    assert report.verdict == verdict, str(report)
    assert "w[0] and 1 more entries lie on the corner of np.abs" in str(report)


def hinge(slip):
    def function(p, x, y):
        margin = 1 - y * (x @ p["w"])
        on = margin > 0
        return np.mean(np.maximum(0, margin)), {"w": -slip * x.T @ (y * on) / len(y)}

    return function


@pytest.mark.parametrize(("slip", "verdict"), [(1.0, "right"), (-1.0, "wrong"), (1 + 1e-6, "wrong")])
def test_a_hinge_on_its_margin(slip, verdict):
    x = X.copy()
    x[0] = 1, 0, 0
    report = check_function(hinge(slip), {"w": np.array([1.0, 0.2, 0])}, x, Y)
    assert report.verdict == verdict, str(report)
    assert "margin[0] lies on the corner of np.maximum" in str(report)


@pytest.mark.parametrize("way", ["first", "last", "share"])
def test_a_maximum_that_is_reached_twice(way):
    def function(p, x, y):
        z = x @ p["W"]
        top = z == z.max(axis=1, keepdims=True)
        d = top / top.sum(axis=1, keepdims=True)
        if way != "share":
            place = z.argmax(axis=1) if way == "first" else z.shape[1] - 1 - z[:, ::-1].argmax(axis=1)
            d = np.eye(z.shape[1])[place]
        return z.max(axis=1).mean(), {"W": x.T @ d / len(x)}

    report = check_function(function, {"W": np.ones((3, 4))}, X, Y)
    assert report.verdict == "right", str(report)
    assert "reached twice" in str(report)


def test_labels_that_are_compared_are_no_kink():
    def function(p, x, y):
        s = x @ p["w"]
        terms = np.where(y == 1, np.log1p(np.exp(-s)), np.log1p(np.exp(s)))
        return terms.mean(), {
            "w": x.T @ np.where(y == 1, -1 / (1 + np.exp(s)), 1 / (1 + np.exp(-s))) / len(y)
        }

    report = check_function(function, {"w": r.normal(size=3)}, X, Y)
    assert report.verdict == "right", str(report)
    assert "kink" not in str(report)


def test_a_relu_that_is_written_as_a_mask():
    def function(p, x, y):
        z = x @ p["w"]
        on = z > 0
        return np.sum(z * on), {"w": x.T @ (z >= 0)}

    report = check_function(function, {"w": np.zeros(3)}, X, Y)
    assert report.verdict == "right", str(report)
    assert "z[0] and 5 more entries lie on the corner of >" in str(report)


def test_a_kink_that_no_trace_sees_is_not_comparable():
    def function(p, x, y):
        z = np.frombuffer((x @ p["w"]).tobytes())
        return np.sum(np.maximum(z, 0)) + 1e-9 * np.sum(p["w"]), {"w": -x.T @ (1.0 * (z > 0))}

    x = np.concatenate([X, -X])
    report = check_function(function, {"w": np.zeros(3)}, x, Y)
    assert not report.passed, str(report)
    assert "tracing failed" in report.method


def test_distances_to_oneself_have_no_slope():
    def function(p, x, y):
        a = p["a"]
        d = a[:, None] - a[None]
        far = np.sqrt((d * d).sum(axis=-1))
        inverse = np.divide(1.0, far, where=far > 0, out=np.zeros_like(far))
        return far.sum(), {"a": 2 * (d * inverse[..., None]).sum(axis=1)}

    assert check_function(function, {"a": r.normal(size=(4, 3))}, X, Y).verdict == "right"


def test_a_helper_s_side_is_that_of_every_layer():
    def relu(z):
        return np.where(z > 0, z, 0)

    def function(p, x, y):
        z1 = x @ p["W1"]
        z2 = relu(z1) @ p["W2"]
        e = relu(z2)[:, 0] - y
        d = (2 * e / len(y))[:, None] * (z2 >= 0)
        return np.mean(e**2), {"W2": relu(z1).T @ d, "W1": x.T @ ((d @ p["W2"].T) * (z1 >= 0))}

    p = {"W1": np.zeros((3, 4)), "W2": r.normal(size=(4, 1))}
    report = check_function(function, p, X, Y)
    assert report.verdict == "right", str(report)
    assert 0 < report.resolution < 1e-10


def test_two_lines_may_take_two_sides():
    def function(p, x, y):
        z1 = x @ p["W1"]
        a1 = np.maximum(z1, 0)
        z2 = a1 @ p["W2"]
        a2 = np.maximum(z2, 0)
        e = a2[:, 0] - y
        d = (2 * e / len(y))[:, None] * (z2 >= 0)
        return np.mean(e**2), {"W2": a1.T @ d, "W1": x.T @ ((d @ p["W2"].T) * (z1 > 0))}

    W1 = r.normal(size=(3, 4))
    W1[:, 1] = 0
    report = check_function(function, {"W1": W1, "W2": np.array([[0.0], [1], [0], [0]])}, X, Y)
    assert report.verdict == "right", str(report)
