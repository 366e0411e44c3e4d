"""The same values, lying otherwise in memory; and upstream gradients as callers hand them down.

What reads such a tensor as if it were contiguous finds other numbers in the memory behind it, not its end.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Make = Callable[[Tensor], Tensor | None]


def _memory(v: Tensor, entries: int) -> Tensor:
    """Entries nobody should read: the values of v, shuffled and moved."""
    spare = v.flatten().flip(0) * 3 + 1 if v.numel() else v.flatten()
    return spare.repeat(entries // max(v.numel(), 1) + 1)[:entries].clone()


def expanded(v: Tensor) -> Tensor | None:
    """One number for all entries: what .sum().backward() hands down."""
    if v.numel() < 2:
        return None
    memory = _memory(v, v.numel())
    memory[0] = 1
    return memory[:1].reshape([1] * v.ndim).expand(v.shape)


def rows(v: Tensor) -> Tensor | None:
    """The first row for all rows: what .mean(0) hands down."""
    if v.ndim < 2 or v.shape[0] < 2 or not v.numel():
        return None
    memory = _memory(v, v.numel())
    first = v[0].numel()
    memory[:first] = v[0].flatten()
    return memory[:first].reshape(1, *v.shape[1:]).expand(v.shape)


def strided(v: Tensor) -> Tensor | None:
    """Every other entry of a tensor twice as wide: [..., ::2]."""
    if not v.ndim or not v.numel():
        return None
    memory = _memory(v, 2 * v.numel()).reshape(*v.shape[:-1], 2 * v.shape[-1])
    part = memory[..., ::2]
    part.copy_(v)
    return part


def offset(v: Tensor) -> Tensor | None:
    """A tensor that begins in the middle of its memory."""
    if not v.numel():
        return None
    memory = _memory(v, v.numel() + 2)
    part = memory[2:].view(v.shape)
    part.copy_(v)
    return part


def transposed(v: Tensor) -> Tensor | None:
    if v.ndim < 2 or min(v.shape[-2:]) < 2 or not v.numel():
        return None
    return v.mT.contiguous().mT


def channels_last(v: Tensor) -> Tensor | None:
    if v.ndim not in (4, 5) or not v.numel() or v.shape[1] < 2:
        return None
    last = torch.channels_last if v.ndim == 4 else torch.channels_last_3d
    return v.clone(memory_format=torch.contiguous_format).contiguous(memory_format=last)


def zero(v: Tensor) -> Tensor | None:
    return torch.zeros_like(v) if v.numel() else None


def _kept(choose: Callable[[Tensor], None]) -> Make:
    """Ones where `choose` leaves them; None where that leaves all entries or none."""

    def make(v: Tensor) -> Tensor | None:
        mask = torch.ones(v.shape, dtype=torch.bool, device=v.device)
        if not v.ndim or not v.numel():
            return None
        choose(mask)
        return torch.where(mask, v, 0) if mask.any() and not mask.all() else None

    return make


def _first(mask: Tensor) -> None:
    mask[..., 0] = False


def _last(mask: Tensor) -> None:
    mask[..., -1] = False


def _every_other(mask: Tensor) -> None:
    mask.view(-1)[::2] = False


def _all_but_one(mask: Tensor) -> None:
    mask.view(-1)[: mask.numel() // 2] = False
    mask.view(-1)[mask.numel() // 2 + 1 :] = False


SPARSE = {
    "whose first column is 0": _kept(_first),
    "whose last column is 0": _kept(_last),
    "with every other entry 0": _kept(_every_other),
    "with one entry that is not 0": _kept(_all_but_one),
}


def scaled(exponent: int) -> Make:
    """The upstream times 2^exponent, as from a mean over many entries or from loss scaling."""
    return lambda v: (
        v * 2.0**exponent if v.numel() and v.dtype not in (torch.float16, torch.complex32) else None
    )


def broadcast(v: Tensor) -> Tensor | None:
    """The first row, expanded: other values, and a stride of 0."""
    if not v.ndim or v.shape[0] < 2 or not v.numel():
        return None
    return v[:1].clone().expand(v.shape)


def as_if_contiguous(v: Tensor) -> Tensor | None:
    """What a kernel finds that takes the address of v and counts entries from there."""
    strides: list[int] = []
    step = 1
    for size in reversed(v.shape):
        strides.insert(0, step)
        step *= size
    held = v.untyped_storage().nbytes() // v.element_size() - v.storage_offset()
    return v.as_strided(v.shape, strides) if held >= v.numel() else None
