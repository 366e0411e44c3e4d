"""The losses of `manual.losses` in buffers: ∂L/∂ŷ, and ℓ beside it.

ŷ and y are (…, K, N): samples are columns, a class label is a column with a single 1. A kernel is made from
its row's record; one that is written by hand, a row of `KERNELS`, stands here where it is faster, which is
said, or where a row couples the entries of a sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.buffered import recorded
from manual.buffered.activations import softmax
from manual.buffered.program import Program, borrows
from manual.losses import Loss
from manual.numbers import Array


@dataclass(frozen=True)
class LossKernel:
    """The terms and their derivative; `probabilities` is the derivative for targets (N, K).

    `gradient(do, o, y, d)` writes ∂ℓ/∂ŷ into d. `value(do, o, y, t)` writes terms into t, whose sum over the
    columns is ℓ; it runs on many batches at once. In a row of `KERNELS` one that is None is made from the
    record.
    """

    value: Callable[..., Any] | None = None
    gradient: Callable[..., Any] | None = None
    probabilities: Callable[..., Any] | None = None


# ℓ = c (|d| − ½ c) with c = min(|d|, 1), d = ŷ − y: ½ d² below 1, |d| − ½ above; made from
# the record, with a choice: 1.5 to 3.0
@borrows
def smooth_l1(do: Program, o: Array, y: Array, t: Array) -> None:
    c, half = do.scratch(t), do.scratch(t)
    do(np.subtract, o, y, out=t)
    do(np.abs, t, out=t)
    do(np.minimum, t, 1, out=c)
    do(np.multiply, c, 0.5, out=half)
    do(np.subtract, t, half, out=t)
    do(np.multiply, t, c, out=t)


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
    softmax(do, o, d, None)
    do(np.subtract, d, y, out=d)


# ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ Σₖ yₖ − yⱼ, for any columns y
@borrows
def d_cross_entropy_of_probabilities(do: Program, o: Array, y: Array, d: Array) -> None:
    total = do.scratch(o[:1])
    softmax(do, o, d, None)
    do(np.add.reduce, y, axis=0, keepdims=True, out=total)
    do(np.multiply, d, do.broadcast(total, d), out=d)
    do(np.subtract, d, y, out=d)


KERNELS: dict[str, LossKernel] = {
    "smooth_l1": LossKernel(smooth_l1),
    "multi_margin": LossKernel(multi_margin, d_multi_margin),
    "cross_entropy": LossKernel(cross_entropy, d_cross_entropy, d_cross_entropy_of_probabilities),
}


def kernel(row: Loss) -> LossKernel:
    """The kernel of a row: what is not written by hand is from its record; ValueError without one."""
    ours = KERNELS.get(row.name, LossKernel())
    if ours.value is not None and ours.gradient is not None:
        return ours
    made = recorded.loss(row)
    return LossKernel(ours.value or made.value, ours.gradient or made.gradient)
