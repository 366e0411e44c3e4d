"""Other people's names of losses and activations are understood, and what is unclear is told."""

import numpy as np
import pytest
import torch

from mlp_torch import Layer, check_gradients, check_step
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.losses import LOSSES
from mlp_torch.check.describe.names import ACTIVATIONS, NAMES, activation, loss
from mlp_torch.errors import UserError

r = np.random.default_rng(2)
X, LABELS = r.normal(size=(6, 4)), np.array([0, 2, 1, 1, 0, 2])
P = {"W": r.normal(size=(4, 3)), "b": r.normal(size=3)}
ONE = {"W": r.normal(size=(4, 1)), "b": r.normal(size=1)}
BITS = np.array([0, 1, 1, 0, 1, 0])


def softmax_gradients():
    e = np.exp(X @ P["W"] + P["b"])
    d = (e / e.sum(axis=1, keepdims=True) - np.eye(3)[LABELS]) / 6
    return {"W": X.T @ d, "b": d.sum(axis=0)}


def sigmoid_gradients():
    d = (1 / (1 + np.exp(-X @ ONE["W"] - ONE["b"])) - BITS[:, None]) / 6
    return {"W": X.T @ d, "b": d.sum(axis=0)}


def test_every_name_of_the_tables_leads_to_one_of_ours():
    assert set(NAMES.values()) <= set(LOSSES)
    assert set(ACTIVATIONS.values()) <= set(FORMS)


@pytest.mark.parametrize(
    ("given", "last", "outputs", "meant"),
    [
        ("mse", "identity", 1, "squared_error"),
        ("MSELoss", "identity", 2, "squared_error"),
        ("l2", "identity", 2, "squared_error"),
        ("mae", "identity", 2, "absolute_error"),
        ("L1Loss", "identity", 2, "absolute_error"),
        ("l1", "identity", 2, "absolute_error"),
        ("logloss", "softmax", 3, "cross_entropy"),
        ("log_loss", "sigmoid", 1, "bce"),
        ("binary_crossentropy", "sigmoid", 1, "bce"),
        ("binary_cross_entropy", "identity", 1, "bce_with_logits"),
        ("BCELoss", "sigmoid", 1, "bce"),
        ("BCELoss", "identity", 1, "bce"),
        ("BCEWithLogitsLoss", "identity", 1, "bce_with_logits"),
        ("BCEWithLogitsLoss", "sigmoid", 1, "bce_with_logits"),
        ("binary_cross_entropy_with_logits", "identity", 1, "bce_with_logits"),
        ("categorical_crossentropy", "softmax", 3, "cross_entropy"),
        ("sparse_categorical_crossentropy", "identity", 3, "cross_entropy_from_logits"),
        ("CrossEntropyLoss", "softmax", 3, "cross_entropy"),
        ("CrossEntropyLoss", "identity", 3, "cross_entropy_from_logits"),
        ("cross_entropy", "identity", 3, "cross_entropy_from_logits"),
        ("softmax_cross_entropy", "identity", 3, "cross_entropy_from_logits"),
        ("nll", "softmax", 3, "cross_entropy"),
        ("nll_loss", "softmax", 3, "cross_entropy"),
        ("hinge_loss", "identity", 1, "hinge"),
        (torch.nn.MSELoss(), "identity", 1, "squared_error"),
        (torch.nn.functional.cross_entropy, "identity", 3, "cross_entropy_from_logits"),
        ("torch.nn.CrossEntropyLoss()", "softmax", 3, "cross_entropy"),
    ],
)
def test_a_loss_by_another_name_is_understood_and_said(given, last, outputs, meant):
    found, note = loss(given, last, outputs)
    assert found == meant
    assert f"was taken for {meant}" in note


@pytest.mark.parametrize("name", LOSSES)
def test_our_own_names_mean_what_they_say_over_what_they_are_made_for(name):
    last = {"cross_entropy": "softmax", "bce": "sigmoid"}.get(name, "identity")
    assert loss(name, last, 3) == (name, "")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ReLU", "relu"), ("Tanh", "tanh"), ("Sigmoid", "sigmoid"), ("LeakyReLU", "leaky_relu"),
        ("Softmax", "softmax"), ("Identity", "identity"), ("linear", "identity"), ("none", "identity"),
        (None, "identity"), ("logistic", "sigmoid"), ("torch.nn.ReLU()", "relu"), (torch.nn.ReLU(), "relu"),
        (torch.nn.Tanh, "tanh"), (torch.sigmoid, "sigmoid"), (np.tanh, "tanh"), ("soft-plus", "softplus"),
    ],
)  # fmt: skip
def test_an_activation_by_another_name_is_understood(given, meant):
    assert activation(given) == meant
    assert Layer("W", activation=given).activation == meant


@pytest.mark.parametrize("last", ["Softmax", "softmax", None, "linear", torch.nn.Identity()])
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "cross_entropy", "nll"])
def test_the_last_activation_tells_whether_cross_entropy_takes_logits(last, name):
    for given in ({"activations": [last]}, {"layers": [Layer("W", "b", last)]}):
        activations = [] if last in ("Softmax", "softmax") else ["identity"]
        report = check_gradients(P, softmax_gradients(), X, LABELS, loss=name, **given)
        assert report.verdict == "right", str(report)
        taken = "cross_entropy_from_logits" if activations else "cross_entropy"
        assert any(f"taken for {taken}" in n for n in report.notes) == (name != taken)


def test_a_step_takes_the_names_too():
    after = {n: v - 0.1 * softmax_gradients()[n] for n, v in P.items()}
    report = check_step(P, after, 0.1, X, LABELS, loss="nll", activations=["Softmax"])
    assert report.verdict == "right"


@pytest.mark.parametrize("given", [{"activations": ["sigmoid"]}, {"layers": [Layer("W", "b", "sigmoid")]}])
def test_cross_entropy_over_one_sigmoid_output_says_that_bce_is_meant(given):
    with pytest.raises(UserError, match="over one sigmoid output bce is meant; say loss='bce'"):
        check_gradients(ONE, sigmoid_gradients(), X, BITS, loss="cross_entropy", **given)
    report = check_gradients(ONE, sigmoid_gradients(), X, BITS, loss="log_loss", **given)
    assert report.verdict == "right"


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'hinge'"):
        check_gradients(P, softmax_gradients(), X, LABELS, loss="hinged", activations=["softmax"])
    with pytest.raises(UserError, match="did you mean 'softmax'"):
        check_gradients(P, softmax_gradients(), X, LABELS, loss="nll", activations=["LogSoftmax"])


def test_the_mean_over_entries_is_said_where_libraries_take_it():
    d = 2 * (X @ P["W"] + P["b"] - np.eye(3)[LABELS]) / 18
    given = {"W": X.T @ d, "b": d.sum(axis=0)}
    report = check_gradients(P, given, X, np.eye(3)[LABELS], loss="MSELoss", activations=[None])
    assert "reduction='mean_over_all'" in str(report)
