"""Leaves, outputs and gradients of a torch callable."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from manual.numbers import Array


def leaves_of(inputs: Sequence[Any], dtype: Any, device: str) -> list[Any]:
    return [
        v.detach().clone().to(device=device, dtype=dtype).requires_grad_()
        if isinstance(v, Tensor) and v.is_floating_point()
        else v.to(device) if isinstance(v, Tensor) else v
        for v in inputs
    ]  # fmt: skip


def differentiable(v: Any) -> bool:
    return isinstance(v, Tensor) and v.is_floating_point()


def outputs_of(result: Any) -> list[Tensor]:
    return [r for r in (result if isinstance(result, tuple | list) else [result]) if isinstance(r, Tensor)]


def gradients_of(
    out: list[Tensor], leaves: list[Any], up: list[Tensor], dtype: Any, create: bool = False
) -> list[Tensor]:
    wanted = [v for v in leaves if differentiable(v)]
    kept = [(o, g.to(dtype)) for o, g in zip(out, up, strict=True) if o.requires_grad]
    if not kept:
        return [torch.zeros_like(v) for v in wanted]
    found = torch.autograd.grad(
        [o for o, _ in kept], wanted, [g for _, g in kept], allow_unused=True, create_graph=create
    )
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, wanted, strict=True)]


def to_numpy(t: Tensor) -> Array:
    array: Array = t.detach().double().cpu().numpy()
    return array
