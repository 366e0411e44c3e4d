"""Words for what a gradient shows on its own: none that its numbers do not prove."""

import numpy as np
import pytest

from mlp_torch import check_function

r = np.random.default_rng(2)
X, Y = r.normal(size=(7, 4)), r.normal(size=(7, 3))
P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, 3)), "b2": r.normal(size=3)}


def with_slip(change):
    def function(p, x, y):
        a = np.sin(x @ p["W1"] + p["b1"])  # no standard activation: the arrays alone must tell
        e = a @ p["W2"] + p["b2"] - y
        d = np.sinh(e) / len(x)
        g = {"W2": a.T @ d, "b2": d.sum(axis=0)}
        d = d @ p["W2"].T * np.cos(x @ p["W1"] + p["b1"])
        g |= {"W1": x.T @ d, "b1": d.sum(axis=0)}
        change(g, p)
        return np.cosh(e).sum() / len(x), g

    return function


def faults(change, parameters=P, x=X, y=Y):
    report = check_function(with_slip(change), parameters, x, y)
    assert report.verdict in ("wrong", "scaled"), str(report)
    return [(f.kind, set(f.arrays)) for f in report.faults], report


def scaled(factor, *names):
    def change(g, p):
        for n in names or g:
            g[n] = factor * g[n]

    return change


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1 / 7, "divided by N = 7"),
        (7, "times N = 7"),
        (1 / 3, "divided by columns of y = 3"),
        (1 / 4, "divided by 4"),
        (7 / 3, "times N/columns of y = 7/3"),
        (3 / 7, "times columns of y/N = 3/7"),
        (1 / 21, "divided by y.size = 21"),
        (1 / 28, "divided by x.size = 28"),
        (5, "times W1.shape[1] = 5"),
        (0.636, "times 0.636"),
        (1.37, "times 1.37"),
    ],
)
def test_a_constant_is_named_by_what_it_is_and_is_no_clipping(factor, words):
    found, report = faults(scaled(factor, "W1", "W2"))
    assert found == [("constant_factor", {"W1", "W2"})], str(report)
    assert words in report.message


def clipped_together(g, p):
    size = np.sqrt(sum(np.sum(v**2) for v in g.values()))
    for n in g:
        g[n] = g[n] * 0.5 / size


def clipped_each(g, p):
    for n in ("W1", "W2"):
        g[n] = g[n] * 0.25 / np.linalg.norm(g[n])


def test_clipping_is_said_where_lengths_agree():
    found, report = faults(clipped_together)
    assert [k for k, _ in found] == ["clipping"], str(report)
    assert "all gradients together have the length 0.5" in report.message
    found, report = faults(clipped_each)
    assert found == [("clipping", {"W1", "W2"})]
    assert "is cut to the length 0.25" in report.message


def test_two_gradients_under_each_other_s_names():
    square = {**P, "W1": r.normal(size=(4, 4)), "b1": r.normal(size=4), "W2": r.normal(size=(4, 4))}
    square["b2"] = r.normal(size=4)
    y = r.normal(size=(7, 4))

    def swap(g, p):
        g["W1"], g["W2"] = g["W2"], g["W1"]

    found, report = faults(swap, square, X, y)
    assert found == [("swapped_gradients", {"W1", "W2"})]
    assert report.message == "dW1 and dW2 are swapped."


def test_a_parameter_that_is_returned_for_its_gradient():
    def itself(g, p):
        g["W1"] = p["W1"]

    found, report = faults(itself)
    assert found == [("parameter_returned", {"W1"})]
    assert report.message == "dW1 is W1 itself."


def test_one_wrong_number_proves_no_constant():
    def function(p, x, y):
        e = x @ p["w"] + p["b"] - y
        return np.cosh(e).sum(), {"w": x.T @ np.sinh(e), "b": 0.7318 * np.sinh(e).sum()}

    report = check_function(function, {"w": r.normal(size=4), "b": 0.3}, X, Y[:, 0], timeout=1e-6)
    assert (report.verdict, report.faults) == ("wrong", []), str(report)
    assert report.message == "db: wrong, unexplained"


def test_what_is_unexplained_is_named():
    def change(g, p):
        g["W1"] = g["W1"] + 0.1
        g["b2"] = g["b2"] ** 3

    _, report = faults(change)
    assert report.message in ("dW1, db2: wrong, unexplained", "dW1 and db2.")
    assert report.message.endswith("unexplained") or {line.function for line in report.lines} == {"change"}


def test_a_factor_of_nothing_is_no_factor():
    """The true gradient is 0 in one row, and the author's is not."""

    def function(p, x, y):
        e = x @ p["w"][:4] - y
        g = np.concatenate([2 * x.T @ np.sinh(e), [0.5]])
        return np.cosh(e).sum(), {"w": g}

    report = check_function(function, {"w": r.normal(size=5)}, X, Y[:, 0])
    assert report.verdict == "wrong", str(report)
    assert not report.faults


def test_time_steps_are_a_constant_too():
    def function(p, x, y):
        h = np.tanh(x @ p["W"])
        d = 2 * (h - y[:, None, None]) * (1 - h * h) / h.size
        return np.mean((h - y[:, None, None]) ** 2), {"W": np.einsum("nti,ntj->ij", x, d) * x.shape[1]}

    report = check_function(function, {"W": r.normal(size=(2, 3))}, r.normal(size=(7, 11, 2)), Y[:, 0])
    assert "times x.shape[1] = 11" in report.message, str(report)
