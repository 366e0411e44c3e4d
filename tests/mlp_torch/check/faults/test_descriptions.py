"""Right gradients of a network that is described wrongly: said as such, and how to describe it."""

from dataclasses import replace

import numpy as np
import pytest

from mlp_torch import Dropout, Layer, Penalty, check_gradients
from tests.shares import some

N = 8
SQUARE = (5, 5, 5, 5)
SHAPE = (4, 5, 5, 3)
HIDDEN = ("tanh", "tanh")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z, axis=1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


ACTS = {
    "identity": (lambda z: z, np.ones_like),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "softplus": (lambda z: np.log1p(np.exp(z)), sigmoid),
}
LOSSES = {  # value and derivative of d = o − y, or of o and y
    "squared_error": (lambda o, y: (o - y) ** 2, lambda o, y: 2 * (o - y)),
    "half_squared_error": (lambda o, y: (o - y) ** 2 / 2, lambda o, y: o - y),
    "absolute_error": (lambda o, y: abs(o - y), lambda o, y: np.sign(o - y)),
    "bce": (
        lambda o, y: -y * np.log(o) - (1 - y) * np.log(1 - o),
        lambda o, y: (o - y) / (o * (1 - o)),
    ),
    "bce_with_logits": (lambda o, y: np.log1p(np.exp(o)) - y * o, lambda o, y: sigmoid(o) - y),
    "cross_entropy": (lambda o, y: -y * np.log(o), lambda o, y: -y / o),
    "cross_entropy_from_logits": (lambda o, y: -y * np.log(softmax(o)), lambda o, y: softmax(o) - y),
}


class Author:
    """A right program: its arrays, its output and the value of its loss."""

    def __init__(
        self, sizes=SHAPE, hidden=HIDDEN, out="softmax", loss="cross_entropy", reduction="mean_over_samples",
        l2=0.0, bare=(), axis=1, times=1.0,
    ):  # fmt: skip
        r = np.random.default_rng(3)
        self.acts, self.loss, self.reduction = (*hidden, out), loss, reduction
        self.W = [r.normal(size=sizes[i : i + 2]) * 0.6 for i in range(3)]
        self.b = [r.normal(size=sizes[i + 1]) * 0.4 for i in range(3)]
        self.x, classes = r.normal(size=(N, sizes[0])), np.eye(sizes[-1])[r.integers(0, sizes[-1], N)]
        real = r.normal(size=(N, sizes[-1]))
        self.y = classes if "entropy" in loss else (real > 0) * 1.0 if "bce" in loss else real
        z, a = [], [self.x]
        for i, name in enumerate(self.acts):
            z.append(a[-1] @ self.W[i] + (0 if i in bare else self.b[i]))
            f = softmax(z[-1], axis) if name == "softmax" else ACTS[name][0](z[-1])
            a.append(f * times if i == 0 else f)
        o = self.output = a[-1]
        share = {"sum": 1, "mean_over_samples": 1 / N, "mean_over_all": 1 / o.size}[reduction]
        terms, slope = LOSSES[loss]
        self.value = share * terms(o, self.y).sum() + l2 / 2 * sum((W**2).sum() for W in self.W)
        g, self.gradients = share * slope(o, self.y), {}
        for i in (2, 1, 0):
            g = g * times if i == 0 else g
            if self.acts[i] == "softmax":
                dz = a[i + 1] * (g - (g * a[i + 1]).sum(axis=axis, keepdims=True))
            else:
                dz = g * ACTS[self.acts[i]][1](z[i])
            self.gradients |= {
                f"W{i + 1}": a[i].T @ dz + l2 * self.W[i], f"b{i + 1}": dz.sum(axis=0) * (i not in bare)
            }  # fmt: skip
            g = dz @ self.W[i].T

    def layers(self, *acts):
        return [Layer(f"W{i + 1}", f"b{i + 1}", a) for i, a in enumerate(acts or self.acts)]

    def check(self, **said):
        names = {f"{letter}{i + 1}": v[i] for letter, v in (("W", self.W), ("b", self.b)) for i in range(3)}
        options = {"layers": self.layers(), "loss": self.loss, "reduction": self.reduction}
        options |= {"samples": "rows", "weight_layout": "in,out"} | said
        return check_gradients(names, self.gradients, self.x, self.y, **options)


def changed(layers, number, **fields):
    return [replace(v, **fields) if i == number else v for i, v in enumerate(layers, start=1)]


def exchanged(layers, *fields):
    first, second = layers[:2]
    mine, its = ({f: getattr(v, f) for f in fields} for v in (first, second))
    return [replace(first, **its), replace(second, **mine), layers[2]]


MASK = (np.random.default_rng(5).random((N, 5)) > 0.4) * 1.0
PLAIN = Author()
MIXED = Author(SQUARE, hidden=("tanh", "sigmoid"))
REAL = {loss: Author(out="identity", loss=loss) for loss in list(LOSSES)[:3]}
# (the author, what is said of the network, what the report must say)
FORWARD = {
    **{f"bias {i} forgotten": (PLAIN, {"layers": changed(PLAIN.layers(), i, bias=None)}, f"bias='b{i}'")
       for i in (1, 2, 3)},
    "no bias described": (
        PLAIN, {"layers": [replace(v, bias=None) for v in PLAIN.layers()]}, "bias='b1', 'b2', 'b3'"
    ),
    **{f"bias {i} not added": (Author(bare=(i - 1,)), {}, f"layer {i}") for i in (1, 2, 3)},
    "no bias added": (Author(bare=(0, 1, 2)), {}, "no layer adds its bias"),
    **{f"{a} for {b} in layer 1": (
        Author(hidden=(b, "tanh")), {"layers": PLAIN.layers(a, "tanh", "softmax")}, f"activation='{b}'")
       for a, b in (("relu", "tanh"), ("relu", "leaky_relu"), ("leaky_relu", "relu"), ("tanh", "sigmoid"),
                    ("relu", "softplus"))},
    **{f"{a} for {b} in both": (
        Author(hidden=(b, b)), {"layers": PLAIN.layers(a, a, "softmax")}, f"activation='{b}' in every hidden")
       for a, b in (("sigmoid", "tanh"), ("tanh", "relu"))},
    "layers 1 and 2 exchanged": (
        MIXED, {"layers": exchanged(MIXED.layers(), "weight", "bias", "activation")},
        "layers 1 and 2 exchanged",
    ),
    "weights and biases exchanged": (
        MIXED, {"layers": exchanged(MIXED.layers(), "weight", "bias")},
        "the weights and biases of layers 1 and 2 exchanged",
    ),
    "weights exchanged": (
        MIXED, {"layers": exchanged(MIXED.layers(), "weight")}, "the weights of layers 1 and 2 exchanged"
    ),
    "biases exchanged": (
        MIXED, {"layers": exchanged(MIXED.layers(), "bias")}, "the biases of layers 1 and 2 exchanged"
    ),
    "activations exchanged": (
        MIXED, {"layers": exchanged(MIXED.layers(), "activation")},
        "the activations of layers 1 and 2 exchanged",
    ),
    "dropout described": (
        PLAIN, {"layers": changed(PLAIN.layers(), 1, dropout=Dropout(0.4, MASK, False))}, "dropout=None"
    ),
    **{f"weight {i} transposed": (
        MIXED, {"layers": changed(MIXED.layers(), i, weight_layout="out,in")}, "weight_layout='in,out'")
       for i in (1, 2, 3)},
    "a layer's output doubled": (Author(times=2.0), {}, "multiplied by 2"),
    "softmax over the samples": (Author(axis=0), {}, "softmax over the samples"),
}  # fmt: skip
LOSS = {
    **{f"{a} for {b}": (REAL[b], {"loss": a}, b) for a in REAL for b in REAL if a != b},
    "half_squared_error for bce": (
        Author(out="sigmoid", loss="bce"), {"loss": "half_squared_error"}, "bce"
    ),
    **{f"{a} for {b}": (Author(reduction=b), {"reduction": a}, b)
       for a, b in (("sum", "mean_over_samples"), ("mean_over_samples", "sum"), ("sum", "mean_over_all"))},
    "penalty forgotten": (Author(l2=0.1), {}, "l2=Penalty(0.1)"),
    "half of the penalty": (Author(l2=0.1), {"l2": Penalty(0.1, half=False)}, "l2=Penalty(0.1)"),
    "penalty over N": (Author(l2=0.1), {"l2": Penalty(0.1, over_samples=True)}, "l2=Penalty(0.1)"),
    "penalty that is none": (PLAIN, {"l2": Penalty(0.1)}, "leave l2= out"),
}  # fmt: skip


@pytest.mark.parametrize("case", some(FORWARD, 3))
def test_another_forward_pass_than_described_is_no_fault_of_the_author(case):
    author, said, words = FORWARD[case]
    for seen in ({}, {"loss_value": author.value}):
        report = author.check(**said, **seen)
        assert report.verdict == "not_comparable", str(report)
        assert {f.kind for f in report.faults} == {"forward_mismatch"}
        assert words in report.message


def test_a_softmax_that_the_loss_holds_already_is_told_as_the_description():
    author = Author(out="identity", loss="cross_entropy_from_logits")
    report = author.check(layers=PLAIN.layers())
    assert report.verdict == "other_loss"
    assert "with activation='identity' in layer 3" in report.message.replace("or with", "with")


@pytest.mark.parametrize("case", list(LOSS))
def test_another_loss_than_described_is_told_and_the_loss_value_proves_it(case):
    author, said, words = LOSS[case]
    report = author.check(**said)
    assert words in report.message
    assert report.verdict == "other_loss" or "or your description differs from your code" in report.message
    report = author.check(**said, loss_value=author.value)
    assert (report.verdict, [f.kind for f in report.faults]) == ("other_loss", ["loss_mismatch"]), str(report)
    assert words in report.message


def test_a_loss_value_that_is_the_described_one_leaves_the_fault_with_the_author():
    author = Author(l2=0.1)
    author.gradients = PLAIN.gradients
    report = author.check(l2=Penalty(0.1), loss_value=author.value)
    assert (report.verdict, [f.kind for f in report.faults]) == ("wrong", ["wrong_regulariser"])
    doubled = {name: 2 * value for name, value in PLAIN.gradients.items()}
    author = Author()
    author.gradients = doubled
    report = author.check(loss_value=author.value)
    assert (report.verdict, [f.kind for f in report.faults]) == ("scaled", ["constant_factor"])
