"""Sentences name the author's arrays, say everything once, and ask for what would settle the rest."""

import numpy as np
import pytest

from mlp_torch import Layer, Penalty, check_gradients
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.losses import LOSSES
from tests.mlp_torch.check.faults.stranger import Stranger, kinds, named, softmax


def test_where_the_author_counts_from_0_layers_are_said_by_their_weight():
    s = Stranger((4, 5, 3), first=0)
    report = s.check(s.back(slope=lambda z: 1.0))
    assert "lack the derivative of tanh in the layer of W0, dz0 = da0 · f′(z0)" in report.message
    found = s.back()
    noise = {n: s.random.normal(size=found[n].shape) for n in ("W0", "W1")}
    report = s.check(found | noise)
    assert "unexplained: dW0 and dW1 are wrong, first at the layer of W1" in report.message
    assert "layer 1" not in str(report)


def test_positions_in_a_list_are_no_numbers_of_the_authors():
    s = Stranger((4, 5, 3))
    found = s.back(slope=lambda z: 1.0)
    names = ("W1", "b1", "W2", "b2")
    report = check_gradients(
        [s.parameters[n] for n in names], [found[n] for n in names], s.x, s.y,
        layers=[Layer(0, 1, "tanh"), Layer(2, 3, "softmax")], loss="cross_entropy", samples="rows",
    )  # fmt: skip
    assert "in the layer of parameters[0], dz = da · f′(z)" in report.message


def test_everything_is_said_once():
    s = Stranger()
    found = s.back()
    text = str(s.check(found | {"W2": 2 * found["W2"]}))
    assert text.count("the true one times 2") == text.count("[constant_factor]") == 1
    assert "in layer" not in text.splitlines()[0]


def test_no_more_than_two_alternatives_are_told():
    s = Stranger()
    found = s.back(s.top * 7)
    text = str(s.check(found, lr=1 / 7))
    assert 1 <= text.count("\nor: ") <= 2


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (-np.inf, "an infinite entry")])
def test_nan_is_said_with_its_place(value, words):
    s = Stranger()
    found = s.back()
    found["W1"][0, 3] = value
    report = s.check(found)
    assert (report.verdict, kinds(report)) == ("wrong", ["not_finite"])
    assert report.message.startswith(f"dW1 holds {words} at [0, 3]")
    assert "nan" not in str(report)
    report = s.check(found | {"W2": 2 * found["W2"]})
    assert kinds(report) == ["not_finite", "constant_factor"]


def test_no_ratio_is_shown_where_the_truth_is_0():
    s = Stranger(hidden="relu", moved=-50.0)  # the first layer is dead
    found = s.back()
    report = s.check(found | {"W1": s.random.normal(size=found["W1"].shape)})
    assert np.isnan(report.arrays["W1"].ratio)
    assert "the true dW1 is 0" in report.message
    report = s.check(found | {"W3": 0 * found["W3"]})
    assert (kinds(report), report.arrays["W3"].verdict) == (["zero_gradient"], "zero")
    assert "ratio" not in "".join(f.evidence for f in report.faults)
    s = Stranger()
    found = s.back()
    found["b3"] = np.full(3, s.dz[3].sum() + 1e-17)  # 0 but for rounding
    assert np.isnan(s.check(found).arrays["b3"].ratio)


def test_unexplained_names_the_arrays_and_asks_for_what_was_not_given():
    s = Stranger()
    found = s.back()
    found["W2"] = s.random.normal(size=found["W2"].shape)
    lines = s.check(found).message.splitlines()
    assert lines[0] == "unexplained: dW2 is wrong. Right: dW1, db1, db2, dW3 and db3."
    settled = "what would settle it: "
    asked = ["output= (your network's)", "loss_value=", "previous= (the gradients of the call before)", "lr="]
    assert lines[1] == settled + ", ".join(asked)
    lines = s.check(found, output=s.a[-1], lr=0.1).message.splitlines()
    assert lines[1] == settled + ", ".join(asked[1:3])


def with_penalty(s, amount, names="W"):
    found = s.back()
    return {n: g + (amount * s.parameters[n] if n[0] in names else 0) for n, g in found.items()}


@pytest.mark.parametrize(
    ("amount", "names", "given", "option"),
    [
        (0.2, "W", 0.1, "l2=Penalty(0.1, half=False)"),
        (0.1, "W", Penalty(0.1, half=False), "l2=Penalty(0.1)"),
        (0.1 / 7, "W", 0.1, "l2=Penalty(0.1, over_samples=True)"),
        (0.1, "W", Penalty(0.1, over_samples=True), "l2=Penalty(0.1)"),
        (0.1, "Wb", 0.1, "l2=Penalty(0.1, on_biases=True)"),
        (0.1, "W", None, "l2=Penalty(0.1)"),
        (0.0, "W", 0.1, "leave l2= out"),
    ],
)
def test_a_penalty_by_another_convention_is_an_option_to_write(amount, names, given, option):
    s = Stranger()
    found = with_penalty(s, amount, names)
    report = s.check(found, l2=given)
    assert (report.verdict, kinds(report)) == ("wrong", ["wrong_regulariser"])
    line = next(line for line in report.message.splitlines() if line.startswith("or your description"))
    assert option in line
    written = option.removeprefix("l2=")
    asked = None if "leave" in option else eval(written, {"Penalty": Penalty})
    assert s.check(found, l2=asked).verdict == "right"


@pytest.mark.parametrize(("times", "option"), [(7, "reduction='sum'"), (1 / 3, "reduction='mean_over_all'")])
@pytest.mark.parametrize("l2", [None, 0.1])
def test_another_reduction_is_an_option_to_write(times, option, l2):
    s = Stranger()
    found = s.back(s.top * times)
    found = {n: g + ((l2 or 0) * s.parameters[n] if n[0] == "W" else 0) for n, g in found.items()}
    report = s.check(found, l2=l2)
    assert report.verdict == ("wrong" if l2 else "scaled")
    assert (
        f"or your description differs from your code: every gradient is right for {option}" in report.message
    )


def test_another_loss_is_told_by_its_name():
    s = Stranger(out="identity")
    d = s.a[-1] - s.y
    huber = s.check(s.back(np.clip(d, -1, 1) / s.N))
    assert (huber.verdict, kinds(huber)) == ("other_loss", ["loss_mismatch"])
    root = np.sqrt((d**2).mean())
    rmse = s.check(s.back(d / d.size / root), loss="squared_error", reduction="mean_over_all")
    assert (rmse.verdict, kinds(rmse)) == ("other_loss", ["loss_mismatch"])
    assert "right for loss='rmse'" in rmse.message
    for loss, top in (("huber", np.clip(d, -1, 1) / d.size), ("rmse", d / d.size / root)):
        assert s.check(s.back(top), loss=loss, reduction="mean_over_all").verdict == "right"


@pytest.mark.parametrize("loss", ["huber", "rmse"])
def test_the_derivative_of_a_loss_is_that_of_its_value(loss):
    r = np.random.default_rng(0)
    o, y, e = r.normal(size=(6, 3)) * 2, r.normal(size=(6, 3)), r.normal(size=(6, 3))
    row = LOSSES[loss]
    up, down = (row.terms(o + t * e, y).mean() for t in (1e-6, -1e-6))
    assert np.isclose((up - down) / 2e-6, (row.derivative(o, y) * e).mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("author", "words"),
    [
        ({"bias": 1}, "layer 2 adds no bias"),
        ({"times": 2.0}, "the output of layer 3 is multiplied by 2"),
        ({"times": 3.7}, "the output of layer 3 is multiplied by 3.7"),
    ],
)
def test_another_forward_pass_under_which_all_is_right_is_said_as_such(author, words):
    s = Stranger(out="identity", hidden="tanh")
    b, times = list(s.b), author.get("times", 1.0)
    if "bias" in author:
        s.b[author["bias"]] = 0 * s.b[author["bias"]]
    s.forward()
    found = s.back(times * (times * s.a[-1] - s.y) / s.N)
    output, s.b, s.hidden = times * s.a[-1], b, "tanh"
    report = s.check(found)
    assert (report.verdict, kinds(report), report.alternatives) == (
        "not_comparable",
        ["forward_mismatch"],
        [],
    )
    assert words in report.message
    s.forward()
    assert "forward_mismatch" not in named(s.check(found, output=s.a[-1]))
    assert s.check(found, output=output).verdict == "not_comparable"


def test_relu6_is_an_activation():
    z = np.array([-1.0, 0.5, 5.9, 6.1])
    assert FORMS["relu6"].f(z, {}).tolist() == [0, 0.5, 5.9, 6]
    assert FORMS["relu6"].from_z(z, {}).tolist() == [0, 1, 1, 0]
    s = Stranger((4, 5, 3), hidden="relu")
    s.W[0] = s.W[0] * 20
    s.forward()
    s.a[1] = np.minimum(s.a[1], 6)
    s.a[2] = softmax(s.a[1] @ s.W[1] + s.b[1])
    s.top = (s.a[2] - s.y) / s.N
    found = s.back(slope=lambda z: ((z > 0) & (z < 6)) * 1.0)
    s.hidden = "relu6"
    assert s.check(found).verdict == "right"
    s.hidden = "relu"
    assert "activation='relu6' in layer 1" in s.check(found).message
