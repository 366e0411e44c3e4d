"""What a person may get wrong in calling the check: one line each, naming the argument and the remedy."""

import numpy as np
import pytest

from mlp_torch import Dropout, Layer, Penalty, check_gradients, check_step
from mlp_torch.__main__ import main

r = np.random.default_rng(3)
X, LABELS = r.normal(size=(6, 4)), np.array([0, 2, 1, 1, 0, 2])
P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, 3)), "b2": r.normal(size=3)}
SHORT = {"activations": ["tanh", "softmax"], "loss": "cross_entropy"}


def backward():
    a = np.tanh(X @ P["W1"] + P["b1"])
    e = np.exp(a @ P["W2"] + P["b2"])
    d = (e / e.sum(axis=1, keepdims=True) - np.eye(3)[LABELS]) / 6
    h = d @ P["W2"].T * (1 - a * a)
    return {"W1": X.T @ h, "b1": h.sum(axis=0), "W2": a.T @ d, "b2": d.sum(axis=0)}


G = backward()


def at(array, value):
    changed = array.copy()
    changed.flat[0] = value
    return changed


def test_the_same_call_without_a_mistake_is_right():
    assert check_gradients(P, G, X, LABELS, **SHORT).verdict == "right"


@pytest.mark.parametrize("scale", [1, 1.1])
@pytest.mark.parametrize(
    ("gradients", "match"),
    [
        ({k: v for k, v in G.items() if k != "b1"}, "no gradient of b1"),
        ({**G, "W1": None}, "no gradient of W1"),
        ({"W1": G["W1"]}, "no gradient of b1, W2, b2"),
        ({"dW1": G["W1"]}, "no gradient of b1, W2, b2"),
        (dict.fromkeys(G), "no gradient of W1, b1, W2, b2"),
        ([G["W1"], None, G["W2"], G["b2"]], "no gradient of b1"),
    ],
)
def test_a_missing_gradient_is_an_error_that_names_it(gradients, match, scale):
    items = gradients.items() if isinstance(gradients, dict) else enumerate(gradients)
    given = {k: v if v is None else scale * v for k, v in items}
    given = given if isinstance(gradients, dict) else list(given.values())
    with pytest.raises(ValueError, match=match):
        check_gradients(P, given, X, LABELS, **SHORT)


def test_a_parameter_missing_after_a_step_is_an_error_that_names_it():
    after = {k: v - 0.1 * G[k] for k, v in P.items() if k != "W2"}
    with pytest.raises(ValueError, match="W2"):
        check_step(P, after, 0.1, X, LABELS, **SHORT)


def test_a_parameter_that_no_layer_uses_needs_no_gradient():
    assert check_gradients({**P, "lr": 0.1}, G, X, LABELS, **_layers()).verdict == "right"


def test_gradients_of_values_on_the_way_are_let_pass():
    named = {f"d{k}": v for k, v in G.items()} | {"dZ1": X, "dA1": X}
    assert check_gradients(P, named, X, LABELS, **SHORT).verdict == "right"


@pytest.mark.parametrize("scale", [1 + 1e-6, 1 - 1e-6, 1 + 3e-7])
def test_a_factor_beside_1_is_shown_with_the_digits_that_differ(scale):
    report = check_gradients(P, {k: scale * v for k, v in G.items()}, X, LABELS, **SHORT)
    assert not any(f.detail.endswith("times 1") or " to 1 of" in f.detail for f in report.faults)


def _layers(**first):
    layers = [Layer("W1", "b1", "tanh", **first), Layer("W2", "b2", "softmax")]
    return {"layers": layers, "loss": "cross_entropy"}


@pytest.mark.parametrize(
    ("parts", "options", "match"),
    [
        ({"parameters": {**P, "W1": at(P["W1"], np.nan)}}, {}, "^W1: holds nan"),
        ({"parameters": {**P, "b2": at(P["b2"], -np.inf)}}, {}, "^b2: holds -inf"),
        ({"x": at(X, np.inf)}, {}, "^x: holds inf"),
        ({"y": at(np.eye(3)[LABELS], np.nan)}, {}, "^y: holds nan"),
        ({"x": X[:0], "y": LABELS[:0]}, {}, "^x: is empty"),
        ({"gradients": {**G, "W1": "oops"}}, {}, "gradients: W1 is the text"),
        ({"gradients": {**G, "W9": G["W1"]}}, {}, "gradients: W9"),
        ({"gradients": {**{f"d{k}": v for k, v in G.items()}, "dW9": X}}, {}, "gradients: dW9"),
        ({}, {"sample_weight": np.full(6, np.nan)}, "^sample_weight: holds nan"),
        ({}, {"lr": 0}, "^lr=0"),
        ({}, {"lr": float("nan")}, "^lr=nan"),
        ({}, {"activations": "tanh"}, "^activations='tanh'"),
        ({}, {"activations": None, "layers": "tanh"}, "^layers='tanh'"),
        ({}, {"activations": None, "layers": ["tanh", "softmax"]}, "^layers: 'tanh' is no Layer"),
        ({}, {"l2": Penalty(per_array={"W7": 0.1})}, "^l2: per_array names 'W7'"),
        ({}, {"l1": Penalty(per_array={"W1": np.inf})}, "^l1: per_array gives 'W1'"),
        ({}, {"l2": "0.1"}, "^l2='0.1'"),
        ({}, {"previous": {**G, "W1": X}}, "^previous: the gradient of W1 has shape"),
        ({}, {"activations": None, **_layers(dropout=Dropout(0.5, np.full((6, 5), 0.4), False))}, "scaled"),
        ({}, {"activations": None, **_layers(dropout=Dropout(0.5, np.full((6, 5), np.nan)))}, "^mask of"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_argument(parts, options, match):
    given = {"parameters": P, "gradients": G, "x": X, "y": LABELS, **parts}
    with pytest.raises(ValueError, match=match) as told:
        check_gradients(**{**SHORT, **given, **options})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("arrays", "flags", "said"),
    [
        ({"dW1": 1.01 * G["W1"]}, [], "no gradient of b1, W2, b2"),
        ({f"d{k}": v for k, v in G.items()}, ["--dropout", "0.5"], "--dropout"),
        ({f"d{k}": v for k, v in G.items()}, ["--lr", "0"], "lr=0"),
        ({f"d{k}": v for k, v in G.items()} | {"mask7": X}, ["--dropout", "0.5"], "mask7"),
    ],
)
def test_the_command_says_it_in_one_line_and_exits_with_2(tmp_path, capsys, arrays, flags, said):
    np.savez(tmp_path / "a.npz", x=X, y=LABELS, **P, **arrays)
    given = [str(tmp_path / "a.npz"), "--activations", "tanh", "softmax", "--loss", "cross_entropy"]
    assert main(["check", *given, *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
