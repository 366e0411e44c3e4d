"""A row, a column and an entry are judged by their own rounding, however small beside the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch import Layer, check_gradients
from tests.mlp_torch.check.describe.test_saturation import CASES, SPELLINGS

SCALES = st.integers(-12, 8)


def drawn(name, i, seed, features, units, samples, bias, single=False):
    """(parameters, gradients, x, y, layers) of a classifier, single features, units … having own scales."""
    r = np.random.default_rng(seed)
    f, ways = SPELLINGS[name]
    x, Y = r.normal(size=(7, 4)), np.eye(3)[r.integers(0, 3, 7)]
    W1, b1, W2, b2 = r.normal(size=(4, 5)), r.normal(size=5), r.normal(size=(5, 3)), r.normal(size=3)
    x[:, 3] *= 10.0**features
    W1[3] *= 10.0 ** -max(features, 0)
    W2[0] *= 10.0 ** min(units, 0)
    x[2] *= 10.0 ** min(samples, 0)
    b1[1] += bias
    P = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
    if single:
        P, x, Y = {n: v.astype("f4") for n, v in P.items()}, x.astype("f4"), Y.astype("f4")
    W1, b1, W2, b2 = P.values()
    z = x @ W1 + b1
    a = f(z).astype(x.dtype)
    e = np.exp(a @ W2 + b2 - (a @ W2 + b2).max(1, keepdims=True))
    d = (e / e.sum(1, keepdims=True) - Y) / np.asarray(len(x), x.dtype)
    d1 = (d @ W2.T * ways[i](z)).astype(x.dtype)
    G = {"W1": x.T @ d1, "b1": d1.sum(0), "W2": a.T @ d, "b2": d.sum(0)}
    return P, G, x, Y, [Layer("W1", "b1", name), Layer("W2", "b2", "softmax")]


def verdict(P, G, x, Y, layers, **options):
    return check_gradients(P, G, x, Y, layers=layers, loss="cross_entropy", **options)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("name", "i"), CASES)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6), features=SCALES, units=SCALES, samples=SCALES,
    bias=st.sampled_from([0, 0, 5, -5, 17, -17, 30]),
)  # fmt: skip
def test_every_scale_is_right(name, i, single, seed, features, units, samples, bias):
    with np.errstate(all="ignore"):
        P, G, x, Y, layers = drawn(name, i, seed, features, units, samples, bias, single)
    if not all(np.isfinite(g).all() for g in G.values()):
        return
    report = verdict(P, G, x, Y, layers)
    hidden = report.verdict == "not_comparable" and report.message.startswith("rounding hides")
    assert hidden or report.verdict == "right", str(report)


@pytest.mark.parametrize("factor", [-1, 0, 1.01])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.integers(-12, 0), case=st.sampled_from(CASES))
def test_a_small_row_and_a_small_unit_are_judged(factor, seed, scale, case):
    P, G, x, Y, layers = drawn(*case, seed, scale, 0, 0, 0)
    G["W1"][3] *= factor
    assert verdict(P, G, x, Y, layers).verdict == "wrong"
    P, G, x, Y, layers = drawn(*case, seed, 0, scale, 0, 0)
    G["W1"][:, 0] *= factor
    G["b1"][0] *= factor
    assert verdict(P, G, x, Y, layers).verdict == "wrong"


@pytest.mark.parametrize("factor", [-1, 0])
def test_a_small_unit_in_float32(factor):
    for scale in (-3, -5, -8):
        P, G, x, Y, layers = drawn("tanh", 0, 1, 0, scale, 0, 0, single=True)
        G["W1"][:, 0] *= factor
        assert verdict(P, G, x, Y, layers).verdict == "wrong"


def test_a_saturated_unit_is_judged_while_its_rounding_is_less_than_itself():
    P, _, x, Y, layers = drawn("tanh", 0, 0, 0, 0, 0, 0)
    for bias, said in ((17, "wrong"), (24, "right")):
        b1 = P["b1"].copy()
        b1[0] = bias
        W1 = P["W1"].copy()
        W1[:, 0] *= 0.1
        Q = {**P, "W1": W1, "b1": b1}
        a = np.tanh(x @ W1 + b1)
        e = np.exp(a @ P["W2"] + P["b2"])
        d = (e / e.sum(1, keepdims=True) - Y) / 7
        d1 = d @ P["W2"].T / np.cosh(x @ W1 + b1) ** 2
        d1[:, 0] *= -1
        report = verdict(Q, {"W1": x.T @ d1, "b1": d1.sum(0), "W2": a.T @ d, "b2": d.sum(0)}, x, Y, layers)
        assert report.verdict == said, str(report)
    assert "note: not judged: 4 entries of dW1, 1 entry of db1 below rounding" in report.notes


@pytest.mark.parametrize("l2", [1e-2, 1e-8, 1e-9, 1e-10, 1e-12])
def test_a_missing_penalty_is_wrong_however_small(l2):
    P, G, x, Y, layers = drawn("tanh", 0, 0, 0, 0, 0, 0)
    report = verdict(P, G, x, Y, layers, l2=l2)
    assert report.verdict == "wrong"
    assert {f.kind for f in report.faults} == {"wrong_regulariser"}


def test_a_penalty_below_rounding_is_said_to_be():
    P, G, x, Y, layers = drawn("tanh", 0, 0, 0, 0, 0, 0)
    report = verdict(P, G, x, Y, layers, l2=1e-17)
    assert report.verdict == "right"
    assert any("the penalty's gradient in dW1, dW2, below rounding" in note for note in report.notes)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-8])
def test_an_epsilon_inside_a_log_is_no_slip(epsilon):
    P, _, x, Y, layers = drawn("tanh", 0, 1, 0, 0, 0, 0)
    a = np.tanh(x @ P["W1"] + P["b1"])
    e = np.exp(a @ P["W2"] + P["b2"])
    p = e / e.sum(1, keepdims=True)
    g = -Y / (p + epsilon) / 7
    d = p * (g - (g * p).sum(1, keepdims=True))
    d1 = d @ P["W2"].T * (1 - a * a)
    report = verdict(P, {"W1": x.T @ d1, "b1": d1.sum(0), "W2": a.T @ d, "b2": d.sum(0)}, x, Y, layers)
    assert report.verdict == "right"
    assert any("an ε inside a log" in note for note in report.notes) == (epsilon == 1e-8)


def test_arrays_that_are_0_in_truth_are_told():
    P, G, x, Y, layers = drawn("tanh", 0, 0, 0, 0, 0, 0)
    P["W2"][:] = 0
    a = np.tanh(x @ P["W1"] + P["b1"])
    e = np.exp(a @ P["W2"] + P["b2"])
    d = (e / e.sum(1, keepdims=True) - Y) / 7
    G = {"W1": 0 * P["W1"], "b1": 0 * P["b1"], "W2": a.T @ d, "b2": d.sum(0)}
    report = verdict(P, G, x, Y, layers)
    assert report.verdict == "right"
    assert any(note.startswith("note: every true entry of dW1, db1 is 0") for note in report.notes)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
def test_a_slip_of_one_array_is_no_epsilon_inside_a_log(name):
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(9, 4)), draw.normal(size=(9, 3))
    P = {
        "W1": draw.normal(size=(4, 5)),
        "b1": draw.normal(size=5),
        "W2": draw.normal(size=(5, 3)),
        "b2": y[0],
    }
    a = np.tanh(x @ P["W1"] + P["b1"])
    d = (a @ P["W2"] + P["b2"] - y) / 9
    dz = d @ P["W2"].T * (1 - a * a)
    G = {"W1": x.T @ dz, "b1": dz.sum(0), "W2": a.T @ d, "b2": d.sum(0)}
    layers = [Layer("W1", "b1", "tanh"), Layer("W2", "b2")]
    for entry in range(G[name].size):
        H = {n: v.copy() for n, v in G.items()}
        H[name].flat[entry] *= 1 + 1e-6
        report = check_gradients(P, H, x, y, layers=layers, loss="half_squared_error")
        assert report.verdict == "wrong", entry
        assert report.arrays[name].index == tuple(np.unravel_index(entry, G[name].shape))
