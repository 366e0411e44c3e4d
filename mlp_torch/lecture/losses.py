"""Step 4: L1, L2, zero-one and hinge: values, gradients, and what each is good for, by training on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from manual import LOSSES, MLP, SGD, fit
from manual.losses import d_zero_one, zero_one
from manual.numbers import Array
from manual.training.engine import ManualEngine
from mlp_torch.lecture.page import Page
from mlp_torch.lecture.walk import Walk

SALARIES = np.array([[1.0], [2.0], [3.0], [4.0], [100.0]])  # one of the five is an outlier
# The class is the sign of x; the last sample lies far on its right side.
SIDES = np.array([[-2.0], [-1.5], [-1.0], [0.5], [1.0], [40.0]])


def fitted(x: Array, y: Array, loss: str, lr: float, epochs: int) -> MLP:
    """A linear perceptron trained on all samples at once, from w = b = 0; the rate falls to 0."""
    model = MLP((1, 1))
    for value in model.parameters.values():
        value[...] = 0
    engine = ManualEngine(model, loss, SGD(model.parameters, lr))
    for _ in fit(engine, x, y, epochs=epochs, batch_size=len(x), lr=lr, schedule="cosine"):
        pass
    return model


@dataclass(frozen=True)
class Losses:
    """Constants fitted to the salaries by loss, and wrong decisions on the sides by loss."""

    constants: dict[str, float]
    wrong: dict[str, int]


def measure_losses() -> Losses:
    """With x = 0 the perceptron is the constant b; with the sides it must decide."""
    nothing = np.zeros_like(SALARIES)
    constants = {
        name: float(fitted(nothing, SALARIES, name, lr, 600).parameters["layers.0.bias"][0])
        for name, lr in (("mse", 0.1), ("l1", 0.1))
    }
    signs = np.where(SIDES > 0, 1.0, -1.0)
    wrong = {}
    for name, lr, y in (("mse", 2e-3, signs), ("l1", 2e-2, signs), ("hinge", 2e-2, signs)):
        output = fitted(SIDES, y, name, lr, 4000).predict(SIDES)
        wrong[name] = round(zero_one(output, y, "sign") * len(y))
    return Losses(constants, wrong)


def losses(walk: Walk) -> Page:
    """Step 4."""
    page = Page(draw=draw_losses)
    page.say("YOU get to choose the loss function! Here are the slide's four, for a label y = 1.")
    output = np.array([[-1.0], [0.0], [0.5], [1.0], [2.0]])
    y = np.ones_like(output)
    columns: list[Array] = []
    for name in ("l1", "mse", "hinge"):
        row = LOSSES[name]
        columns += [row.terms(output, y)[:, 0], row.derivative(output, y)[:, 0]]
    decisions = np.array([zero_one(o[None], y[:1], "sign") for o in output])
    columns += [decisions, d_zero_one(output, y)[:, 0]]
    page.table(
        "ℓ(ŷ, 1) and its derivative ℓ′ = dℓ/dŷ; at a kink the one that torch takes",
        ("ŷ", "L1", "L1′", "L2", "L2′", "hinge", "hinge′", "zero-one", "zero-one′"),
        [
            tuple(f"{float(v) + 0:g}" for v in (o, *row))
            for o, *row in zip(output[:, 0], *columns, strict=True)
        ],
    )
    m = measure_losses()
    page.table(
        "a constant fitted to 1, 2, 3, 4, 100",
        ("loss", "finds", "which is"),
        [
            ("L2", f"{m.constants['mse']:.3f}", "the mean: every sample pulls as hard as it is far away"),
            ("L1", f"{m.constants['l1']:.3f}", "the median: every sample pulls equally, outliers too"),
        ],
    )
    page.table(
        "the sign of x learned from x = −2, −1.5, −1, 0.5, 1, 40",
        ("loss", "wrong decisions of 6"),
        [("L2", m.wrong["mse"]), ("L1", m.wrong["l1"]), ("hinge", m.wrong["hinge"])],
    )
    page.say(
        "L2 (why popular? smooth, one minimum, and the likelihood of Gaussian noise) punishes ŷ = 40 for",
        "y = 1 as an error, though the decision is right, and gives up others for it. The hinge loss asks",
        "for y ŷ ≥ 1 and no more. The zero-one loss is what one wants to know of a decision, but its",
        "gradient is 0 wherever it exists, so gradient descent cannot move on it: it is a metric here.",
    )
    return page


def draw_losses(figure: Any) -> None:
    """The four losses and their derivatives over ŷ, for y = 1."""
    from mlp_torch.colours import BLUE, GREEN, PURPLE, VERMILION

    left, right = figure.subplots(1, 2)
    output = np.linspace(-1.5, 3, 901)[:, None]
    y = np.ones_like(output)
    rows = (("mse", "L2", BLUE, "-"), ("l1", "L1", VERMILION, "--"), ("hinge", "hinge", GREEN, "-."))
    for name, label, colour, style in rows:
        row = LOSSES[name]
        left.plot(output, row.terms(output, y), style, color=colour, label=label)
        right.plot(output, row.derivative(output, y), style, color=colour, label=label)
    decision = (output <= 0).astype(float)
    left.plot(output, decision, ":", color=PURPLE, linewidth=2.5, label="zero-one (decision ŷ > 0)")
    right.plot(output, d_zero_one(output, y), ":", color=PURPLE, linewidth=2.5, label="zero-one")
    left.set(xlabel="output ŷ (dimensionless)", ylabel="ℓ(ŷ, 1) (dimensionless)", ylim=(-0.1, 5))
    right.set(xlabel="output ŷ (dimensionless)", ylabel="dℓ/dŷ (dimensionless)", ylim=(-4, 4))
    left.set_title("losses for the label y = 1")
    right.set_title("and their derivatives")
    left.legend(loc="upper right", fontsize=9)
    right.legend(loc="lower right", fontsize=9)
