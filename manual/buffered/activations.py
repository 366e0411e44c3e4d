"""The activations of `manual.activations` in buffers: f, and f′ beside it.

z, a and f′ are (features, N): samples are columns here. A kernel is made from its row's record; one that is
written by hand, a row of `KERNELS`, stands here only where it is faster, and by how much is said (NumPy 2 on
an Intel Xeon, 256 to 131,072 entries, float32 and float64).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.activations import Activation
from manual.buffered import recorded
from manual.buffered.program import Program, borrows
from manual.numbers import Array


@dataclass(frozen=True)
class ActivationKernel:
    """f with f′, or with the product of the Jacobian; None for both where f′ = 1.

    `forward(do, z, a, slope)` writes a and gives what `derivative(do, z, a, f, slope, saved)` may use again;
    the latter writes f′(z) into f. `product(do, da, z, a, dz)` writes dz. In a row of `KERNELS` forward or
    derivative is None where it is made from the record.
    """

    forward: Callable[..., Any] | None = None
    derivative: Callable[..., Any] | None = None
    product: Callable[..., Any] | None = None


# a = 1 / (1 + e^−z); made from the record: 1.9 to 5.7
def sigmoid(do: Program, z: Array, a: Array, slope: Array | None) -> None:
    recorded.sigmoid(do, z, a)


# f′ = [z > 0]; made from the record, with a negation: 1.1 to 1.4
def d_relu(do: Program, z: Array, a: Array, f: Array, slope: Array | None, saved: Any) -> None:
    do.indicator(np.greater, z, 0, out=f)


# a = log(1 + e^z), and z above 20; made from the record, with e^−|z|: 1.3 to 1.6
def softplus(do: Program, z: Array, a: Array, slope: Array | None) -> None:
    do(np.minimum, z, 20, out=a)
    do(np.exp, a, out=a)
    do(np.log1p, a, out=a)
    do.copy(z, a, where=do.mask(np.greater, z, 20, like=a))


# f′ = [−1 < z < 1]; made from the record, with two comparisons: .9 to 1.6
def d_hardtanh(do: Program, z: Array, a: Array, f: Array, slope: Array | None, saved: Any) -> None:
    do(np.abs, z, out=f)
    do.indicator(np.less, f, 1, out=f)


# aᵢ = e^(zᵢ − max z) / Σⱼ e^(zⱼ − max z) down each column
@borrows
def softmax(do: Program, z: Array, a: Array, slope: Array | None) -> None:
    row = do.scratch(z[:1])
    do(np.maximum.reduce, z, axis=0, keepdims=True, out=row)
    do(np.subtract, z, do.broadcast(row, z), out=a)
    do(np.exp, a, out=a)
    do(np.add.reduce, a, axis=0, keepdims=True, out=row)
    do(np.divide, a, do.broadcast(row, a), out=a)


# dzⱼ = aⱼ (daⱼ − Σᵢ daᵢ aᵢ)
@borrows
def softmax_product(do: Program, da: Array, z: Array, a: Array, dz: Array) -> None:
    row, s = do.scratch(da[:1]), do.scratch(da)
    do(np.multiply, da, a, out=s)
    do(np.add.reduce, s, axis=0, keepdims=True, out=row)
    do(np.subtract, da, do.broadcast(row, da), out=dz)
    do(np.multiply, dz, a, out=dz)


KERNELS: dict[str, ActivationKernel] = {
    "sigmoid": ActivationKernel(sigmoid),
    "relu": ActivationKernel(derivative=d_relu),
    "softplus": ActivationKernel(softplus),
    "hardtanh": ActivationKernel(derivative=d_hardtanh),
    "softmax": ActivationKernel(softmax, product=softmax_product),
}


def kernel(row: Activation) -> ActivationKernel:
    """The kernel of a row: what is not written by hand is from its record; ValueError without one."""
    ours = KERNELS.get(row.name, ActivationKernel())
    if ours.product is not None:
        return ours
    made = recorded.activation(row, keep=ours.forward is None)
    derivative = None if made.formula.derivative.is_(1) else ours.derivative or made.derivative
    return ActivationKernel(ours.forward or made.forward, derivative)
