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
    out: list[Tensor], leaves: list[Any], up: list[Tensor], dtype: Any, create: bool = False,
    changed: list[int] | None = None,
) -> list[Tensor]:  # fmt: skip
    """The gradients of the leaves under copies of `up`; `changed` gets the copies that backward changed."""
    wanted = [v for v in leaves if differentiable(v)]
    rooted = [i for i, o in enumerate(out) if o.requires_grad]
    kept = [(out[i], up[i].to(dtype, copy=True)) for i in rooted]
    if not kept:
        return [torch.zeros_like(v) for v in wanted]
    found = torch.autograd.grad(
        [o for o, _ in kept], wanted, [g for _, g in kept], allow_unused=True, create_graph=create
    )
    if changed is not None:
        changed += [
            i for i, (_, g) in zip(rooted, kept, strict=True) if not torch.equal(g.detach(), up[i].to(dtype))
        ]
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, wanted, strict=True)]


def coarse(dtype: Any, device: str) -> list[str]:
    """The note that float32 products on this device are TF32, as the user has set it."""
    precision = torch.get_float32_matmul_precision()
    if not device.startswith("cuda") or dtype != torch.float32 or precision == "highest":
        return []
    return [
        f"float32 matmul precision is {precision!r}: products are TF32, and the reference's own error in "
        'them is the floor; torch.set_float32_matmul_precision("highest") judges more sharply'
    ]


def to_numpy(t: Tensor) -> Array:
    array: Array = t.detach().double().cpu().numpy()
    return array
