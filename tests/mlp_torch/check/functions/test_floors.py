"""What is rounding and what is not: nothing else makes a gradient right, nothing less makes it wrong."""

import random

import numpy as np
import pytest

from mlp_torch import check_function

r = np.random.default_rng(0)
X, Y = r.normal(size=(6, 3)), r.normal(size=6)
W = {"w": np.array([0.3, -0.2, 0.5])}


def squares(p, x, y):
    e = x @ p["w"] - y
    return np.mean(e**2), {"w": 2 * x.T @ e / len(y)}


def with_gradient(function, change):
    def changed(p, x, y):
        loss, gradients = function(p, x, y)
        change(gradients)
        return loss, gradients

    return changed


@pytest.mark.parametrize("slip", [1e-4, 1e-6, 1e-8, 1e-10, 3e-12])
def test_a_slip_that_no_difference_sees_is_seen(slip):
    def slipped(g):
        g["w"][0] *= 1 + slip * np.linalg.norm(g["w"]) / abs(g["w"][0])

    report = check_function(with_gradient(squares, slipped), W, X, Y)
    assert report.verdict == "wrong", str(report)
    assert report.resolution < 3e-12
    assert "slips down to 1e-12 seen" in str(report).splitlines()[0]


def test_a_gradient_of_1e_305_has_a_sign():
    def function(p, x, y):
        return np.mean(x @ p["w"]) * 1e-305, {"w": -x.mean(axis=0) * 1e-305}

    report = check_function(function, W, X, Y)
    assert [f.kind for f in report.faults] == ["sign"], str(report)


@pytest.mark.parametrize("traced", [True, False])
def test_a_true_gradient_of_0(traced):
    def function(p, x, y):
        o = x @ p["w"] + p["dead"].sum() * 0.0
        if not traced:
            o = np.frombuffer(o.tobytes())
        e = o - y
        g = 2 * x.T @ e / len(y)
        return np.mean(e**2), {"w": g, "dead": np.zeros(4), "unused": np.zeros(2)}

    report = check_function(function, {**W, "dead": np.ones(4), "unused": np.ones(2)}, X, 1e3 * Y)
    assert report.verdict == "right", str(report)


def normed(slip=1.0):
    def function(p, x, y):
        z = x @ p["W"] + p["b"]
        s = np.sqrt(z.var(axis=0) + 1e-5)
        h = (z - z.mean(axis=0)) / s
        e = h @ p["u"] - y
        do = 2 * e / len(y)
        dh = np.outer(do, p["u"])
        dz = (dh - dh.mean(axis=0) - h * (dh * h).mean(axis=0)) / s
        db = dz.sum(axis=0) if slip == 1.0 else slip * dh.sum(axis=0)
        return np.mean(e**2), {"W": x.T @ dz, "b": db, "u": h.T @ do}

    return function


def test_a_bias_before_batch_norm_is_0_up_to_rounding():
    p = {"W": r.normal(size=(3, 4)), "b": r.normal(size=4), "u": r.normal(size=4)}
    report = check_function(normed(), p, X, 1e3 * Y)
    assert report.verdict == "right", str(report)
    assert "0 up to the rounding of what cancels: db" in str(report)
    assert check_function(normed(1e-6), p, X, 1e3 * Y).verdict == "wrong"


def test_a_slope_that_is_more_accurate_than_ours():
    def function(p, x, y):
        z = np.abs(x) @ p["w"]
        e = np.tanh(z) - y
        return np.mean(e**2), {"w": np.abs(x).T @ (2 * e / len(y) / np.cosh(z) ** 2)}

    report = check_function(function, {"w": np.array([20.0, 10, 15])}, X, Y)
    assert report.verdict == "right", str(report)


def in_single(slip=1.0):
    def function(p, x, y):
        w, x, y = p["w"].astype(np.float32), x.astype(np.float32), y.astype(np.float32)
        e = x @ w - y
        return np.mean(e**2), {"w": np.float64(slip) * (2 * x.T @ e / np.float32(len(y))).astype(np.float64)}

    return function


@pytest.mark.parametrize(("slip", "verdict"), [(1.0, "right"), (1.001, "scaled"), (-1.0, "wrong")])
def test_parameters_that_the_code_casts_to_single(slip, verdict):
    report = check_function(in_single(slip), W, X, Y)
    assert report.verdict == verdict, str(report)
    assert report.resolution > 1e-7


@pytest.mark.parametrize(("slip", "verdict"), [(1.0, "right"), (1.01, "wrong")])
def test_data_in_single_that_is_averaged_in_single(slip, verdict):
    def function(p, x, y):
        d = x - x.mean(axis=0)
        return squares({"w": p["w"] * 1}, d / d.std(axis=0), y)

    x = X.astype(np.float32) + np.float32(3)

    def change(g):
        g["w"][0] *= slip

    report = check_function(with_gradient(function, change), W, x, Y)
    assert (report.verdict, report.method) == (verdict, "autograd of your own forward pass"), str(report)


def test_an_epsilon_in_one_pass_only_is_said():
    def function(p, x, y):
        s = 1 / (1 + np.exp(-(x @ p["w"])))
        t = 1.0 * (y > 0)
        return -np.mean(t * np.log(s + 1e-8) + (1 - t) * np.log(1 - s + 1e-8)), {"w": x.T @ (s - t) / len(y)}

    report = check_function(function, W, X, Y)
    assert report.verdict == "wrong", str(report)
    assert "what an ε leaves" in str(report)


def test_a_generator_that_goes_on_is_not_comparable():
    generator = np.random.default_rng(3)

    def function(p, x, y):
        return squares(p, x * (generator.random(x.shape) < 0.5) / 0.5, y)

    report = check_function(function, W, X, Y)
    assert report.verdict == "not_comparable", str(report)
    assert "draws new random numbers in every call" in report.message
    assert "pass a seed" in report.message.lower()


def test_a_generator_without_a_seed_is_not_comparable():
    def function(p, x, y):
        return squares(p, x * (np.random.default_rng().random(x.shape) < 0.5) / 0.5, y)

    assert check_function(function, W, X, Y).verdict == "not_comparable"


def test_the_global_generators_are_seeded():
    def function(p, x, y):
        return squares(p, x * (np.random.rand(*x.shape) < 0.5) * random.choice([1.0, 3.0]), y)

    report = check_function(function, W, X, Y)
    assert (report.verdict, report.method) == ("right", "autograd of your own forward pass")


def test_a_state_that_is_kept_is_no_random_number():
    kept = {"calls": 0}

    def function(p, x, y):
        kept["calls"] += 1
        loss, g = squares(p, x, y)
        return loss + kept["calls"], {"w": g["w"] * kept["calls"]}

    report = check_function(function, W, X, Y)
    assert report.verdict == "wrong", str(report)
    assert "random" not in report.message


def test_what_is_never_differentiated_is_named():
    def function(p, x, y):
        loss, g = squares(p, x, y)
        return loss, {**g, "order": None, "phase": p["phase"]}

    report = check_function(function, {**W, "order": np.array([2, 1]), "phase": np.array([1j])}, X, Y)
    assert report.verdict == "right", str(report)
    assert report.message.startswith("dw:")
    assert "order has no gradient and was taken for a constant" in str(report)
    assert "never differentiated: phase (complex128)" in str(report)


def test_nothing_judged_is_not_right():
    report = check_function(lambda p, x: (1.0, {"c": None}), {"c": np.array([1j])}, X)
    assert (report.verdict, report.message) == ("not_comparable", "nothing was judged")


@pytest.mark.parametrize(("slip", "verdict"), [(1.0, "right"), (1.001, "wrong")])
def test_differences_say_what_they_see(slip, verdict):
    def function(p, x, y):
        e = np.array([float(v) for v in np.frombuffer((x @ p["w"]).tobytes())]) - y
        return np.mean(e**2), {"w": 2 * x.T @ e / len(y) * [1, slip, 1]}

    report = check_function(function, W, X, Y)
    assert report.verdict == verdict, str(report)
    assert "Richardson" in report.method
    assert 1e-9 < report.resolution < 1e-4


@pytest.mark.parametrize("scale", [1e-6, 1e-14, 1e-20])
@pytest.mark.parametrize("factor", [1, -1, 0])
def test_a_row_is_judged_by_its_own_rounding(scale, factor):
    x = X * np.array([1.0, 1.0, scale])

    def function(p, x, y):
        a = np.tanh(x @ p["W"])
        e = a @ p["u"] - y
        dW = x.T @ (np.outer(e, p["u"]) * (1 - a * a)) / len(y)
        dW[2] *= factor
        return np.mean(e**2) / 2, {"W": dW, "u": a.T @ e / len(y)}

    g = np.random.default_rng(1)
    report = check_function(function, {"W": g.normal(size=(3, 4)), "u": g.normal(size=4)}, x, Y)
    assert report.verdict == ("right" if factor == 1 else "wrong"), str(report)
    assert factor == 1 or report.arrays["W"].index[0] == 2
