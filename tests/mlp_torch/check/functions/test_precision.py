"""Coarse dtypes, saturation, kinks nearer than differences see: a formula is judged, not its rounding."""

import numpy as np
import pytest

from mlp_torch import check_function
from mlp_torch.check.functions.decimals import Wide
from mlp_torch.check.functions.derivative import _straddles

r = np.random.default_rng(4)
X, Y = r.normal(size=(7, 4)), r.normal(size=(7, 2))
P = {"W": r.normal(size=(4, 2)), "b": r.normal(size=2)}


def cast(dtype, back, w=1.0, b=1.0, entry=1.0):
    """A forward pass with one product in `dtype`, and a backward pass with casts or without."""

    def function(p, x, y):
        z = (x.astype(dtype) @ p["W"].astype(dtype)).astype(float) + p["b"]
        d = np.tanh(z) - y
        dz = d * (1 - np.tanh(z) ** 2)
        dW = (x.astype(dtype).T @ dz.astype(dtype)).astype(float) if back else x.T @ dz
        dW[1, 1] *= entry
        return 0.5 * np.sum(d * d), {"W": w * dW, "b": b * dz.sum(axis=0)}

    return function


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_right_gradient_with_a_cast_is_right(dtype, back):
    assert check_function(cast(dtype, back), P, X, Y).verdict == "right"


@pytest.mark.parametrize("slip", [{"w": 1.01}, {"b": 1.01}, {"b": 0.99}, {"entry": 1.02}, {"w": 1.005}])
@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_slip_beside_a_cast_is_wrong_in_its_own_array(dtype, back, slip):
    report = check_function(cast(dtype, back, **slip), P, X, Y)
    wrong = {n for n, row in report.arrays.items() if row.verdict != "right"}
    assert wrong == ({"b"} if "b" in slip else {"W"}), str(report)


@pytest.mark.parametrize("slip", [1e-5, 1e-9])
def test_an_array_that_no_coarse_dtype_reaches_is_judged_in_float64(slip):
    def function(p, x, y):
        d = x @ p["W"] + p["b"] - y
        return np.float32(np.sum(d * d)), {"W": 2 * x.T @ d, "b": 2 * (1 + slip) * d.sum(axis=0)}

    report = check_function(function, P, X, Y)
    assert report.arrays["W"].verdict == "right", str(report)
    assert report.arrays["b"].verdict in ("scaled", "wrong"), str(report)


@pytest.mark.parametrize(("slip", "right"), [(0.0, True), (3e-6, False)])
def test_parameters_in_single_are_judged_by_their_formula(slip, right):
    p = {n: v.astype(np.float32) for n, v in P.items()}

    def function(p, x, y):
        d = x @ p["W"] + p["b"] - y
        return np.sum(d * d), {"W": 2 * x.T @ d, "b": (2 * d.sum(axis=0) * (1 + slip)).astype(np.float32)}

    report = check_function(function, p, X.astype(np.float32), Y.astype(np.float32))
    assert (report.verdict == "right") is right, str(report)


def saturated(p, x, y, slip=1.0):
    h = 1 / (1 + np.exp(-(x @ p["W1"])))
    s = 1 / (1 + np.exp(-h @ p["w2"]))
    d = (s - y) / len(y)
    dW1 = slip * x.T @ (np.outer(d, p["w2"]) * h * (1 - h))
    return -(y * np.log(s) + (1 - y) * np.log(1 - s)).mean(), {"W1": dW1, "w2": h.T @ d}


@pytest.mark.parametrize("weight", [5.0, 20.0, 200.0])
@pytest.mark.parametrize(("slip", "right"), [(1.0, True), (1.001, False), (-1.0, False)])
def test_saturation_beyond_longdouble(weight, slip, right):
    g = np.random.default_rng(3)
    x, y = g.normal(size=(9, 2)), g.integers(0, 2, 9)
    p = {"W1": weight + g.normal(size=(2, 3)), "w2": g.normal(size=3)}
    report = check_function(lambda *a: saturated(*a, slip), p, x, y)
    assert (report.verdict in ("right", "not_comparable")) is right, str(report)


def test_a_softmax_that_is_1_is_no_other_loss():
    def function(p, x, y):
        s = x @ p["W"]
        q = np.exp(s - s.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        d = q.copy()
        d[np.arange(9), y] -= 1
        return -np.log(q[np.arange(9), y]).mean(), {"W": x.T @ d / 9}

    x = np.abs(np.random.default_rng(0).normal(size=(9, 2))) + 1
    p = {"W": np.array([[20.0, 0, 1], [18, 1, 0]])}
    report = check_function(function, p, x, np.zeros(9, int))
    assert report.verdict == "not_comparable", str(report)
    assert "loses digits" in report.message


@pytest.mark.parametrize(
    "name", ["exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "tanh", "sinh", "cosh"]
)
def test_decimals_are_the_numbers_that_numpy_gives(name):
    v = np.array([0.3, 1.7, 2.5])
    wide = np.vectorize(Wide.of, otypes=[object])(v)
    np.testing.assert_allclose(getattr(np, name)(wide).astype(float), getattr(np, name)(v), rtol=1e-14)
    np.testing.assert_allclose((2 - wide * v / 3 + wide**2).astype(float), 2 - v * v / 3 + v**2, rtol=1e-14)


def leaky(at_zero, slope=2.0):
    def function(w, x, y):
        L, ga, gb = 0.0, 0.0, 0.0
        for a, b in zip(x, y, strict=True):
            z = w[0] * a
            h = float(repr(float(z if z > 0 else 0.1 * z)))  # text: nothing follows it
            e = h + w[1] * a - b
            L += e * e
            ga += 2 * e * a * (at_zero if at_zero is not None else 1 if z > 0 else 0.1)
            gb += slope * e * a
        return L, [ga, gb]

    return function


@pytest.mark.parametrize("near", [0.0, 1e-9, 1e-7, -1e-9])
@pytest.mark.parametrize("at_zero", [None, 0.55])
def test_a_kink_within_the_differences_is_named(near, at_zero):
    report = check_function(leaky(at_zero), [near, 0.2], np.array([1.0, -2, 0.5]), np.array([0.3, 0.4, 1]))
    assert report.verdict == "not_comparable", str(report)
    assert "kink next to w[0]" in report.message


def test_a_kink_hides_no_other_slip():
    report = check_function(leaky(None, 2.1), [1e-9, 0.2], np.array([1.0, -2, 0.5]), np.array([0.3, 0.4, 1]))
    assert report.verdict == "wrong", str(report)


@pytest.mark.parametrize(
    "along", [np.sin, np.cos, np.exp, lambda t: 1e6 * t**2, lambda t: (1 + t) ** 9, np.arctan]
)
def test_a_curve_is_no_kink(along):
    assert not _straddles(along, float(along(0.0)), 2.0**-52 * abs(float(along(0.0))))


@pytest.mark.parametrize("at", [0.0, 1e-12, 1e-9, 1e-7, 3e-5, 3e-4])
@pytest.mark.parametrize("jump", [1.0, 0.1, 0.01])
def test_a_corner_is_a_kink(at, jump):
    def along(t):
        return np.exp(t) + jump * abs(t - at)

    assert _straddles(along, float(along(0.0)), 2.0**-52)


@pytest.mark.parametrize(("slope", "right"), [(lambda h: 1 - h * h, True), (lambda h: 1 - h, False)])
def test_a_gradient_below_the_rounding_of_what_cancels_is_not_any(slope, right):
    def function(p, x, y):
        h = np.tanh(x @ p["W"])
        e = h @ p["v"] - y
        return 0.5 * np.sum(e * e), {"W": x.T @ (np.outer(e, p["v"]) * slope(h)), "v": h.T @ e}

    g = np.random.default_rng(23)
    p = {"W": 30 + g.normal(size=(2, 3)), "v": g.normal(size=3)}
    report = check_function(function, p, np.abs(g.normal(size=(6, 2))), g.normal(size=6))
    assert (report.arrays["W"].verdict == "right") is right, str(report)
    assert report.arrays["v"].verdict == "right"


@pytest.mark.parametrize(
    ("shift", "share", "verdict"),
    [(0.0, None, "right"), (0.0, 1 / 7, "not_comparable"), (1e-13, None, "wrong"), (1e-13, 1 / 7, "wrong")],
)
def test_a_bias_that_cancels_is_0_in_decimals(shift, share, verdict):
    def function(p, x, y):
        z = x @ p["W"] + p["b"]
        c = z - z.mean(axis=0)
        e = np.tanh(c) - y
        d = e * (1 - np.tanh(c) ** 2)
        d = d - (d.mean(axis=0) if share is None else d.sum(axis=0) * share)
        return 0.5 * np.sum(e * e), {"W": x.T @ d, "b": d.sum(axis=0) + shift}

    report = check_function(function, P, X, Y)
    assert report.verdict == verdict, str(report)
