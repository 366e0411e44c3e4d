"""What a step is written in: named tensors that are made once, and kernels bound to them.

An `Op` is one kernel with its arguments already in place; a step is a list of them, called in order.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from manual.steps.program import named

Op = Callable[[], Any]


class Buffers:
    """Tensors by name, made when first asked for and the same ones after that.

    On the device "meta" they have shapes and no memory: `bytes` then tells what a step would need.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.tensors: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """The buffer of that name. Raises ValueError if it was made with another shape."""
        if name not in self.tensors:
            self.tensors[name] = torch.zeros(shape, dtype=dtype or self.dtype, device=self.device)
        if self.tensors[name].shape != shape:
            raise ValueError(f"buffer {name} has shape {tuple(self.tensors[name].shape)}, not {shape}")
        return self.tensors[name]

    def ones(self, n: int) -> Tensor:
        """A vector of n ones: a column's sum is its product with it."""
        if "ones" not in self.tensors:
            self.tensors["ones"] = torch.ones(n, dtype=self.dtype, device=self.device)
        return self.tensors["ones"]

    def constant(self, value: float) -> Tensor:
        """A number in a tensor without dimensions: a kernel takes it in half the time of a Python one."""
        name = f"constant {value}"
        if name not in self.tensors:
            self.tensors[name] = torch.full((), value, dtype=self.dtype, device=self.device)
        return self.tensors[name]

    @property
    def bytes(self) -> int:
        """The memory of all buffers."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


ALIGNMENT = 64  # bytes: where a vector register's load of one cache line starts


class FlatParameters:
    """All parameters in one tensor `values`, all gradients in another; views of both by name, and under the
    names of the trace in `named`.

    The module's parameters become views of `values`: what the engine learns, the module has. What lies
    between two parameters, up to the next 64 bytes, nobody reads.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        parameters = dict(model.named_parameters())
        first = next(iter(parameters.values()))
        step = ALIGNMENT // first.element_size()
        places, end = {}, 0
        for name, parameter in parameters.items():
            places[name] = end
            end += -(-parameter.numel() // step) * step
        self.values = torch.zeros(end, dtype=first.dtype, device=first.device)
        self.gradients = torch.zeros_like(self.values)
        self.parameter = self._views(self.values, parameters, places)
        self.gradient = self._views(self.gradients, parameters, places)
        self.named = named("", self.parameter) | named("d", self.gradient)
        with torch.no_grad():
            for name, parameter in parameters.items():
                self.parameter[name].copy_(parameter)
                parameter.data = self.parameter[name]

    @staticmethod
    def _views(flat: Tensor, like: Mapping[str, Tensor], places: Mapping[str, int]) -> dict[str, Tensor]:
        return {n: flat[places[n] : places[n] + p.numel()].view(p.shape) for n, p in like.items()}


class Resident:
    """NumPy arrays as tensors on the device, by the array's identity: each is copied once.

    On the CPU a tensor shares a contiguous array's memory; elsewhere a later change of the array is not
    seen. The five arrays that were used last are kept: x, y and weights of training, and two to predict.
    """

    KEPT = 5

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.copies = 0
        self.kept: dict[int, tuple[Array, Tensor]] = {}

    def __contains__(self, array: Array) -> bool:
        return id(array) in self.kept

    def __call__(self, array: Array) -> Tensor:
        """The tensor of this very array, kept."""
        if array not in self:
            while len(self.kept) >= self.KEPT:
                del self.kept[next(iter(self.kept))]
            self.copies += 1
            self.kept[id(array)] = array, self.tensor(array)
        self.kept[id(array)] = self.kept.pop(id(array))  # the last one used is the last one to go
        return self.kept[id(array)][1]

    def tensor(self, array: Array) -> Tensor:
        """A tensor of the array, not kept; integers become int64, as torch wants class labels."""
        source = np.ascontiguousarray(array) if array.flags.writeable else array.copy()
        tensor = torch.from_numpy(source).to(self.device)
        return tensor if tensor.is_floating_point() else tensor.long()
