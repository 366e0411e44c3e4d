"""A slip in the description is no fault of the gradients, and what no layer mentions is said."""

import numpy as np
import pytest

from mlp_torch import Dropout, Layer, check_gradients, check_step

r = np.random.default_rng(1)
X, LABELS = r.normal(size=(6, 4)), np.array([0, 2, 1, 1, 0, 2])
P = {"W1": r.normal(size=(4, 5)), "b1": r.normal(size=5), "W2": r.normal(size=(5, 3)), "b2": r.normal(size=3)}
MASK = 1.0 * (r.random((6, 5)) > 0.3)
DROP = Dropout(0.3, MASK, False)
F = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0)),
    "leaky": (lambda z: np.where(z > 0, z, 0.1 * z), lambda z: np.where(z > 0, 1, 0.1)),
}


def program(parameters=P, name="tanh", x=X):
    f, slope = F[name]
    z = x @ parameters["W1"] + parameters["b1"]
    a = f(z)
    e = np.exp(a @ parameters["W2"] + parameters["b2"])
    p = e / e.sum(axis=1, keepdims=True)
    d = (p - np.eye(3)[LABELS]) / 6
    h = d @ parameters["W2"].T * slope(z)
    G = {"W1": x.T @ h, "b1": h.sum(axis=0), "W2": a.T @ d, "b2": d.sum(axis=0)}
    return G, p, float(-np.log(p[np.arange(6), LABELS]).mean())


G, OUT, LOSS = program()
BIASLESS = [Layer("W1", "b1", "tanh"), Layer("W2", None, "softmax")]
SHORT = {"activations": ["tanh", "softmax"], "loss": "cross_entropy"}


def check(gradients=G, parameters=P, **options):
    return check_gradients(parameters, gradients, X, LABELS, **{"loss": "cross_entropy", **options})


def test_a_right_verdict_lists_what_it_is_about():
    assert check(**SHORT).message == "every gradient is right: dW1, db1, dW2 and db2"


@pytest.mark.parametrize("seen", [{}, {"output": OUT}, {"loss_value": LOSS}])
def test_a_forgotten_bias_is_found_and_is_not_the_authors_fault(seen):
    report = check(layers=BIASLESS, **seen)
    assert report.verdict == "not_comparable"
    assert "with bias='b2' in layer 2 every gradient is right" in report.message


def test_a_forgotten_bias_of_zeros_is_never_passed_over():
    zero = {**P, "b2": np.zeros(3)}
    right, _, _ = program(zero)
    report = check(right, zero, layers=BIASLESS)
    assert report.verdict == "not_comparable"
    assert report.message.startswith(
        "b2 is in your parameters and in no layer: nothing was said of it; add bias='b2'"
    )
    assert "note: with bias='b2' in layer 2 every gradient is right" in report.notes
    wrong = check({**right, "b2": 2 * right["b2"]}, zero, layers=BIASLESS)
    assert (wrong.verdict, wrong.notes) == ("not_comparable", ())
    del right["b2"]
    silent = check(right, zero, layers=BIASLESS)
    assert silent.verdict == "right"
    assert "b2 is in your parameters and in no layer" in silent.notes[0]


def test_with_something_wrong_the_unmentioned_is_a_note():
    zero = {**P, "b2": np.zeros(3)}
    right, _, _ = program(zero)
    report = check({**right, "W1": 2 * right["W1"]}, zero, layers=BIASLESS)
    assert (report.verdict, [f.kind for f in report.faults]) == ("wrong", ["constant_factor"])
    assert any("b2 is in your parameters and in no layer" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("relu", "activation='relu'"),
        ("leaky", "activation='leaky_relu', activation_parameters={'alpha': 0.1}"),
    ],
)
def test_another_activation_is_named_as_the_description_it_is(name, write):
    gradients, out, loss = program(name=name)
    for seen in ({}, {"output": out}, {"loss_value": loss}):
        report = check(gradients, **SHORT, **seen)
        assert report.verdict == "not_comparable"
        assert f"with {write} in layer 1" in report.message
    slipped = check({**gradients, "W1": 2 * gradients["W1"]}, **SHORT, output=out)
    assert slipped.verdict == "not_comparable"
    assert f"With {write} in layer 1 it is" in slipped.message


@pytest.mark.parametrize(
    ("options", "write"),
    [
        ({**SHORT, "loss": "cross_entropy_from_logits"}, "loss='cross_entropy'"),
        ({"layers": [Layer("W1", "b1", "tanh", dropout=DROP), Layer("W2", "b2", "softmax")]},
         "dropout=None in layer 1"),
        ({"layers": [Layer("W1", None, "tanh"), Layer("W2", "b2", "softmax")]}, "bias='b1' in layer 1"),
    ],
)  # fmt: skip
def test_other_slips_in_the_description(options, write):
    report = check(**options)
    assert report.verdict != "right"
    assert f"with {write}" in report.message
    assert any(write in f.detail for other in [report.faults, *report.alternatives] for f in other)


def test_no_other_description_leaves_out_the_array_that_is_wrong():
    for name in P:
        report = check({**G, name: 1.00001 * G[name]}, **SHORT)
        assert report.verdict in ("wrong", "scaled")


def test_a_step_is_judged_by_the_same_rules():
    after = {k: v - 0.1 * G[k] for k, v in P.items()}
    report = check_step(P, after, 0.1, X, LABELS, layers=BIASLESS, loss="cross_entropy")
    assert "with bias='b2' in layer 2 every gradient is right" in report.message
    tiny = {k: v - 1e-14 * G[k] for k, v in P.items()}
    report = check_step(P, tiny, 1e-14, X, LABELS, **SHORT)
    assert report.verdict == "not_comparable"
    assert "rounding hides" in report.message


def test_samples_in_columns_said_to_be_rows():
    S, x, y = r.normal(size=(4, 4)), r.normal(size=(4, 4)), r.normal(size=(4, 4))
    gradient = x @ (x.T @ S - y.T) / 4
    options = {"activations": ["identity"], "loss": "half_squared_error", "weight_layout": "in,out"}
    report = check_gradients([S], [gradient], x, y, samples="rows", **options)
    assert report.verdict != "right"
    assert "samples='columns'" in report.message


def test_nothing_was_judged():
    for empty in ({}, []):
        report = check_gradients(empty, empty, X, LABELS, **SHORT)
        assert (report.verdict, report.message) == (
            "not_comparable",
            "nothing was judged: parameters are empty",
        )


def test_a_list_has_one_name_an_array_everywhere():
    report = check_gradients(
        list(P.values()), [2 * G["W1"], G["b1"], G["W2"], G["b2"]], X, LABELS,
        layers=[(0, 1, "tanh"), (2, 3, "softmax")], loss="cross_entropy",
    )  # fmt: skip
    assert [*report.arrays] == [f"parameters[{i}]" for i in range(4)]
    assert report.faults[0].arrays == ("parameters[0]",)
    assert report.message.startswith("d parameters[0] is the true one times 2")
    assert "; d parameters[0][" in report.faults[0].evidence
    nested = [(P["W1"], P["b1"]), (P["W2"], P["b2"])]
    report = check_gradients(nested, [(G["W1"], G["b1"]), (G["W2"], G["b2"])], X, LABELS, **SHORT)
    assert [*report.arrays][-1] == "parameters[1][1]"


@pytest.mark.parametrize(
    "layers",
    [
        [("W1", "b1", "tanh"), ("W2", "b2", "softmax")],
        [["W1", "b1", "tanh"], Layer("W2", "b2", "softmax")],
        [{"weight": "W1", "bias": "b1", "activation": "tanh"}, ("W2", "b2", "softmax")],
    ],
)
def test_layers_may_be_tuples_and_dicts(layers):
    assert check(layers=layers).verdict == "right"


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        (("W1", "b1", "tahn"), "did you mean 'tanh'"),
        (("W1", "b1", 3), "write Layer"),
        ((), "write Layer"),
        ({"wieght": "W1"}, "write Layer"),
        (3, "is no Layer"),
    ],
)
def test_what_is_no_layer_is_one_line(layer, match):
    with pytest.raises(ValueError, match=match):
        check(layers=[layer, ("W2", "b2", "softmax")])


def test_a_loss_that_is_infinite_is_judged_by_nobody():
    W, y = np.array([[1.0], [2.0]]), np.ones((3, 1))
    x = np.zeros((3, 2))
    report = check_gradients([W], [W], x, y, activations=["identity"], loss="bce")
    assert report.verdict == "not_comparable"
    assert "not finite" in report.message
