"""The networks of the steps that speak of a chain, as moments that the page of an explanation shows."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from manual import MLP
from manual.numbers import Array
from manual.perceptron import X, Y
from mlp_torch.explanation.page.chains import Moment, Subject
from mlp_torch.lecture import chain, smallest, xor
from mlp_torch.lecture.walk import Walk
from mlp_torch.model import to_torch
from mlp_torch.trace import trace


@dataclass(frozen=True)
class Explained:
    """The moments of a network, the one to begin with, and what it is in words."""

    moments: list[Moment]
    subject: Subject
    current: int = 0
    note: str = ""


def moment(label: str, model: MLP, x: Array, y: Array, loss: str) -> Moment:
    """Both engines' traces of these samples, x (N, in)."""
    return Moment(label, model.trace(x, y, loss), trace(to_torch(model), x, y, loss))


def line(weights: Array) -> MLP:
    """ŷ = Σ wᵢ xᵢ, without a bias."""
    model = MLP((len(weights), 1))
    model.parameters["layers.0.weight"] = weights[None]
    model.parameters["layers.0.bias"] = np.zeros(1)
    return model


def explain_smallest(walk: Walk) -> Explained:
    """Step 3: y = wx on its way through the slide's samples, twice."""
    moments = []
    for i, w in enumerate(smallest.measure_smallest().two_passes[:-1]):
        x, y = X[i % len(X)], Y[i % len(X)]
        words = f"pass {i // len(X) + 1}, sample x = {x:g}, y = {y:g}, w = {float(w):.6g}"
        moments.append(
            moment(words, line(np.array([float(w)])), np.array([[x]]), np.array([[y]]), "half_squared_error")
        )
    subject = Subject(
        "ŷ = w x with L = ½ (y − ŷ)², under the slide's line w = w + (y − ŷ) x: each sample's ∂L/∂w is what "
        "is subtracted from w. W1[0,0] is w.",
        ("x",), ("ŷ",), ("layers.0.weight", (0, 0)), frozenset({"b1"}),
    )  # fmt: skip
    return Explained(moments, subject, 0, "the samples of two passes, in their order")


def explain_second(walk: Walk) -> Explained:
    """Step 5: two weights, the sample of the table."""
    one = moment(
        "the sample", line(smallest.ONE_W), smallest.ONE_X, smallest.ONE_Y[:, None], "half_squared_error"
    )
    subject = Subject(
        "ŷ = w₁ x₁ + w₂ x₂ with L = ½ (y − ŷ)²: x = (2, −1), y = 0.5. W1[0,0] is w₁, W1[0,1] is w₂.",
        ("x₁", "x₂"), ("ŷ",), ("layers.0.weight", (0, 0)), frozenset({"b1"}),
    )  # fmt: skip
    return Explained([one], subject)


def four_parameters() -> MLP:
    """The four-parameter network as a 1-1-1-1 network whose second and third biases are 0."""
    network, model = chain.NETWORK, MLP((1, 1, 1, 1), activation="sigmoid", output_activation="sigmoid")
    for i, (w, b) in enumerate(((network.w1, network.b1), (network.w2, 0.0), (network.w3, 0.0))):
        model.parameters[f"layers.{i}.weight"] = np.array([[w]])
        model.parameters[f"layers.{i}.bias"] = np.array([b])
    return model


def explain_chain(walk: Walk) -> Explained:
    """Step 6: the network of four parameters."""
    x, y = chain.SAMPLE
    one = moment("the sample", four_parameters(), np.array([[x]]), np.array([[y]]), "half_squared_error")
    subject = Subject(
        "The network above. What the slides call a₁ is z1 here (a weighted sum), and their f₁ is a1 (its "
        "sigmoid); W1[0,0], b1[0], W2[0,0] and W3[0,0] are w₁, b₁, w₂ and w₃.",
        ("x",), ("ŷ = f₃",), ("layers.0.weight", (0, 0)), frozenset({"b2", "b3"}),
    )  # fmt: skip
    return Explained([one], subject)


def explain_xor(walk: Walk) -> Explained:
    """Step 9: a network of two hidden neurons that learned XOR, over its passes."""
    epochs = walk.epochs(300)
    wanted = {round(i * epochs / 20) for i in range(21)}
    x, y = xor.X[1:2], xor.Y[1:2]
    for seed in walk.repetitions:
        moments = []
        for epoch, model, _ in xor.passes((2,), seed, epochs):
            if epoch in wanted:
                words = f"pass {epoch}" if epoch else "the initial weights"
                moments.append(moment(words, copy.deepcopy(model), x, y, "bce_with_logits"))
        if xor.right(model) == 4:
            break
    subject = Subject(
        f"Two tanh neurons and one output, trained by Adam on the four points (seed {seed}); the sample is "
        "(0, 1), which is XOR's 1.",
        ("x₁", "x₂"), ("logit",), ("layers.0.weight", (0, 1)),
    )  # fmt: skip
    note = f"{len(moments)} of {epochs} passes; the last one decides {xor.right(model)} of 4 points right"
    return Explained(moments, subject, len(moments) // 4, note)


EXPLAINED: Mapping[str, Callable[[Walk], Explained]] = {
    "smallest": explain_smallest,
    "second": explain_second,
    "chain": explain_chain,
    "xor": explain_xor,
}
