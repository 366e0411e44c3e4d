"""check_function: what a call keeps and changes, and the dtype in which it answers."""

import numpy as np
import pytest

import mlp_torch
from mlp_torch import check_function

r = np.random.default_rng(5)
X, LABELS = r.normal(size=(6, 4)), np.array([0, 2, 1, 1, 0, 2])
P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, 3)), "b2": r.normal(size=3)}


def loss_and_gradients(params, x, y):
    a = np.tanh(x @ params["W1"] + params["b1"])
    e = np.exp(a @ params["W2"] + params["b2"])
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    d = (p - np.eye(3)[y]) / len(y)
    h = d @ params["W2"].T * (1 - a * a)
    return loss, {"W1": x.T @ h, "b1": h.sum(axis=0), "W2": a.T @ d, "b2": d.sum(axis=0)}


def rounded(dtype, scale=1.0):
    def function(params, x, y):
        loss, gradients = loss_and_gradients(params, x, y)
        return loss, {k: (scale * v).astype(dtype) for k, v in gradients.items()}

    return function


@pytest.mark.parametrize("described", [{}, {"activations": ["tanh", "softmax"], "loss": "cross_entropy"}])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients_of_a_coarser_dtype_are_right_within_its_noise(dtype, described):
    report = check_function(rounded(dtype), P, X, LABELS, **described)
    assert report.verdict == "right", str(report)


def test_half_precision_is_right_within_its_noise():
    assert check_function(rounded(np.float16), P, X, LABELS).verdict == "right"


def test_a_coarser_dtype_still_shows_a_factor():
    report = check_function(rounded(np.float32, 6.0), P, X, LABELS)
    assert (report.verdict, [f.kind for f in report.faults]) == ("scaled", ["constant_factor"])


@pytest.mark.parametrize("scale", [1 + 1e-7, 1 + 3e-7])
def test_a_factor_that_prints_as_1_is_never_named(scale):
    report = check_function(rounded(np.float64, scale), P, X, LABELS)
    assert report.verdict == "wrong"
    assert not report.faults


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("function", "parameters", "x", "match"),
    [
        (loss_and_gradients, {**P, "W1": P["W1"] * np.nan}, X, "W1 holds NaN"),
        (loss_and_gradients, P, X * np.nan, r"data\[0\] holds NaN"),
        (loss_and_gradients, P, X[:0], r"data\[0\] is empty"),
        (lambda p, x, y: (None, loss_and_gradients(p, x, y)[1]), P, X, "the loss is a NoneType"),
        (lambda p, x, y: (1.0, {**P, "W1": "oops"}), P, X, "gradients: W1 is the text"),
        (lambda p, x, y: (1.0, {**P, "W1": None}), P, X, "no gradient for W1"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(function, parameters, x, match):
    with pytest.raises(ValueError, match=match) as told:
        check_function(function, parameters, x, LABELS[: len(x)])
    assert "\n" not in str(told.value)


class Net:
    def __init__(self, scale=1.0, in_place=False):
        self.__dict__.update({k: v.copy() for k, v in P.items()})
        self.g = {k: np.zeros_like(v) for k, v in P.items()}
        self.scale, self.in_place = scale, in_place

    def backward(self, x, y):
        loss, found = loss_and_gradients({k: getattr(self, k) for k in P}, x, y)
        for k, v in found.items():
            if self.in_place:
                self.g[k] += self.scale * v
            else:
                self.g[k] = self.g[k] + self.scale * v
        return loss, self.g

    def held(self):
        return {k: getattr(self, k) for k in P}


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("in_place", [False, True])
def test_an_object_that_adds_up_between_calls_is_stale(in_place, before):
    net = Net(in_place=in_place)
    for _ in range(before):
        net.backward(X, LABELS)
    kept = {k: v.copy() for k, v in net.g.items()}
    report = check_function(net.backward, net.held(), X, LABELS)
    assert (report.verdict, [f.kind for f in report.faults]) == ("wrong", ["stale_gradient"])
    assert all(np.array_equal(net.g[k], v) for k, v in kept.items())


def test_an_object_that_adds_up_a_wrong_gradient_is_stale_too():
    net = Net(scale=-1.0)
    report = check_function(net.backward, net.held(), X, LABELS)
    assert [f.kind for f in report.faults] == ["sign", "stale_gradient"]


def test_an_object_with_its_own_generator_is_no_fault():
    class Noisy(Net):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(0)

        def backward(self, x, y):
            mask = (self.rng.random(x.shape) < 0.8) / 0.8
            return loss_and_gradients(self.held(), x * mask, y)

    net = Noisy()
    assert check_function(net.backward, net.held(), X, LABELS).verdict == "right"


def test_a_star_import_gives_the_public_names():
    space: dict = {}
    exec("from mlp_torch import *", space)
    assert set(mlp_torch.EXPORTS) <= set(space)
