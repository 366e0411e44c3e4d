"""A row, a column or an entry that is wrong in an array that is right otherwise is named by its place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch import Layer, check_gradients
from mlp_torch.check.faults import regions

r = np.random.default_rng(0)
X, Y = r.normal(size=(7, 4)), r.normal(size=(7, 3))
X[:, 2] *= 1e-7  # a row of dW1 that its norm does not show
P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, 3)), "b2": r.normal(size=3)}


def judged(name=None, at=(), change=lambda part: part, **more):
    a = np.tanh(X @ P["W1"] + P["b1"])
    d = (a @ P["W2"] + P["b2"] - Y) / 7
    dz = d @ P["W2"].T * (1 - a * a)
    G = {"W1": X.T @ dz, "b1": dz.sum(0), "W2": a.T @ d, "b2": d.sum(0)}
    if name:
        G[name][at] = change(G[name][at])
    for other, way in more.items():
        G[other] = way(G[other])
    layers = [Layer("W1", "b1", "tanh"), Layer("W2", "b2")]
    return check_gradients(P, G, X, Y, layers=layers, loss="half_squared_error")


@pytest.mark.parametrize(
    ("name", "at", "words"),
    [
        ("W1", np.s_[2], "in row 2"),
        ("W1", np.s_[:, 3], "in column 3"),
        ("W1", np.s_[1, 4], "at [1, 4]"),
        ("W1", np.s_[1:], "in rows 1 to 3"),
        ("W2", np.s_[[0, 3]], "in rows 0 and 3"),
        ("b1", np.s_[1], "at [1]"),
        ("b1", np.s_[1:], "in entries 1 to 4"),
    ],
)
def test_the_place_and_what_stands_there(name, at, words):
    for change, kind, said in (
        (lambda v: -v, "sign", f"d{name} has the other sign {words}"),
        (lambda v: 0 * v, "zero_gradient", f"d{name} is zero {words}"),
    ):
        report = judged(name, at, change)
        assert [(f.kind, f.arrays) for f in report.faults] == [(kind, (name,))]
        assert report.message.startswith(said)
        assert P[name][report.arrays[name].index] in np.atleast_1d(P[name][at])  # the worst entry


def test_a_constant_needs_three_entries():
    assert judged("W2", np.s_[2], lambda v: v / 4).message.startswith(
        "dW2 is the true one times 0.25 in row 2"
    )
    report = judged("W2", np.s_[2, 1], lambda v: v / 4)
    assert not report.faults
    assert report.message.startswith("unexplained: dW2 is wrong at [2, 1] alone")


def test_what_parts_do_not_explain_is_explained_beside_them():
    report = judged("W1", np.s_[0], lambda v: -v, W2=lambda v: 2 * v)
    assert [(f.kind, f.arrays) for f in report.faults] == [("sign", ("W1",)), ("constant_factor", ("W2",))]
    assert "unexplained" not in report.message


def test_units_in_another_order():
    report = judged(W1=lambda v: v[:, ::-1].copy(), b1=lambda v: v[::-1].copy())
    assert report.message.startswith("dW1 has its columns in reverse order [swapped_gradients]. db1 has its")
    report = judged(W1=lambda v: v[[1, 0, 3, 2]].copy())
    assert report.message.startswith("dW1 has its rows in another order: 1, 0, 3, 2 [swapped_gradients]")


def test_a_right_array_has_no_wrong_part():
    assert judged().verdict == "right"
    assert next(regions.regions(np.zeros((3, 2), dtype=bool), np.ones((3, 2), dtype=bool)), None) is None
    assert next(regions.regions(np.ones((3, 2), dtype=bool), np.zeros((3, 2), dtype=bool)), None) is None


def test_what_is_0_in_truth_makes_no_part_of_the_rest():
    t = np.array([[1.0, 0, 2], [3, 0, 4], [5, 0, 6]])
    allowed = np.full(t.shape, 1e-9)
    assert regions.told(t / 2, t, allowed) is None
    assert regions.place(t + 1, t, allowed) == ""


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**12 - 1))
def test_a_region_holds_every_wrong_entry_and_not_the_whole(bits):
    wrong = np.array([bits >> i & 1 for i in range(12)], dtype=bool).reshape(3, 4)
    for region in regions.regions(wrong, ~wrong):
        assert (region.inside | ~wrong).all()
        assert not region.inside.all()
