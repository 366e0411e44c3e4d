"""Further losses in the form of `manual.losses`: the terms, their derivative beside them, one row a loss.

cross_entropy and multi_margin take class labels of shape (N,). Sources: torch's documentation of the
function of the same name.
"""

from typing import Any

import numpy as np

from manual.activations import sigmoid
from manual.catalogue.activations import softmax
from manual.losses import Loss
from manual.numbers import Array, indicator, number


# ℓ = ½ d² where |d| < 1, else |d| − ½, with d = ŷ − y
def smooth_l1(output: Array, y: Array) -> Array:
    d = output - y
    return np.where(np.abs(d) < 1, d * d / 2, (2 * np.abs(d) - 1) / 2)


def d_smooth_l1(output: Array, y: Array) -> Array:
    d = output - y
    return np.minimum(np.maximum(d, number(-1, d)), number(1, d))


# ℓ = ½ d² where |d| ≤ δ, else δ (|d| − ½ δ), with d = ŷ − y
def huber(output: Array, y: Array, delta: Any) -> Array:
    d, bound = np.abs(output - y), number(delta, output)
    return np.where(d <= bound, d * d / 2, bound * (d - bound / 2))


def d_huber(output: Array, y: Array, delta: Any) -> Array:
    d, bound = output - y, number(delta, output)
    return np.minimum(np.maximum(d, -bound), bound)


# ℓ = Σ_{j≠y} max(0, 1 − ŷ_y + ŷ_j) / K; a margin of exactly 0 has derivative 0
def multi_margin(output: Array, y: Array) -> Array:
    return np.maximum(_margins(output, y), number(0, output)).sum(axis=1) / output.shape[1]


def d_multi_margin(output: Array, y: Array) -> Array:
    active = indicator(_margins(output, y) > 0, output)
    active[np.arange(len(y)), y] = -active.sum(axis=1)
    return active / output.shape[1]


def _margins(output: Array, y: Array) -> Array:
    rows = np.arange(len(y))
    margins = 1 - output[rows, y][:, None] + output
    margins[rows, y] = 0 * margins[rows, y]
    return margins


# ℓ = −y log s(ŷ) − (1 − y) log(1 − s(ŷ)) = max(ŷ, 0) − y ŷ + log(1 + e^−|ŷ|)
def bce_with_logits(output: Array, y: Array) -> Array:
    return np.maximum(output, number(0, output)) - y * output + np.log1p(np.exp(-np.abs(output)))


def d_bce_with_logits(output: Array, y: Array) -> Array:
    return sigmoid(output) - y


# ℓ = −Σₖ yₖ log softmax(ŷ)ₖ; ŷ are logits, y class labels or a row of probabilities
def cross_entropy(output: Array, y: Array) -> Array:
    shifted = output - output.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    if y.ndim == 2:
        return -(y * (shifted - log_sum[:, None])).sum(axis=1)
    return log_sum - shifted[np.arange(len(y)), y]


# ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ Σₖ yₖ − yⱼ, where a label's row has a single 1
def d_cross_entropy(output: Array, y: Array) -> Array:
    p = softmax(output)
    if y.ndim == 2:
        return p * y.sum(axis=1, keepdims=True) - y
    rows = np.arange(len(y))
    p[rows, y] = p[rows, y] - 1
    return p


ROWS: tuple[Loss, ...] = (
    Loss(
        "smooth_l1",
        "real",
        smooth_l1,
        d_smooth_l1,
    ),
    Loss(
        "multi_margin",
        "label",
        multi_margin,
        d_multi_margin,
        per_sample=True,
        kinks=True,
    ),
    Loss(
        "bce_with_logits",
        "binary",
        bce_with_logits,
        d_bce_with_logits,
    ),
    Loss(
        "cross_entropy",
        "label",
        cross_entropy,
        d_cross_entropy,
        per_sample=True,
        probabilities=True,
    ),
    Loss(
        "huber",
        "real",
        huber,
        d_huber,
        options={"delta": "1"},
    ),
)

# The terms and the derivative in words, of the rows that couple the entries of a sample.
WORDS = {
    "multi_margin": (
        "Σ_{j≠y} max(0, 1 − ŷ_y + ŷ_j) / K",
        "[margin_j > 0] / K, minus their sum at y",
    ),
    "cross_entropy": ("−Σ y log softmax(ŷ)", "softmax(ŷ) − y"),
}
