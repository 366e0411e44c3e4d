"""The activations as kernels: a = f(z) and dz = da · f′(z), forward beside backward, one row a function.

A row has its kernels from its record. Those of `ACTIVATIONS` are torch's own instead, one pass over memory:
made from the record, forward and backward take 1.0 to 6.7 times as long, leaky_relu's 11 (float32, 512 to
262,144 entries, one thread of an Intel Xeon; gelu's .5 to 2.6). Kinks are torch's because the comparisons
are. dz lies over da where the row is elementwise, and a over z where f′ can be had from a alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from manual.activations import Activation
from manual.catalogue.activations import NEGATIVE_SLOPE, SELU_CONSTANTS
from manual.recorded.formula import recorded
from manual.recorded.simplify import simplified
from mlp_torch.buffered.buffers import Buffers, Op
from mlp_torch.buffered.recorded import OPAQUE, RecordedActivation

aten = torch.ops.aten


@dataclass(frozen=True)
class Unit:
    """What a row's kernels read and write in one layer, all (N, F); `slope` and `dslope` are prelu's."""

    z: Tensor
    a: Tensor
    da: Tensor
    dz: Tensor
    buffers: Buffers
    name: str
    negative_slope: float = float(NEGATIVE_SLOPE)
    slope: Tensor | None = None
    dslope: Tensor | None = None

    def scratch(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """A further buffer of z's shape."""
        return self.buffers(f"{name}{self.name}", *self.z.shape, dtype=dtype)


@dataclass(frozen=True)
class ActivationKernel:
    """`forward` computes a from z, `backward` dz from da, z and a.

    `from_a`: backward does not read z, so a may lie over it. `elementwise`: dz may lie over da.
    """

    forward: Callable[[Unit], list[Op]]
    backward: Callable[[Unit], list[Op]]
    from_a: bool = False
    elementwise: bool = True
    slope: Callable[[Unit], list[Op]] | None = None


# a = z
def identity(u: Unit) -> list[Op]:
    return []


def d_identity(u: Unit) -> list[Op]:
    return []


# a = 1 / (1 + e^−z)
def sigmoid(u: Unit) -> list[Op]:
    return [partial(torch.sigmoid, u.z, out=u.a)]


# dz = da · a (1 − a)
def d_sigmoid(u: Unit) -> list[Op]:
    return [partial(aten.sigmoid_backward.grad_input, u.da, u.a, grad_input=u.dz)]


# a = (e^z − e^−z) / (e^z + e^−z)
def tanh(u: Unit) -> list[Op]:
    return [partial(torch.tanh, u.z, out=u.a)]


# dz = da · (1 − a²)
def d_tanh(u: Unit) -> list[Op]:
    return [partial(aten.tanh_backward.grad_input, u.da, u.a, grad_input=u.dz)]


# a = max(0, z)
def relu(u: Unit) -> list[Op]:
    return [partial(torch.clamp_min, u.z, 0, out=u.a)]


# dz = 0 where a ≤ 0, else da: a ≤ 0 exactly where z ≤ 0, and NaN passes
def d_relu(u: Unit) -> list[Op]:
    return [partial(aten.threshold_backward.grad_input, u.da, u.a, 0, grad_input=u.dz)]


# a = z for z > 0, else slope · z
def leaky_relu(u: Unit) -> list[Op]:
    return [partial(aten.leaky_relu.out, u.z, u.negative_slope, out=u.a)]


# dz = da for z > 0, else slope · da
def d_leaky_relu(u: Unit) -> list[Op]:
    kernel = aten.leaky_relu_backward.grad_input
    return [partial(kernel, u.da, u.z, u.negative_slope, False, grad_input=u.dz)]


# a = z for z > 0, else slope · z, where the slope is learned
def prelu(u: Unit) -> list[Op]:
    assert u.slope is not None
    positive = u.scratch("positive", torch.bool)
    return [
        partial(torch.gt, u.z, 0, out=positive),
        partial(torch.mul, u.z, u.slope, out=u.a),
        partial(torch.where, positive, u.z, u.a, out=u.a),
    ]


# dz = da for z > 0, else slope · da
def d_prelu(u: Unit) -> list[Op]:
    assert u.slope is not None
    positive, scaled = u.scratch("positive", torch.bool), u.scratch("scaled")
    return [
        partial(torch.mul, u.da, u.slope, out=scaled),
        partial(torch.where, positive, u.da, scaled, out=u.dz),
    ]


# dslope = Σ da · z over the entries where z ≤ 0: da · min(0, z)
def prelu_slope(u: Unit) -> list[Op]:
    assert u.dslope is not None
    negative = u.scratch("scaled")
    return [
        partial(torch.clamp_max, u.z, 0, out=negative),
        partial(torch.dot, u.da.view(-1), negative.view(-1), out=u.dslope.view(())),
    ]


def _elu(alpha: float, scale: float) -> ActivationKernel:
    # a = scale · (z for z > 0, else α (e^z − 1))
    def forward(u: Unit) -> list[Op]:
        return [partial(aten.elu.out, u.z, alpha, scale, 1, out=u.a)]

    # dz = da · scale · (1 for z > 0, else α e^z)
    def backward(u: Unit) -> list[Op]:
        kernel = aten.elu_backward.grad_input
        return [partial(kernel, u.da, alpha, scale, 1, False, u.z, grad_input=u.dz)]

    return ActivationKernel(forward, backward)


def _gelu(approximate: str) -> ActivationKernel:
    # a = z Φ(z); "tanh": a = ½ z (1 + tanh u), u = √(2/π) (z + 0.044715 z³)
    def forward(u: Unit) -> list[Op]:
        return [partial(aten.gelu.out, u.z, approximate=approximate, out=u.a)]

    # dz = da · (Φ(z) + z φ(z)); "tanh": da · (½ (1 + tanh u) + ½ z (1 − tanh² u) u′)
    def backward(u: Unit) -> list[Op]:
        kernel = aten.gelu_backward.grad_input
        return [partial(kernel, u.da, u.z, approximate=approximate, grad_input=u.dz)]

    return ActivationKernel(forward, backward)


# a = z s(z)
def silu(u: Unit) -> list[Op]:
    return [partial(aten.silu.out, u.z, out=u.a)]


# dz = da · s(z) (1 + z (1 − s(z)))
def d_silu(u: Unit) -> list[Op]:
    return [partial(aten.silu_backward.grad_input, u.da, u.z, grad_input=u.dz)]


# a = log(1 + e^z), and z itself above 20
def softplus(u: Unit) -> list[Op]:
    return [partial(aten.softplus.out, u.z, 1, 20, out=u.a)]


# dz = da · s(z), and da above 20
def d_softplus(u: Unit) -> list[Op]:
    return [partial(aten.softplus_backward.grad_input, u.da, u.z, 1, 20, grad_input=u.dz)]


# a = min(max(z, −1), 1)
def hardtanh(u: Unit) -> list[Op]:
    return [partial(torch.clamp, u.z, -1, 1, out=u.a)]


# dz = 0 where a ≤ −1 or a ≥ 1, else da
def d_hardtanh(u: Unit) -> list[Op]:
    return [partial(aten.hardtanh_backward.grad_input, u.da, u.a, -1, 1, grad_input=u.dz)]


# a = e^z / Σ e^z along each row
def softmax(u: Unit) -> list[Op]:
    return [partial(aten._softmax.out, u.z, 1, False, out=u.a)]


# dz = a (da − Σ da a)
def d_softmax(u: Unit) -> list[Op]:
    return [partial(aten._softmax_backward_data.out, u.da, u.a, 1, u.z.dtype, grad_input=u.dz)]


ACTIVATIONS: dict[str, ActivationKernel] = {
    "identity": ActivationKernel(identity, d_identity, from_a=True),
    "sigmoid": ActivationKernel(sigmoid, d_sigmoid, from_a=True),
    "tanh": ActivationKernel(tanh, d_tanh, from_a=True),
    "relu": ActivationKernel(relu, d_relu, from_a=True),
    "leaky_relu": ActivationKernel(leaky_relu, d_leaky_relu),
    "prelu": ActivationKernel(prelu, d_prelu, slope=prelu_slope),
    "elu": _elu(1.0, 1.0),
    "selu": _elu(float(SELU_CONSTANTS["alpha"]), float(SELU_CONSTANTS["scale"])),
    "gelu": _gelu("none"),
    "gelu_tanh": _gelu("tanh"),
    "silu": ActivationKernel(silu, d_silu),
    "softplus": ActivationKernel(softplus, d_softplus),
    "hardtanh": ActivationKernel(hardtanh, d_hardtanh, from_a=True),
    "softmax": ActivationKernel(softmax, d_softmax, elementwise=False),
}


def kernel(row: Activation) -> ActivationKernel:
    """torch's own kernels of a row where it has them, else those from its record; ValueError without one."""
    if row.name in ACTIVATIONS:
        return ACTIVATIONS[row.name]
    formula = recorded(row, simplify=simplified, opaque=OPAQUE)
    if formula is None or row.slope is not None:
        raise ValueError(f"the torch step has no kernel for {row.name}")
    made = RecordedActivation(formula)
    return ActivationKernel(made.forward, made.backward)
