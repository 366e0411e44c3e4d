"""What a report advises has been tried, and what it names reproduces the arrays that were handed over."""

import numpy as np
import pytest

from mlp_torch import Layer, check_gradients

r = np.random.default_rng(0)
x, y = r.normal(size=(7, 4)), r.integers(0, 3, 7)
Y, R = np.eye(3)[y], r.normal(size=(7, 3))
P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, 3)), "b2": r.normal(size=3)}
w, u = r.normal(size=(4, 1)), r.integers(0, 2, 7) * 1.0


def soft(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


a = np.tanh(x @ P["W1"] + P["b1"])
o = a @ P["W2"] + P["b2"]
p, s = soft(o), sigmoid(o)


def back(d, a=a, d1=None):
    d1 = d @ P["W2"].T * (1 - a * a) if d1 is None else d1
    return {"W1": x.T @ d1, "b1": d1.sum(0), "W2": a.T @ d, "b2": d.sum(0)}


def check(g, act="tanh", out="softmax", loss="cross_entropy", t=y, parameters=P, **options):
    layers = [Layer("W1", "b1" if "b1" in parameters else None, act), Layer("W2", "b2", out)]
    return check_gradients(parameters, g, x, t, layers=layers, loss=loss, **options)


def single(g, b=0.0, t=u):
    return check_gradients(
        {"w": w, "b": np.array([b])}, g, x, t, layers=[Layer("w", "b", "sigmoid")], loss="bce"
    )


def kinds(report):
    return [f.kind for f in report.faults]


def test_a_bias_that_is_not_added_is_described_as_advised():
    h = np.tanh(x @ P["W1"])
    g = back((soft(h @ P["W2"] + P["b2"]) - Y) / 7, h)
    report = check(g)
    assert (report.verdict, kinds(report)) == ("not_comparable", ["forward_mismatch"])
    assert "bias=None in layer 1 (and b1 left out" in report.message
    assert "logits" not in report.message
    left = [{n: v for n, v in arrays.items() if n != "b1"} for arrays in (P, g)]
    assert check(left[1], parameters=left[0]).verdict == "right"
    shown = check(g, output=soft(h @ P["W2"] + P["b2"]))
    assert shown.verdict == "not_comparable"
    assert "bias=None in layer 1 (and b1 left out" in shown.message


def test_no_advice_is_given_that_was_not_tried():
    h = np.tanh(x @ P["W1"] + P["b1"])
    g = back(2 * (2 * (2 * (h @ P["W2"] + P["b2"])) - 2 * R) / 7, h)  # the output of layer 2 is doubled
    report = check(g, out="identity", loss="squared_error", t=R)
    assert kinds(report) == ["forward_mismatch"]
    assert "describe it so" not in report.message


@pytest.mark.parametrize("times", [7, np.nan])
def test_another_description_explains_the_loss_value_or_is_not_told(times):
    value = -np.log(p[np.arange(7), y]).mean()
    report = check(back((p - Y) / 7), loss_value=times * value)
    assert kinds(report) == ["wrong_loss_value"]
    assert "every gradient is right" not in report.message
    assert not report.alternatives


@pytest.mark.parametrize("over", [1, 7, 49])
@pytest.mark.parametrize("bias", [lambda d: d.sum(0), lambda d: d.sum(), lambda d: d.sum(1), lambda d: d])
def test_an_error_as_wide_as_the_batch_is_a_broadcast(over, bias):
    d = (sigmoid(x @ w) - u) / over
    report = single({"w": x.T @ d, "b": bias(d)})
    assert (report.verdict, kinds(report)) == ("wrong", ["broadcast"])
    assert "an error of shape (7, 7)" in report.message


def test_an_error_as_wide_as_the_batch_of_outputs_without_an_axis():
    d = (sigmoid(x @ w).ravel() - u[:, None]) / 7
    assert kinds(single({"w": x.T @ d, "b": d.sum()}, t=u[:, None])) == ["broadcast"]


@pytest.mark.parametrize(
    ("d", "out", "loss", "t", "words"),
    [
        (p, "softmax", "cross_entropy", y, "have p for p − y: y is forgotten"),
        (p + Y, "softmax", "cross_entropy", y, "have p + y for p − y"),
        (s, "sigmoid", "bce", Y, "have p for p − y: y is forgotten"),
        (s + Y, "sigmoid", "bce", Y, "have p + y for p − y"),
        (2 * o, "identity", "squared_error", R, "have 2ŷ for 2(ŷ − y): y is forgotten"),
        (2 * (o + R), "identity", "squared_error", R, "have 2(ŷ + y) for 2(ŷ − y)"),
        (p, "identity", "cross_entropy_from_logits", y, "have softmax(ŷ) for softmax(ŷ) − y"),
        (s + Y, "identity", "bce_with_logits", Y, "have σ(ŷ) + y for σ(ŷ) − y"),
    ],
)
def test_slips_in_the_target_are_one_mistake(d, out, loss, t, words):
    report = check(back(d / 7), out=out, loss=loss, t=t)
    assert (kinds(report), report.alternatives) == (["wrong_loss_derivative"], [])
    assert words in report.message
    assert "dW1 and db1 below are wrong because of it" in report.message


def test_masks_at_the_upstream_gradient_have_their_own_words():
    z = x @ P["W1"] + P["b1"]
    h = np.maximum(z, 0)
    d = (soft(h @ P["W2"] + P["b2"]) - Y) / 7
    e = d @ P["W2"].T
    alone, both = (check(back(d, h, e * (e > 0) * k), act="relu") for k in (1, z > 0))
    assert kinds(alone) == kinds(both) == ["activation_derivative_at_wrong_array"]
    assert "at the upstream gradient, where z belongs" in alone.message
    assert "at the upstream gradient as well as at z" in both.message


@pytest.mark.parametrize(("times", "kind"), [(-1, "sign"), (1.5, "constant_factor"), (7, "constant_factor")])
@pytest.mark.parametrize("t", [np.ones(7), u])
def test_one_factor_of_everything_comes_first_where_units_are_saturated(times, kind, t):
    d = times * (sigmoid(x @ w + 30) - t[:, None]) / 7
    report = single({"w": x.T @ d, "b": d.sum(0)}, b=30.0, t=t)
    assert kinds(report) == [kind]
    assert report.verdict == ("wrong" if times < 0 else "scaled")


def test_a_formula_is_written_as_by_hand():
    d = (p - Y) / 7
    report = check(back(d, a, d @ P["W2"].T * (1 - 2 * a * a)))
    assert "have 1 − 2a² for the derivative of tanh" in report.message


def test_a_wrong_shape_is_a_reason_and_nothing_is_asked_for():
    report = check(back((p - Y) / 7) | {"W1": r.normal(size=(5, 4))})
    assert report.message.startswith("unexplained: dW1 is wrong")
    assert "settle" not in report.message


def test_a_description_of_another_loss_value_than_the_authors_is_not_told():
    value = -np.log(p[np.arange(7), y]).mean()
    g = {n: v / 3 for n, v in back((p - Y) / 7).items()}
    assert "reduction='mean_over_all'" in check(g).message
    assert "reduction=" not in check(g, loss_value=value).message


def test_every_option_that_makes_it_right_is_offered():
    V, c = P["W2"][:, :2], P["b2"][:2]
    d = (a @ V + c - R[:, :2]) / 7
    g = back(d, d1=d @ V.T * (1 - a * a))
    report = check(g, out="identity", loss="squared_error", t=R[:, :2], parameters=P | {"W2": V, "b2": c})
    for option in ("reduction='mean_over_all'", "loss='half_squared_error'"):
        assert option in report.message
        name, value = option.split("=")
        options = {"loss": "squared_error", name: value.strip("'")}
        assert check(g, out="identity", t=R[:, :2], parameters=P | {"W2": V, "b2": c}, **options).passed


def test_lists_of_numbers_are_arrays():
    g, lists = back((p - Y) / 7), {n: v.tolist() for n, v in P.items()}
    written = {n: v.tolist() for n, v in g.items()}
    assert check(written).passed
    assert check(written, parameters=lists).passed
    layers = [Layer(0, 1, "tanh"), Layer(2, 3, "softmax")]
    inlists = [list(v.values()) for v in (lists, written)]
    assert check_gradients(*inlists, x, y, layers=layers, loss="cross_entropy", samples="rows").passed


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        (lambda g: {"W2": g["W2"] + 0.1 * P["W2"] ** 2}, "wrong_regulariser", "dW2 adds 0.1·θ²"),
        (lambda g: {"b2": g["b2"] * P["b2"]}, "parameter_multiplied_in", "db2 is multiplied by the param"),
        (lambda g: {"W1": g["W1"] * P["W1"]}, "parameter_multiplied_in", "dW1 is multiplied by the param"),
    ],
)
def test_the_parameter_that_is_multiplied_in_is_named(changed, kind, words):
    g = back((p - Y) / 7)
    report = check(g | changed(g))
    assert kinds(report) == [kind]
    assert words in report.message


def test_the_square_of_the_weights_for_the_weights_in_a_penalty():
    g = {n: v + (0.1 * P[n] ** 2 if n[0] == "W" else 0) for n, v in back((p - Y) / 7).items()}
    report = check(g, l2=0.1)
    assert kinds(report) == ["wrong_regulariser"]
    assert "have λθ² for the penalty's gradient λθ" in report.message
