"""The arguments of a torch callable, nested as they are: flattened with names, cast, copied, laid out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.errors import UserError

Layout = Callable[[Tensor], Tensor]
COMPLEX = {torch.float64: torch.complex128, torch.float16: torch.complex32}
LAYOUTS_TAKEN = "give it dense, with values"


def differentiable(v: Any) -> bool:
    return isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex())


def flat(value: Any, name: str, found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """(name, leaf) of lists, tuples and dicts in each other: input1[0], input2["mask"]."""
    if isinstance(value, Mapping):
        for key, v in value.items():
            flat(v, f"{name}[{key!r}]".replace("'", '"'), found)
    elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        for i, v in enumerate(value):
            flat(v, f"{name}[{i}]", found)
    else:
        found.append((name, value))
    return found


def rebuilt(value: Any, leaves: Any) -> Any:
    """`value` with its leaves replaced, in order, by those of the iterator `leaves`."""
    if isinstance(value, Mapping):
        return {key: rebuilt(v, leaves) for key, v in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        items = [rebuilt(v, leaves) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return next(leaves)


@dataclass(frozen=True)
class Arguments:
    """What both functions are called with; `judged` are the leaves whose gradient is compared."""

    inputs: Sequence[Any]
    kwargs: Mapping[str, Any]
    names: list[str]
    leaves: list[Any]
    judged: list[int]

    def values(self, dtype: Any, device: str) -> list[Any]:
        """The leaves on `device`, floats in `dtype` (None: as they were given)."""
        return [on(v, dtype, device) for v in self.leaves]

    def call(self, function: Any, leaves: Sequence[Any]) -> Any:
        each = iter(leaves)
        args = [rebuilt(v, each) for v in self.inputs]
        return function(*args, **{k: rebuilt(v, each) for k, v in self.kwargs.items()})

    @property
    def judged_names(self) -> list[str]:
        return [self.names[i] for i in self.judged]


def arguments(inputs: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Arguments:
    """Raises UserError where there is nothing to differentiate, or a tensor without values of its own."""
    if isinstance(inputs, Tensor | str) or not isinstance(inputs, Sequence):
        raise UserError(f"inputs: give a list or tuple of the arguments, not a {type(inputs).__name__}")
    found: list[tuple[str, Any]] = []
    for i, v in enumerate(inputs):
        flat(v, f"input{i}", found)
    for key, v in (kwargs or {}).items():
        flat(v, key, found)
    names, leaves = [n for n, _ in found], [v for _, v in found]
    for name, v in found:
        if isinstance(v, Tensor) and (v.layout != torch.strided or v.is_meta or v.is_quantized):
            what = "meta" if v.is_meta else "quantized" if v.is_quantized else str(v.layout)[6:]
            raise UserError(f"{name} is a {what} tensor, which holds no entries to compare: {LAYOUTS_TAKEN}")
    floats = [i for i, v in enumerate(leaves) if differentiable(v)]
    if not floats:
        raise UserError("check_autograd_function: give at least one floating tensor among inputs")
    # where the person said what needs a gradient, only that is asked for
    judged = [i for i in floats if leaves[i].requires_grad] or floats
    return Arguments(inputs, kwargs or {}, names, leaves, judged)


def on(v: Any, dtype: Any, device: str) -> Any:
    if not isinstance(v, Tensor):
        return v
    v = v.detach().resolve_conj().resolve_neg()
    if dtype is not None and v.is_floating_point():
        return v.to(device=device, dtype=dtype)
    if dtype is not None and v.is_complex():
        return v.to(device=device, dtype=COMPLEX.get(dtype, torch.complex64))
    return v.to(device)


def raised(v: Any) -> Any:
    """A leaf in double precision, with the value it has."""
    return on(v, torch.float64, str(v.device)) if differentiable(v) else v


def same(v: Tensor) -> Tensor:
    return v.clone(memory_format=torch.contiguous_format)


def placed(values: Sequence[Any], wanted: Sequence[int], layout: Layout = same) -> list[Any]:
    """Fresh leaves for one call, those of `wanted` requiring a gradient."""
    return [
        layout(v).requires_grad_(i in wanted) if differentiable(v)
        else v.clone() if isinstance(v, Tensor) else v
        for i, v in enumerate(values)
    ]  # fmt: skip


def outputs_of(result: Any) -> tuple[list[str], list[Tensor]]:
    """(names, tensors) of what a call gave; None, numbers and other objects are left out."""
    found = [(n, v) for n, v in flat(result, "output", []) if isinstance(v, Tensor)]
    return [n for n, _ in found], [dense(v) for _, v in found]


def dense(v: Tensor) -> Tensor:
    return v if v.layout == torch.strided else v.to_dense()


def to_numpy(v: Tensor) -> Array:
    """Float64 entries; a complex tensor's last axis is (real, imaginary)."""
    v = dense(v.detach())
    if v._is_zerotensor():  # torch.sgn's gradient holds no memory
        v = torch.zeros(v.shape, dtype=v.dtype)
    v = v.resolve_conj().resolve_neg()
    if v.is_complex():
        v = torch.view_as_real(v.to(torch.complex128))
    array: Array = v.double().cpu().numpy()
    return array


def alike(a: Array, b: Array) -> bool:
    """The same entries, NaN equal to NaN."""
    return bool(np.array_equal(a, b, equal_nan=True))


def equal(a: Tensor, b: Tensor) -> bool:
    if a.dtype != torch.complex32 and torch.equal(a, b):
        return True
    return alike(to_numpy(a), to_numpy(b))


def coarse(dtype: Any, device: str) -> list[str]:
    """The note that float32 products on this device are TF32, as the user has set it."""
    precision = torch.get_float32_matmul_precision()
    if not device.startswith("cuda") or dtype != torch.float32 or precision == "highest":
        return []
    return [
        f"float32 matmul precision is {precision!r}: products are TF32, and the reference's own error in "
        'them is the floor; torch.set_float32_matmul_precision("highest") judges more sharply'
    ]
