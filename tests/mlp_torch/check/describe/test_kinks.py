"""At a kink either derivative is right, and said; beside it nothing is excused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch import Layer, Penalty, check_gradients

r = np.random.default_rng(0)
X, Y = r.integers(-1, 2, size=(7, 3)).astype(float), r.normal(size=(7, 2))
P = {"W1": r.integers(-1, 2, size=(3, 5)).astype(float), "W2": r.normal(size=(5, 2))}
Z = X @ P["W1"]
# activation: f, and f′ below, above and between its kinks
UNITS = {
    "relu": (lambda z: np.maximum(z, 0), 0.0, 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), 0.01, 1.0),
    "elu": (lambda z: np.where(z > 0, z, 0.5 * np.expm1(z)), 0.5, 1.0),
}


def hidden(name, at, factor=1.0, of_second=1.0, row=1.0):
    f, below, above = UNITS[name]
    slope = np.where(Z > 0, above, below * np.exp(Z) if name == "elu" else below)
    slope = np.where(Z == 0, at, slope)
    d = 2 * (f(Z) @ P["W2"] - Y) / 7
    G = {"W1": factor * X.T @ (d @ P["W2"].T * slope), "W2": of_second * f(Z).T @ d}
    G["W2"][0] *= row
    alpha = {"elu": {"alpha": 0.5}}.get(name, {})
    layers = [Layer("W1", None, name, alpha), Layer("W2")]
    return check_gradients(P, G, X, Y, layers=layers, loss="squared_error")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_at_0(name):
    assert (Z == 0).any()
    _, below, above = UNITS[name]
    for at in (below, above, (below + above) / 2):
        report = hidden(name, at)
        assert report.verdict == "right"
        assert ("at a kink: z1[" in " ".join(report.notes)) == (at != below)
    assert "that from above" in hidden(name, above).notes[-1]
    assert hidden(name, above + 1).verdict == "wrong"  # outside all conventions
    for at in (below, above):
        assert hidden(name, at, factor=-1.0).verdict == "wrong"


def test_beside_the_kink_the_fault_has_its_name():
    report = hidden("relu", 1.0, factor=2.0)
    assert [f.kind for f in report.faults] == ["constant_factor"]
    assert "at a kink" in report.notes[-1]


def test_hardtanh_at_both_ends():
    z = X @ P["W1"]
    for ends in ((0, 0), (1, 1), (0, 1), (0.5, 0.5)):
        slope = np.where(np.abs(z) < 1, 1.0, 0.0)
        slope = np.where(z == -1, ends[0], np.where(z == 1, ends[1], slope))
        a = np.clip(z, -1, 1)
        d = 2 * (a @ P["W2"] - Y) / 7
        G = {"W1": X.T @ (d @ P["W2"].T * slope), "W2": a.T @ d}
        layers = [Layer("W1", None, "hardtanh"), Layer("W2")]
        assert check_gradients(P, G, X, Y, layers=layers, loss="squared_error").verdict == "right"


def linear(loss, gradient, y, W=None, **options):
    W = np.array([[1.0, -1, 0], [2, 0, 1], [0, 1, -1]]) if W is None else W
    G = X.T @ gradient(X @ W) / 7
    return check_gradients(
        {"W": W}, {"W": G + options.pop("extra", 0.0)}, X, y, activations=["identity"], loss=loss,
        weight_layout="in,out", **options,
    )  # fmt: skip


@pytest.mark.parametrize("compare", [np.less, np.less_equal])
def test_hinge_on_its_margin(compare):
    y = np.where(r.random((7, 3)) < 0.5, -1.0, 1.0)
    assert linear("hinge", lambda o: np.where(compare(y * o, 1), -y, 0), y).verdict == "right"
    assert linear("hinge", lambda o: np.where(compare(y * o, 1), y, 0), y).verdict == "wrong"


@pytest.mark.parametrize("compare", [np.greater, np.greater_equal])
def test_ties_of_the_multiclass_hinge(compare):
    labels = np.arange(7) % 3
    y = np.eye(3)[labels]

    def gradient(o):
        active = compare(1 + o - (o * y).sum(axis=1, keepdims=True), 0) * (1 - y)
        return active - y * active.sum(axis=1, keepdims=True)

    report = linear("multiclass_hinge", gradient, labels)
    assert report.verdict == "right"


@pytest.mark.parametrize(
    "sign", [np.sign, lambda d: np.where(d >= 0, 1, -1), lambda d: np.where(d > 0, 1, -1)]
)
def test_absolute_error_without_residual(sign):
    y = np.zeros((7, 3))
    assert linear("absolute_error", lambda o: sign(o - y), y).verdict == "right"
    assert linear("absolute_error", lambda o: -sign(o - y), y).verdict != "right"


@pytest.mark.parametrize("at", [-1, 0, 1])
def test_l1_at_0(at):
    W, y = np.array([[1.0, -1, 0], [2, 0, 1], [0, 1, -1]]), r.normal(size=(7, 3))
    extra = 0.3 * np.where(W == 0, at, np.sign(W))
    report = linear("half_squared_error", lambda o: o - y, y, W=W, l1=Penalty(0.3), extra=extra)
    assert report.verdict == "right"
    assert (
        linear("half_squared_error", lambda o: o - y, y, W=W, l1=Penalty(0.3), extra=-extra).verdict
        != "right"
    )


def test_zero_weights_put_every_unit_on_its_kink_and_a_wrong_sign_is_wrong():
    zero = {"W1": np.zeros((3, 5)), "W2": P["W2"]}
    d = -2 * Y / 7
    layers = [Layer("W1", None, "relu"), Layer("W2")]
    for factor, verdict in ((0.0, "right"), (1.0, "right"), (0.5, "right"), (-1.0, "wrong"), (2.0, "wrong")):
        G = {"W1": factor * X.T @ (d @ P["W2"].T), "W2": np.zeros((5, 2))}
        report = check_gradients(zero, G, X, Y, layers=layers, loss="squared_error")
        assert report.verdict in ((verdict,) if verdict == "right" else ("wrong", "scaled")), factor


@pytest.mark.parametrize("first", [0, 0.5, 1])
@pytest.mark.parametrize("second", [0, 0.5, 1])
def test_two_layers_may_take_different_sides(first, second):
    r = np.random.default_rng(0)
    x, y = r.normal(size=(6, 3)), r.normal(size=(6, 2))
    x[0] = 0
    W1, W2, W3 = r.normal(size=(3, 4)), r.normal(size=(4, 4)), r.normal(size=(4, 2))
    b1, b2 = np.zeros(4), np.zeros(4)
    z1 = x @ W1
    a1 = np.maximum(z1, 0)
    z2 = a1 @ W2
    a2 = np.maximum(z2, 0)
    d = (a2 @ W3 - y) / 6
    d2 = d @ W3.T * np.heaviside(z2, second)
    d1 = d2 @ W2.T * np.heaviside(z1, first)
    P = {"W1": W1, "b1": b1, "W2": W2, "b2": b2, "W3": W3}
    G = {"W1": x.T @ d1, "b1": d1.sum(0), "W2": a1.T @ d2, "b2": d2.sum(0), "W3": a2.T @ d}
    layers = [Layer("W1", "b1", "relu"), Layer("W2", "b2", "relu"), Layer("W3")]
    report = check_gradients(P, G, x, y, layers=layers, loss="half_squared_error")
    assert report.verdict == "right", str(report)
    assert not second or any("at a kink" in note for note in report.notes)


@pytest.mark.parametrize("name", UNITS)
@settings(max_examples=10, deadline=None)
@given(share=st.floats(-1, 2))
def test_what_lies_between_the_sides_is_said_and_what_lies_outside_is_wrong(name, share):
    _, below, above = UNITS[name]
    report = hidden(name, below + (above - below) * share)
    if 1e-3 < share < 0.499 or 0.501 < share < 0.999:
        assert report.verdict == "not_comparable"
        assert "z1[0, 2] = 0 (and 7 more)" in report.message
        assert "Right: dW2" in report.message
        assert "move x" in report.message
    elif share < -1e-3 or share > 1.001:
        assert report.verdict in ("wrong", "scaled")
        assert report.faults
        assert "unexplained" not in report.message


def test_every_entry_may_take_its_own_side():
    draw = np.random.default_rng(5)
    for name, (_, below, above) in UNITS.items():
        for _ in range(3):
            sides = draw.integers(0, 2, Z.shape)
            report = hidden(name, below + (above - below) * sides)
            assert report.verdict == "right", str(report)
            mixed = hidden(name, below + (above - below) * draw.uniform(size=Z.shape))
            assert mixed.verdict == "not_comparable"
            assert "z1[0, 2] = 0" in mixed.message


def test_its_own_sides_excuse_no_wrong_sign():
    sides = np.random.default_rng(5).integers(0, 2, Z.shape)
    assert hidden("relu", sides, factor=-1.0).verdict == "wrong"


def test_another_array_s_fault_is_named_beside_a_derivative_between_the_sides():
    report = hidden("relu", 0.3, of_second=2.0)
    assert report.verdict == "wrong"
    assert [(f.kind, f.arrays) for f in report.faults] == [("constant_factor", ("W2",))]


@pytest.mark.parametrize(
    ("at", "verdict"), [(0.4, "not_comparable"), (-0.7, "not_comparable"), (1.5, "wrong")]
)
def test_the_sign_of_0_may_lie_between_its_sides(at, verdict):
    W, y = np.array([[1.0, -1, 0], [2, 0, 1], [0, 1, -1]]), Y[:, [0, 1, 0]]
    extra = 0.3 * np.where(W == 0, at, np.sign(W))
    lasso = linear("half_squared_error", lambda o: o - y, y, W=W, l1=Penalty(0.3), extra=extra)
    assert lasso.verdict == verdict
    assert "W[0, 2] = 0 under |θ|" in lasso.message
    zero = np.zeros((7, 3))
    report = linear("absolute_error", lambda o: np.where(o == 0, at, np.sign(o)), zero)
    assert report.verdict == verdict
    assert "sign of 0 is" in report.message


def test_sums_of_decimals_that_miss_0_by_rounding_may_fall_on_either_side():
    draw = np.random.default_rng(3)
    for _ in range(10):
        x, W1 = draw.integers(-3, 4, (9, 4)) / 10, draw.integers(-3, 4, (4, 5)) / 10
        b1, W2, y = draw.integers(-2, 3, 5) / 10, draw.normal(size=(5, 2)), draw.normal(size=(9, 2))
        z = b1 + sum(x[:, [k]] * W1[k] for k in draw.permutation(4))
        a = np.maximum(z, 0)
        d = (a @ W2 - y) / 9
        dz = d @ W2.T * (z > 0)
        report = check_gradients(
            {"W1": W1, "b1": b1, "W2": W2}, {"W1": x.T @ dz, "b1": dz.sum(0), "W2": a.T @ d}, x, y,
            layers=[Layer("W1", "b1", "relu"), Layer("W2")], weight_layout="in,out",
            loss="half_squared_error",
        )  # fmt: skip
        assert report.verdict == "right", str(report)


def test_what_lies_between_at_both_ends_of_hardtanh_is_one_value():
    slope = np.where(np.abs(Z) == 1, 0.4, np.where(np.abs(Z) < 1, 1.0, 0.0))
    a = np.clip(Z, -1, 1)
    d = 2 * (a @ P["W2"] - Y) / 7
    G = {"W1": X.T @ (d @ P["W2"].T * slope), "W2": a.T @ d}
    layers = [Layer("W1", None, "hardtanh"), Layer("W2")]
    report = check_gradients(P, G, X, Y, layers=layers, loss="squared_error")
    assert report.verdict == "not_comparable"
    assert "your derivative of hardtanh is 0.4, " in report.message
