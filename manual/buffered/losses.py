"""The losses of `manual.losses` in buffers: ∂L/∂ŷ, and ℓ beside it; one row of `KERNELS` a loss.

ŷ and y are (…, K, N): samples are columns, a class label is a column with a single 1.
`gradient(do, o, y, d)` writes ∂ℓ/∂ŷ into d. `value(do, o, y, t)` writes terms into t, whose sum over the
columns is ℓ; it runs on many batches at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.buffered.activations import sigmoid, softmax
from manual.buffered.program import Program, borrows
from manual.numbers import Array


# ℓ = (ŷ − y)²
def mse(do: Program, o: Array, y: Array, t: Array) -> None:
    do(np.subtract, o, y, out=t)
    do(np.multiply, t, t, out=t)


def d_mse(do: Program, o: Array, y: Array, d: Array) -> None:
    do(np.subtract, o, y, out=d)
    do(np.multiply, d, 2, out=d)


# ℓ = ½ (ŷ − y)²
def half_squared_error(do: Program, o: Array, y: Array, t: Array) -> None:
    mse(do, o, y, t)
    do(np.multiply, t, 0.5, out=t)


def d_half_squared_error(do: Program, o: Array, y: Array, d: Array) -> None:
    do(np.subtract, o, y, out=d)


# ℓ = |ŷ − y|
def l1(do: Program, o: Array, y: Array, t: Array) -> None:
    do(np.subtract, o, y, out=t)
    do(np.abs, t, out=t)


def d_l1(do: Program, o: Array, y: Array, d: Array) -> None:
    do(np.subtract, o, y, out=d)
    do(np.sign, d, out=d)


# ℓ = c (|d| − ½ c) with c = min(|d|, 1), d = ŷ − y: ½ d² below 1, |d| − ½ above
@borrows
def smooth_l1(do: Program, o: Array, y: Array, t: Array) -> None:
    c, half = do.scratch(t), do.scratch(t)
    l1(do, o, y, t)
    do(np.minimum, t, 1, out=c)
    do(np.multiply, c, 0.5, out=half)
    do(np.subtract, t, half, out=t)
    do(np.multiply, t, c, out=t)


def d_smooth_l1(do: Program, o: Array, y: Array, d: Array) -> None:
    do(np.subtract, o, y, out=d)
    do(np.maximum, d, -1, out=d)
    do(np.minimum, d, 1, out=d)


# ℓ = max(0, 1 − y ŷ)
def hinge(do: Program, o: Array, y: Array, t: Array) -> None:
    do(np.multiply, o, y, out=t)
    do(np.subtract, 1, t, out=t)
    do(np.maximum, t, 0, out=t)


# ∂ℓ/∂ŷ = −y [1 − y ŷ > 0]
def d_hinge(do: Program, o: Array, y: Array, d: Array) -> None:
    do(np.multiply, o, y, out=d)
    do.indicator(np.less, d, 1, out=d)
    do(np.multiply, d, y, out=d)
    do(np.negative, d, out=d)


# ℓ = Σ_{j≠y} max(0, 1 − ŷ_y + ŷ_j) / K
def multi_margin(do: Program, o: Array, y: Array, t: Array) -> None:
    _margins(do, o, y, t)
    do(np.maximum, t, 0, out=t)
    do(np.multiply, t, np.asarray(1 / o.shape[-2], o.dtype), out=t)


# ∂ℓ/∂ŷ_j = [margin_j > 0] / K, and minus their sum at y
@borrows
def d_multi_margin(do: Program, o: Array, y: Array, d: Array) -> None:
    row, s = do.scratch(o[..., :1, :]), do.scratch(o)
    _margins(do, o, y, d)
    do.indicator(np.greater, d, 0, out=d)
    do(np.add.reduce, d, axis=-2, keepdims=True, out=row)
    do(np.multiply, y, do.broadcast(row, y), out=s)
    do(np.subtract, d, s, out=d)
    do(np.divide, d, o.shape[-2], out=d)


@borrows
def _margins(do: Program, o: Array, y: Array, t: Array) -> None:
    """1 − ŷ_y + ŷ_j, and 0 at j = y."""
    row = do.scratch(o[..., :1, :])
    do(np.multiply, o, y, out=t)
    do(np.add.reduce, t, axis=-2, keepdims=True, out=row)
    do(np.subtract, 1, row, out=row)
    do(np.add, o, do.broadcast(row, o), out=t)
    do.copy(do.number(0), t, where=do.mask(np.greater, y, 0, like=t))


# ℓ = max(ŷ, 0) − y ŷ + log(1 + e^−|ŷ|)
@borrows
def bce_with_logits(do: Program, o: Array, y: Array, t: Array) -> None:
    s = do.scratch(t)
    do(np.abs, o, out=t)
    do(np.negative, t, out=t)
    do(np.exp, t, out=t)
    do(np.log1p, t, out=t)
    do(np.maximum, o, 0, out=s)
    do(np.add, t, s, out=t)
    do(np.multiply, o, y, out=s)
    do(np.subtract, t, s, out=t)


# ∂ℓ/∂ŷ = s(ŷ) − y
def d_bce_with_logits(do: Program, o: Array, y: Array, d: Array) -> None:
    sigmoid(do, o, d, {})
    do(np.subtract, d, y, out=d)


# ℓ = Σₖ yₖ (log Σⱼ e^ŷⱼ − ŷₖ)
@borrows
def cross_entropy(do: Program, o: Array, y: Array, t: Array) -> None:
    row, s = do.scratch(o[..., :1, :]), do.scratch(t)
    do(np.maximum.reduce, o, axis=-2, keepdims=True, out=row)
    do(np.subtract, o, do.broadcast(row, o), out=s)
    do(np.exp, s, out=t)
    do(np.add.reduce, t, axis=-2, keepdims=True, out=row)
    do(np.log, row, out=row)
    do(np.subtract, do.broadcast(row, t), s, out=t)
    do(np.multiply, t, y, out=t)


# ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ − yⱼ, for columns y that sum to 1
def d_cross_entropy(do: Program, o: Array, y: Array, d: Array) -> None:
    softmax(do, o, d, {})
    do(np.subtract, d, y, out=d)


# ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ Σₖ yₖ − yⱼ, for any columns y
@borrows
def d_cross_entropy_of_probabilities(do: Program, o: Array, y: Array, d: Array) -> None:
    total = do.scratch(o[:1])
    softmax(do, o, d, {})
    do(np.add.reduce, y, axis=0, keepdims=True, out=total)
    do(np.multiply, d, do.broadcast(total, d), out=d)
    do(np.subtract, d, y, out=d)


@dataclass(frozen=True)
class LossKernel:
    """One row: the terms and their derivative; `probabilities` is the derivative for targets (N, K)."""

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    probabilities: Callable[..., Any] | None = None


KERNELS: dict[str, LossKernel] = {
    "half_squared_error": LossKernel(half_squared_error, d_half_squared_error),
    "mse": LossKernel(mse, d_mse),
    "l1": LossKernel(l1, d_l1),
    "smooth_l1": LossKernel(smooth_l1, d_smooth_l1),
    "hinge": LossKernel(hinge, d_hinge),
    "multi_margin": LossKernel(multi_margin, d_multi_margin),
    "bce_with_logits": LossKernel(bce_with_logits, d_bce_with_logits),
    "cross_entropy": LossKernel(cross_entropy, d_cross_entropy, d_cross_entropy_of_probabilities),
}
