"""The lecture's losses, each value with its gradient beside it: one row a loss, in torch's meaning.

ŷ is the network's output of shape (N, K). An elementwise loss takes y of the same shape and averages
over all N·K entries; a loss of class labels takes y of shape (N,) and averages over the N samples.
`reduction="sum"` leaves the division out; weights (N,) make the mean a weighted one, as torch's `weight`
does. Kinks follow torch. Source: the slides "L1 Loss" to "Hinge Loss". Further losses are in
`manual.catalogue.losses`, all of them by name in `manual.catalogue.LOSSES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from manual.numbers import Array, number, sign
from manual.structure.labels import check_labels

Reduction = Literal["mean", "sum"]
Target = Literal["real", "sign", "binary", "label"]


@dataclass(frozen=True)
class Loss:
    """One row: the terms whose sum or mean is the loss, and their derivative with respect to ŷ.

    `target` says what y holds: real numbers, signs ±1, binary 0/1, or class labels. `per_sample`
    losses have one term a sample, the others one an entry. `kinks` says if the derivative jumps,
    `probabilities` if labels may be given as rows of probabilities.
    `terms(output, y, **options)` and `derivative(output, y, **options)` take the `options`: constants
    above 0, as text in decimals, torch's defaults. `huber(delta=0.5)` is the name of huber with another.
    """

    name: str
    target: Target
    terms: Callable[..., Array]
    derivative: Callable[..., Array]
    per_sample: bool = False
    kinks: bool = False
    probabilities: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def value(
        self, output: Array, y: Array, reduction: Reduction = "mean", weights: Array | None = None
    ) -> Any:
        """The loss, a scalar of the output's number system; Σ wᵢ ℓᵢ / Σ wᵢ with weights w (N,)."""
        self.check(output, y)
        terms = self.terms(output, y, **self.options)
        if weights is not None:
            shares = self.shares(output, weights, reduction)
            return (terms * (shares if self.per_sample else shares[:, None])).sum()
        total = terms.sum()
        return total / self.count(output) if reduction == "mean" else total

    def gradient(
        self, output: Array, y: Array, reduction: Reduction = "mean", weights: Array | None = None
    ) -> Array:
        """∂L/∂ŷ, of the output's shape and dtype."""
        self.check(output, y)
        derivative = self.derivative(output, y, **self.options)
        if weights is not None:
            return derivative * self.shares(output, weights, reduction)[:, None]
        return derivative / self.count(output) if reduction == "mean" else derivative

    def shares(self, output: Array, weights: Array, reduction: Reduction = "mean") -> Array:
        """What a term of each sample counts (N,): wᵢ / Σ w, over K where terms are entries; wᵢ in a sum."""
        if weights.shape != output.shape[:1]:
            raise ValueError(
                f"{self.name}: the weights have shape {weights.shape}; one a sample, shape "
                f"{output.shape[:1]}, is needed"
            )
        if reduction == "sum":
            return weights
        return weights / (weights.sum() * (1 if self.per_sample else output.shape[1]))

    def count(self, output: Array) -> int:
        """What the mean divides by: N samples, or N·K entries."""
        return output.shape[0] if self.per_sample else output.size

    def check(self, output: Array, y: Array) -> None:
        """Raise ValueError where y does not fit the output; (N,) never broadcasts against (N, 1)."""
        if self.target == "label" and not (self.probabilities and y.shape == output.shape):
            check_labels(self.name, output, y)
        elif y.shape != output.shape:
            raise ValueError(
                f"{self.name}: y has shape {y.shape} and the output {output.shape}; "
                f"they must be equal (try y.reshape{output.shape})"
            )


# ℓ = (ŷ − y)²
def mse(output: Array, y: Array) -> Array:
    d = output - y
    return d * d


def d_mse(output: Array, y: Array) -> Array:
    return 2 * (output - y)


# ℓ = ½ (y − ŷ)², the lecture's loss: its derivative −(y − ŷ) has no factor
def half_squared_error(output: Array, y: Array) -> Array:
    return mse(output, y) / 2


def d_half_squared_error(output: Array, y: Array) -> Array:
    return output - y


# ℓ = |ŷ − y|; the derivative at ŷ = y is 0
def l1(output: Array, y: Array) -> Array:
    return np.abs(output - y)


def d_l1(output: Array, y: Array) -> Array:
    return sign(output - y)


# ℓ = max(0, 1 − y ŷ), y = ±1; the derivative at y ŷ = 1 is 0
def hinge(output: Array, y: Array) -> Array:
    return np.maximum(1 - y * output, number(0, output))


def d_hinge(output: Array, y: Array) -> Array:
    return np.where(1 - y * output <= 0, number(0, output), -y)  # not > 0: NaN passes, as in torch


def predict(output: Array, target: Target) -> Array:
    """The decision behind an output (N, K): labels (N,), or entries 0/1 or ±1 of the output's shape."""
    if target == "label":
        return np.asarray(output.argmax(axis=1))
    if target == "sign":
        return np.where(output > 0, 1, -1)
    if target == "binary":
        return np.where(output > 0, 1, 0)
    return output


def zero_one(output: Array, y: Array, target: Target) -> float:
    """ℓ = 1[decision ≠ y], averaged: the fraction of wrong decisions, a metric in [0, 1].

    Its gradient is 0 wherever it exists (a small change of ŷ changes no decision), so no network can
    be trained on it: see `d_zero_one`. A sample with several outputs is wrong if one of them is.
    """
    wrong = predict(output, target) != y
    return float(wrong.reshape(len(wrong), -1).any(axis=1).mean())


def d_zero_one(output: Array, y: Array) -> Array:
    """The zero-one loss's derivative: 0 everywhere that it exists."""
    return np.zeros_like(output)


ROWS: tuple[Loss, ...] = (
    Loss("half_squared_error", "real", half_squared_error, d_half_squared_error),
    Loss("mse", "real", mse, d_mse),
    Loss("l1", "real", l1, d_l1, kinks=True),
    Loss("hinge", "sign", hinge, d_hinge, kinks=True),
)
