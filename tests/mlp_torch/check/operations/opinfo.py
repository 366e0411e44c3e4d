"""Torch's own operators as functions with a backward of their own, right and with planted faults."""

import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_flatten, tree_unflatten

# torch divides by the number of rows without a look at it, which ends the process for a batch of 0
DIES = ("native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update")


@dataclass(frozen=True)
class Sample:
    """One call of one operator: the reference, and its tensors."""

    name: str
    call: Callable[..., Any]
    inputs: list[Tensor]


def database() -> list[Any]:
    """Operators that autograd takes in float64 on the CPU."""
    if "expecttest" not in sys.modules:  # torch.testing imports it for tests of its own
        stub: Any = types.ModuleType("expecttest")
        stub.TestCase = unittest.TestCase
        sys.modules["expecttest"] = stub
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return [
        op
        for op in op_db
        if op.supports_autograd and op.supports_dtype(torch.float64, "cpu") and op.name not in DIES
    ]


def samples(op: Any, count: int = 2, dtype: torch.dtype = torch.float64) -> Iterator[Sample]:
    """The first samples of an operator that hold a tensor to differentiate."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = list(islice(op.sample_inputs("cpu", dtype, requires_grad=True), count))
    for number, sample in enumerate(drawn):
        leaves, spec = tree_flatten(([sample.input, *sample.args], sample.kwargs))
        places = [i for i, v in enumerate(leaves) if isinstance(v, Tensor)]
        if not any(leaves[i].requires_grad for i in places):
            continue

        def call(*tensors: Tensor, op=op, leaves=leaves, spec=spec, places=places, sample=sample) -> Any:
            given = list(leaves)
            for i, v in zip(places, tensors, strict=True):
                given[i] = v
            args, kwargs = tree_unflatten(given, spec)
            # what depends on a phase that torch may choose is made free of it
            return sample.output_process_fn_grad(op(*args, **kwargs))

        name = f"{op.name}{'.' + op.variant_test_name if op.variant_test_name else ''}#{number}"
        yield Sample(name, call, [leaves[i].detach().requires_grad_(leaves[i].requires_grad) for i in places])


def entry(g: Tensor) -> Tensor:
    flat = g.flatten().clone()
    flat[flat.numel() // 2] += 1e-3 * g.abs().max()
    return flat.reshape(g.shape)


def without_a_part(g: Tensor) -> Tensor:
    flat = g.flatten().clone()
    flat[: (flat.numel() + 1) // 2] = 0
    return flat.reshape(g.shape)


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sign": lambda g: -g,
    "factor 2": lambda g: 2 * g,
    "factor 1 + 1e-6": lambda g: g * (1 + 1e-6),
    "one entry": entry,
    "zero": torch.zeros_like,
    "rolled": lambda g: g.flatten().roll(1).reshape(g.shape),
    "constant": lambda g: g + 1e-4 * g.abs().max(),
    "part missing": without_a_part,
}


def planted(call: Callable[..., Any], change: Callable[[Tensor], Tensor] | None, place: int = 0) -> Any:
    """`call` as a torch.autograd.Function whose gradient of one input is changed."""

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            with torch.enable_grad():
                ctx.leaves = [v.detach().requires_grad_(v.requires_grad) for v in tensors]
                out, ctx.spec = tree_flatten(call(*ctx.leaves))
            ctx.out = out
            kept = tuple(o.detach() if isinstance(o, Tensor) else o for o in out)
            ctx.mark_non_differentiable(
                *(k for k, o in zip(kept, out, strict=True) if isinstance(o, Tensor) and not o.requires_grad)
            )
            return kept

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *up: Any) -> Any:
            rooted = [i for i, o in enumerate(ctx.out) if isinstance(o, Tensor) and o.requires_grad]
            wanted = [v for v in ctx.leaves if v.requires_grad]
            found = iter(
                torch.autograd.grad(
                    [ctx.out[i] for i in rooted], wanted, [up[i] for i in rooted],
                    allow_unused=True, retain_graph=True,
                )
            )  # fmt: skip
            grads = [next(found) if v.requires_grad else None for v in ctx.leaves]
            if change is not None and grads[place] is not None:
                grads[place] = change(grads[place])
            return tuple(grads)

    return lambda *tensors: Planted.apply(*tensors)


def gradient(sample: Sample, place: int) -> Tensor | None:
    """The true gradient of one input under a fixed random upstream, None where there is none."""
    torch.manual_seed(0)
    leaves = [v.detach().clone().requires_grad_(v.requires_grad) for v in sample.inputs]
    out = [o for o in tree_flatten(sample.call(*leaves))[0] if isinstance(o, Tensor) and o.requires_grad]
    if not out:
        return None
    generator = torch.Generator().manual_seed(7)
    up = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in out]
    return torch.autograd.grad(out, leaves[place], up, allow_unused=True)[0]


def matters(g: Tensor | None, change: Callable[[Tensor], Tensor], unit: float = 0.0) -> bool:
    """The planted fault moves the gradient by more than rounding in a dtype of unit `unit`."""
    if g is None or g.layout != torch.strided or not g.numel() or not g.isfinite().all():
        return False
    g = torch.zeros_like(g) + g
    return bool((change(g) - g).abs().max() > max(1e-7, 20 * unit) * g.abs().max() > 1e-10)


def places(sample: Sample) -> list[int]:
    return [i for i, v in enumerate(sample.inputs) if v.requires_grad]


def unit(sample: Sample) -> float:
    """The coarsest unit of the outputs: casts to bfloat16 hide what is smaller."""
    out = tree_flatten(sample.call(*sample.inputs))[0]
    some = [
        torch.finfo(o.dtype).eps
        for o in out
        if isinstance(o, Tensor) and (o.is_floating_point() or o.is_complex())
    ]
    return max((u for u in some if u > 1e-12), default=0.0)
