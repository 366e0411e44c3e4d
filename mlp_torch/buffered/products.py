"""The three matrix products of a layer, by BLAS or by oneDNN, and how precise float32 may be.

BLAS writes where it is told to. oneDNN's linear returns a new tensor, which is copied; on a Zen 4, where MKL
has no AVX-512, it is faster all the same from about 3e8 multiplications and additions on. On an Intel Xeon
it is not: with BLAS a step of 784-2048-2048-10 takes .83 of its CPU time, with two threads .89.

Which it is follows from the processor's maker and is not measured anew in each process: two runs on one
machine, or the two halves of one that was cut, must not differ in their bits. The operator is private to
torch, so it is tried once, against BLAS, before it is used.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from mlp_torch.buffered.buffers import Buffers, Op
from mlp_torch.machine import maker

# From how many operations on oneDNN multiplies; by the maker where it is another number.
ONEDNN_FLOPS, BY_MAKER = 3e8, {"GenuineIntel": math.inf}


def _linear(a: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """out = a Wᵀ + b by oneDNN."""
    out.copy_(torch.ops.mkldnn._linear_pointwise(a, weight, bias, "none", [], ""))


@cache
def onednn_works() -> bool:
    """Whether oneDNN's linear is there and agrees with BLAS on a small product of each layout."""
    generator = torch.Generator().manual_seed(0)
    a, weight, bias = (torch.randn(shape, generator=generator) for shape in ((5, 33), (17, 33), (17,)))
    out = torch.empty(5, 17)
    try:
        for left, right in ((a, weight), (a.t().contiguous().t(), weight.t().contiguous().t())):
            _linear(left, right, bias, out)
            # each entry is a sum of 34 numbers of about 1: 1e-4 is a hundred roundings
            if not torch.allclose(out, torch.addmm(bias, a, weight.t()), rtol=0, atol=1e-4):
                return False
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


def _onednn(n: int, fan_in: int, fan_out: int, like: Tensor) -> bool:
    fits = like.device.type == "cpu" and like.dtype == torch.float32
    enough = BY_MAKER.get(maker(), ONEDNN_FLOPS)
    return fits and 2 * n * fan_in * fan_out >= enough and onednn_works()


def _bf16(left: Tensor, right: Tensor, out: Tensor) -> None:
    """out = left right for bfloat16 factors, summed in float32, which torch has on CUDA alone."""
    torch.mm(left, right, torch.float32, out=out)


class Rounded:
    """The copies in bfloat16 of what one step multiplies: each tensor is rounded once where it is made.

    The products that read them sum in float32, so z, the gradients and the weights stay float32. Not run
    on a GPU so far; on a CPU the same steps are tested with a product that stands in for torch's.
    """

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers
        self.copies: dict[int, Tensor] = {}

    def __call__(self, *tensors: Tensor) -> tuple[list[Tensor], list[Op]]:
        """The copies, and what makes those that no product before has made."""
        ops: list[Op] = []
        for tensor in tensors:
            if id(tensor) not in self.copies:
                name = f"bfloat16 {len(self.copies)}"
                self.copies[id(tensor)] = self.buffers(name, *tensor.shape, dtype=torch.bfloat16)
                ops.append(partial(self.copies[id(tensor)].copy_, tensor))
        return [self.copies[id(tensor)] for tensor in tensors], ops


# z = a Wᵀ + b
def forward(a: Tensor, weight: Tensor, bias: Tensor, z: Tensor, rounded: Rounded | None = None) -> list[Op]:
    """z (N, out) from a (N, in), weight (out, in), bias (out,)."""
    if rounded is not None:
        (a16, weight16), ops = rounded(a, weight)
        return [*ops, partial(_bf16, a16, weight16.t(), z), partial(z.add_, bias)]
    if _onednn(len(a), a.shape[1], len(weight), z):
        return [partial(_linear, a, weight, bias, z)]
    return [partial(torch.addmm, bias, a, weight.t(), out=z)]


# dW = dzᵀ a
def backward_weight(dz: Tensor, a: Tensor, dweight: Tensor, rounded: Rounded | None = None) -> list[Op]:
    """dW (out, in) from dz (N, out) and a (N, in)."""
    if rounded is not None:
        (dz16, a16), ops = rounded(dz, a)
        return [*ops, partial(_bf16, dz16.t(), a16, dweight)]
    if _onednn(len(a), a.shape[1], dz.shape[1], dz):
        return [partial(_linear, dz.t(), a.t(), None, dweight)]
    return [partial(torch.mm, dz.t(), a, out=dweight)]


# db = Σ dz over the samples: dzᵀ 1
def backward_bias(dz: Tensor, ones: Tensor, dbias: Tensor) -> list[Op]:
    """db (out,) from dz (N, out)."""
    return [partial(torch.mv, dz.t(), ones, out=dbias)]


# da = dz W
def backward_input(dz: Tensor, weight: Tensor, da: Tensor, rounded: Rounded | None = None) -> list[Op]:
    """da (N, in) from dz (N, out) and weight (out, in)."""
    if rounded is not None:
        (dz16, weight16), ops = rounded(dz, weight)
        return [*ops, partial(_bf16, dz16, weight16, da)]
    if _onednn(len(dz), weight.shape[1], len(weight), dz):
        return [partial(_linear, dz, weight.t(), None, da)]
    return [partial(torch.mm, dz, weight, out=da)]


def precision_of(device: str) -> Any:
    """The setting of torch that holds for float32 products on that kind of device."""
    backend: Any = torch.backends.cuda if device == "cuda" else torch.backends.mkldnn
    return backend.matmul


@contextmanager
def precision(device: str, fp32_precision: str) -> Iterator[None]:
    """In the block, float32 products on that kind of device are as precise as that; then as before."""
    setting = precision_of(device)
    before = setting.fp32_precision
    setting.fp32_precision = fp32_precision
    try:
        yield
    finally:
        setting.fp32_precision = before
