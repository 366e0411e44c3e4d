"""Step 9: XOR, which no single perceptron decides and which two layers do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual import MLP, Adam, fit
from manual.losses import zero_one
from manual.training.engine import ManualEngine
from mlp_torch.lecture.page import Page
from mlp_torch.lecture.walk import Walk

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
HIDDEN: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (8,))
RATE = 0.05


@dataclass(frozen=True)
class Tried:
    """Right decisions of four in each repetition, and the mean of the losses in the end."""

    right: list[int]
    loss: float

    @property
    def solved(self) -> int:
        return sum(r == 4 for r in self.right)


def passes(hidden: tuple[int, ...], seed: int, epochs: int) -> Iterator[tuple[int, MLP, float]]:
    """A tanh network that is trained by Adam on the four points: the pass, the live network, its loss."""
    model = MLP((2, *hidden, 1), activation="tanh", seed=seed)
    engine = ManualEngine(model, "bce_with_logits", Adam(model.parameters))
    yield 0, model, 0.0
    for epoch in fit(engine, X, Y, epochs=epochs, batch_size=4, lr=RATE, seed=seed):
        yield epoch.epoch, model, epoch.loss


def trained(hidden: tuple[int, ...], seed: int, epochs: int) -> tuple[MLP, float]:
    """The network after its last pass, and its last loss."""
    *_, (_, model, loss) = passes(hidden, seed, epochs)
    return model, loss


def right(model: MLP) -> int:
    """How many of the four points it decides right."""
    return round(4 * (1 - zero_one(model.predict(X), Y, "binary")))


def measure_xor(walk: Walk) -> dict[tuple[int, ...], Tried]:
    """By hidden sizes, over the walk's seeds."""
    found = {}
    for hidden in HIDDEN:
        runs = [trained(hidden, seed, walk.epochs(300)) for seed in walk.repetitions]
        found[hidden] = Tried([right(model) for model, _ in runs], float(np.mean([loss for _, loss in runs])))
    return found


def by_hand() -> MLP:
    """XOR without training: relu(x₁ + x₂) − 2 relu(x₁ + x₂ − 1)."""
    model = MLP((2, 2, 1))
    model.parameters["layers.0.weight"] = np.array([[1.0, 1.0], [1.0, 1.0]])
    model.parameters["layers.0.bias"] = np.array([0.0, -1.0])
    model.parameters["layers.1.weight"] = np.array([[1.0, -2.0]])
    model.parameters["layers.1.bias"] = np.array([0.0])
    return model


def xor(walk: Walk) -> Page:
    """Step 9."""
    m = measure_xor(walk)
    page = Page(draw=lambda figure: draw_xor(figure, walk))
    page.say(
        "One perceptron decides by w₁x₁ + w₂x₂ + b > 0. XOR needs b ≤ 0, w₁ + b > 0, w₂ + b > 0 and",
        "w₁ + w₂ + b ≤ 0; the middle two add up to w₁ + w₂ + 2b > 0, so w₁ + w₂ + b > −b ≥ 0, which the",
        "last forbids. At most three of the four are right (Minsky and Papert, 1969).",
    )
    page.table(
        f"Adam, {walk.epochs(300)} passes, tanh; {walk.seeds} seeds",
        ("hidden neurons", "right of 4", "all four right", "mean loss in the end"),
        [
            (
                " ".join(map(str, hidden)) or "none: one perceptron",
                " ".join(map(str, tried.right[:10])) + (" …" if len(tried.right) > 10 else ""),
                f"{tried.solved} of {walk.seeds} seeds",
                tried.loss,
            )
            for hidden, tried in m.items()
        ],
    )
    page.say(
        f"One perceptron ends at log 2 = {np.log(2):.4f}: ½ for every sample is the best that it can say.",
        "Two hidden neurons are enough, as the network by hand shows;",
        f"descent found them from {m[(2,)].solved} of {walk.seeds} starts,",
        f"and from {m[(8,)].solved} with eight.",
    )
    page.table(
        "by hand: relu(x₁ + x₂) − 2 relu(x₁ + x₂ − 1)",
        ("x₁ x₂", "network", "XOR"),
        [(f"{a:g} {b:g}", o, t) for (a, b), o, t in zip(X, by_hand().predict(X)[:, 0], Y[:, 0], strict=True)],
    )
    return page


def draw_xor(figure: Any, walk: Walk) -> None:
    """What one perceptron and a network with a hidden layer say over the plane."""
    axes = figure.subplots(1, 2, sharey=True)
    x1, x2 = np.meshgrid(np.linspace(-0.4, 1.4, 120), np.linspace(-0.4, 1.4, 120))
    grid = np.stack([x1.ravel(), x2.ravel()], axis=1)
    for ax, hidden in zip(axes, (HIDDEN[0], HIDDEN[-1]), strict=True):
        model, _ = trained(hidden, walk.seed, walk.epochs(300))
        probability = 1 / (1 + np.exp(-model.predict(grid).reshape(x1.shape)))
        shades = ax.contourf(x1, x2, probability, levels=np.linspace(0, 1, 11), cmap="cividis")
        if probability.min() < 0.45 and probability.max() > 0.55:  # else there is no boundary to speak of
            ax.contour(x1, x2, probability, levels=[0.5], colors="white", linewidths=2)
        for value, marker in ((0, "o"), (1, "s")):
            points = X[Y[:, 0] == value]
            ax.scatter(
                *points.T, marker=marker, s=130, color="white", edgecolor="black", label=f"XOR = {value}"
            )
        name = f"{hidden[0]} hidden neurons" if hidden else "one perceptron"
        ax.set(xlabel="x₁ (dimensionless)", title=f"{name}: {right(model)} of 4 right")
        ax.grid(visible=False)
    axes[0].set_ylabel("x₂ (dimensionless)")
    axes[1].legend(loc="upper right", fontsize=9)
    figure.colorbar(shades, ax=axes, label="f(a), the probability of 1")
