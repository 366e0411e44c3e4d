"""Layouts, options and mistakes: what shapes settle, what is asked for, what is compared first."""

import numpy as np
import pytest

from mlp_torch import Layer, Penalty, check_gradients, check_step

r = np.random.default_rng(1)
X, LABELS = r.normal(size=(6, 4)), np.array([0, 2, 1, 1, 0, 2])
Y = np.eye(3)[LABELS]
W1, B1, W2, B2 = r.normal(size=(4, 5)), r.normal(size=5), r.normal(size=(5, 3)), r.normal(size=3)
SHORT = {"activations": ["tanh", "softmax"], "loss": "cross_entropy"}


def backward(x=X, w1=W1, b1=B1, w2=W2, b2=B2, y=Y):
    a = np.tanh(x @ w1 + b1)
    e = np.exp(a @ w2 + b2)
    p = e / e.sum(axis=1, keepdims=True)
    d = (p - y) / len(x)
    h = d @ w2.T * (1 - a * a)
    return [x.T @ h, h.sum(axis=0), a.T @ d, d.sum(axis=0)], p


G, P = backward()
LOSS = float(-np.log(P[np.arange(6), LABELS]).mean())


@pytest.mark.parametrize(
    ("parameters", "gradients", "x", "y"),
    [
        ([W1, B1, W2, B2], G, X, LABELS),
        ([W1, W2, B1, B2], [G[0], G[2], G[1], G[3]], X, Y),
        ([(W1, B1), (W2, B2)], [(G[0], G[1]), (G[2], G[3])], X, Y.T),
        ({"W": [W1, W2], "b": [B1, B2]}, {"W": [G[0], G[2]], "b": [G[1], G[3]]}, X, LABELS[:, None]),
        (
            {"W1": W1, "b1": B1, "W2": W2, "b2": B2},
            dict(zip(["dW1", "db1", "dW2", "db2"], G, strict=True)),
            X,
            Y,
        ),
        ([W1.T, B1[:, None], W2.T, B2[:, None]], [G[0].T, G[1][:, None], G[2].T, G[3][:, None]], X.T, Y.T),
        ([W1.T, B1[None], W2.T, B2], [G[0].T, G[1], G[2].T, G[3]], X, LABELS[None]),
    ],
)
def test_shapes_settle_the_layout(parameters, gradients, x, y):
    assert check_gradients(parameters, gradients, x, y, output=P, loss_value=LOSS, **SHORT).verdict == "right"


@pytest.mark.parametrize("x", [X[0], X[:1], X[:1].T])
@pytest.mark.parametrize("y", [LABELS[0], Y[0], Y[:1].T])
def test_one_sample_may_lie_any_way(x, y):
    gradients, _ = backward(x=X[:1], y=Y[:1])
    assert check_gradients([W1, B1, W2, B2], gradients, x, y, **SHORT).verdict == "right"


def test_a_square_net_is_asked_for_its_layout_by_name():
    S, T = r.normal(size=(4, 4)), r.normal(size=(6, 4))
    gradient = [X.T @ (X @ S - T) / 6 * 2]
    options = {"activations": ["identity"], "loss": "half_squared_error"}
    with pytest.raises(ValueError, match="weight_layout"):
        check_gradients([S], gradient, X, T, **options)
    report = check_gradients([S], [gradient[0].T / 2], X, T, weight_layout="in,out", **options)
    assert [(f.kind, f.layer) for f in report.faults] == [("transpose", 1)]


def test_a_folded_bias_with_and_without_ones_in_x():
    layers = [
        Layer(0, activation="tanh", bias_in_weight="last"),
        Layer(1, activation="softmax", bias_in_weight="last"),
    ]
    weights = [np.vstack([W1, B1]), np.vstack([W2, B2])]
    gradients = [np.vstack(G[:2]), np.vstack(G[2:])]
    for x, ones in ((X, False), (np.c_[X, np.ones(6)], True)):
        report = check_gradients(
            weights, gradients, x, LABELS, layers=layers, loss="cross_entropy", ones_in_x=ones
        )
        assert report.verdict == "right"


def test_float32_raises_no_false_alarm_and_still_names():
    half = [v.astype(np.float32) for v in (W1, B1, W2, B2)]
    gradients, _ = backward(X.astype(np.float32), *half, Y.astype(np.float32))
    assert check_gradients(half, gradients, X.astype(np.float32), LABELS, **SHORT).verdict == "right"
    gradients[0] = gradients[0] * np.float32(2)
    report = check_gradients(half, gradients, X.astype(np.float32), LABELS, **SHORT)
    assert [f.kind for f in report.faults] == ["constant_factor"]


def test_the_forward_pass_and_the_loss_are_compared_first():
    given = ([W1, B1, W2, B2], G, X, LABELS)
    report = check_gradients(*given, output=P * 1.01, **SHORT)
    assert (report.verdict, report.faults[0].kind) == ("not_comparable", "forward_mismatch")
    report = check_gradients(*given, loss_value=LOSS * 1.3, **SHORT)
    assert [f.kind for f in report.faults] == ["wrong_loss_value"]
    report = check_gradients(given[0], [6 * g for g in G], X, LABELS, loss_value=6 * LOSS, **SHORT)
    assert (report.verdict, [f.kind for f in report.faults]) == ("other_loss", ["loss_mismatch"])
    assert "cross_entropy, reduction sum" in report.message


@pytest.mark.parametrize(("ascent", "sign"), [(False, 1), (True, -1)])
def test_ascent_hands_over_minus_the_gradient_and_goes_down(ascent, sign):
    given = [W1, B1, W2, B2]
    gradients = [sign * g for g in G]
    assert check_gradients(given, gradients, X, LABELS, ascent=ascent, **SHORT).verdict == "right"
    after = [v - 0.1 * g for v, g in zip(given, G, strict=True)]
    assert check_step(given, after, 0.1, X, LABELS, ascent=ascent, **SHORT).verdict == "right"


def test_penalties_by_array_and_on_weights():
    for penalties, l2 in (((0.3, 0, 0.3, 0), Penalty(0.3)), ((0, 0, 0.3, 0), Penalty(per_array={2: 0.3}))):
        gradients = [g + c * v for g, c, v in zip(G, penalties, (W1, B1, W2, B2), strict=True)]
        assert check_gradients([W1, B1, W2, B2], gradients, X, LABELS, l2=l2, **SHORT).verdict == "right"


@pytest.mark.parametrize(
    ("kept", "kind"), [("lower", "overwritten_gradient"), ("upper", "missing_accumulation")]
)
def test_a_tied_weight_needs_both_of_its_terms(kept, kind):
    W = r.normal(size=(4, 5))
    h = np.tanh(X @ W)
    d = (h @ W.T - X) / 6
    terms = {"upper": d.T @ h, "lower": X.T @ (d @ W * (1 - h * h))}
    layers = [Layer("W", activation="tanh"), Layer("W", weight_layout="out,in")]
    options = {"layers": layers, "loss": "half_squared_error"}
    assert check_gradients({"W": W}, {"W": sum(terms.values())}, X, X, **options).verdict == "right"
    report = check_gradients({"W": W}, {"W": terms[kept]}, X, X, **options)
    assert [f.kind for f in report.faults] == [kind]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"activations": ["tahn", "softmax"]}, "tanh"),
        ({"loss": "squared_eror"}, "squared_error"),
        ({"samples": "row"}, "samples"),
        ({"weight_layout": "io"}, "weight_layout"),
    ],
)
def test_mistakes_name_the_option(change, match):
    with pytest.raises(ValueError, match=match):
        check_gradients([W1, B1, W2, B2], G, X, LABELS, **{**SHORT, **change})


def test_shapes_that_fit_no_layout_are_not_comparable():
    layers = [Layer(0, 1, "tanh"), Layer(2, 3, "softmax")]
    report = check_gradients([W1, B1, W2[:4], B2], G, X, LABELS, layers=layers, loss="cross_entropy")
    assert report.verdict == "not_comparable"
