"""The lecture's own networks: the perceptron, the smallest, the second smallest, the four-parameter chain.

They stand before the general network of `network.py`, in the slides' order and with the slides' names:
here a is the pre-activation and f the activation, as in the lecture. Where a slide slips, the formula
here is the right one, and the slide's own line stands beside it under a name that says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from manual.activations import d_sigmoid, sigmoid
from manual.numbers import Array

# The slide "Given training data": x and y of the four samples.
X = (10.0, 2.0, 3.5, 1.0)
Y = (10.1, 1.9, 3.4, 1.1)


# ---- Programming the "forward pass" ------------------------------------------------------------------


# f(a) = 1 / (1 + e^−a), the slide's line: e^−a overflows for large −a, though 1 / ∞ = 0 is right again
def slide_sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


# f′(a) = e^−|a| / (1 + e^−|a|)²: equal to f (1 − f), which is 0 as soon as f has rounded to 1
def careful_d_sigmoid(a: Array) -> Array:
    e = np.exp(-np.abs(a))
    return e / ((1 + e) * (1 + e))


# f(a) with a = w · x: the perceptron, and, read as a probability, logistic regression
def perceptron(x: Array, w: Array) -> Array:
    """f(w · x) for x (in,), or (N,) of them for x (N, in); w (in,)."""
    return sigmoid(np.asarray(x @ w))


# ---- The world's smallest and second smallest perceptron ---------------------------------------------


# for n = 1 … N: w = w + η (yₙ − ŷ) xₙ, with ŷ = w xₙ; the slide has no η, which means η = 1
def train_smallest(w: Any, x: Sequence[Any], y: Sequence[Any], lr: Any = 1, passes: int = 1) -> list[Any]:
    """Every w on the way, the first included; exact where w, x, y and lr are exact numbers."""
    iterates = [w]
    for x_n, y_n in [*zip(x, y, strict=True)] * passes:
        w = w + lr * (y_n - w * x_n) * x_n
        iterates.append(w)
    return iterates


# w* = Σ x y / Σ x², where dL/dw = −Σ (y − w x) x is 0
def best_weight(x: Sequence[Any], y: Sequence[Any]) -> Any:
    """The w that minimises Σ ½ (y − w x)²."""
    return sum(a * b for a, b in zip(x, y, strict=True)) / sum(a * a for a in x)


class LinearPerceptron:
    """ŷ = Σ wᵢ xᵢ with L = ½ (y − ŷ)²: one weight is the smallest perceptron, two the second smallest.

    x (N, in), y (N,); a batch's gradient is the mean over its samples. `manual.fit` drives it.
    """

    def __init__(self, w: Array) -> None:
        self.w = np.array(w)
        self.path = [self.w.copy()]

    # L = ½ (y − ŷ)², ŷ = Σ wᵢ xᵢ, so ∂L/∂wᵢ = −(y − ŷ) xᵢ
    def gradient(self, x: Array, y: Array) -> Array:
        """∇w (in,), the mean over the samples."""
        return -((y - x @ self.w)[:, None] * x).sum(axis=0) / len(x)

    # wᵢ = wᵢ − η ∇wᵢ
    def step(self, x: Array, y: Array, lr: float) -> float:
        """One update; the loss before it. Every w is kept in `path`."""
        loss = float(((y - x @ self.w) ** 2 / 2).mean())
        self.w = self.w - lr * self.gradient(x, y)
        self.path.append(self.w)
        return loss

    # for each minibatch of the samples in random order: one update
    def epoch(
        self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array, weights: Array | None = None
    ) -> Array:
        """The losses of the batches, each before its update; `weights` are none here."""
        batches = (indices[i * batch_size : (i + 1) * batch_size] for i in range(len(rates)))
        return np.array([self.step(x[b], y[b], lr) for b, lr in zip(batches, rates, strict=True)])


# ---- The multi-layer perceptron of four parameters ---------------------------------------------------


@dataclass(frozen=True)
class ScalarFactor:
    """One factor of a product: its name on the slide, what it is, its number, and if it is re-used.

    `of` and `by` are the two quantities of ∂of/∂by; `reused` marks the lecture's "already computed,
    re-use (propagate)!": the factor stands in the gradient computed just before.
    """

    of: str
    by: str
    formula: str
    value: float
    reused: bool

    @property
    def name(self) -> str:
        return f"∂{self.of}/∂{self.by}"


@dataclass(frozen=True)
class FourParameters:
    """y = f₃(w₃ · f₂(w₂ · f₁(w₁ · x + b₁))), every f a sigmoid, with L = ½ (y − ŷ)²."""

    w1: float
    b1: float
    w2: float
    w3: float

    # a₁ = w₁ x + b₁, a₂ = w₂ f₁(a₁), a₃ = w₃ f₂(a₂), ŷ = f₃(a₃)
    def forward(self, x: float, y: float) -> dict[str, float]:
        """Every number of the forward pass by its name on the slides."""
        a1 = self.w1 * x + self.b1
        f1 = _float(sigmoid, a1)
        a2 = self.w2 * f1
        f2 = _float(sigmoid, a2)
        a3 = self.w3 * f2
        f3 = _float(sigmoid, a3)
        return {"a1": a1, "f1": f1, "a2": a2, "f2": f2, "a3": a3, "f3": f3, "L": (y - f3) ** 2 / 2}

    # ∂L/∂w₃ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂w₃
    # ∂L/∂w₂ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂f₂ ∂f₂/∂a₂ ∂a₂/∂w₂
    # ∂L/∂w₁ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂f₂ ∂f₂/∂a₂ ∂a₂/∂f₁ ∂f₁/∂a₁ ∂a₁/∂w₁
    # ∂L/∂b₁ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂f₂ ∂f₂/∂a₂ ∂a₂/∂f₁ ∂f₁/∂a₁ ∂a₁/∂b₁
    def factors(self, x: float, y: float) -> dict[str, tuple[ScalarFactor, ...]]:
        """The factors of each gradient in the slides' order: w3, w2, w1, b1."""
        v = self.forward(x, y)

        def slope(i: int) -> tuple[str, str, str, float]:
            f = v[f"f{i}"]
            return f"f{i}", f"a{i}", f"f{i} (1 − f{i})", _float(d_sigmoid, v[f"a{i}"], f)

        trunk3 = [("L", "f3", "−(y − ŷ)", -(y - v["f3"])), slope(3)]
        trunk2 = [*trunk3, ("a3", "f2", "w3", self.w3), slope(2)]
        trunk1 = [*trunk2, ("a2", "f1", "w2", self.w2), slope(1)]
        return {
            "w3": _chain(trunk3, 0, ("a3", "w3", "f2", v["f2"])),
            "w2": _chain(trunk2, len(trunk3), ("a2", "w2", "f1", v["f1"])),
            "w1": _chain(trunk1, len(trunk2), ("a1", "w1", "x", x)),
            "b1": _chain(trunk1, len(trunk1), ("a1", "b1", "1", 1.0)),
        }

    def gradients(self, x: float, y: float) -> dict[str, float]:
        """∂L/∂w₃, ∂L/∂w₂, ∂L/∂w₁ and ∂L/∂b₁, each the product of its factors."""
        return {name: gradient(factors) for name, factors in self.factors(x, y).items()}


def gradient(factors: Sequence[ScalarFactor]) -> float:
    """The product of the factors."""
    return prod(factor.value for factor in factors)


# ∂L/∂w₃ = −η (y − ŷ) f₃ (1 − f₃) f₂ on the slide: η belongs to the update, not to the derivative
def slide_gradient_w3(factors: Sequence[ScalarFactor], lr: float) -> float:
    return lr * gradient(factors)


def _chain(
    trunk: Sequence[tuple[str, str, str, float]], known: int, last: tuple[str, str, str, float]
) -> tuple[ScalarFactor, ...]:
    """The factors down the trunk, the first `known` of them re-used, and the last one, always new."""
    rows = [(row, i < known) for i, row in enumerate(trunk)]
    return tuple(ScalarFactor(*row, reused) for row, reused in [*rows, (last, False)])


def _float(f: Any, *values: float) -> float:
    return float(f(*map(np.float64, values)))
