"""What a step needs of the device's memory, and the batch size that would fit where it ran out."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from mlp_torch.errors import UserError


def largest_batch(free: int, needed: Callable[[int], int]) -> int:
    """The largest batch size n with needed(n) ≤ free, or 0; `needed` is a line: fixed + n · a sample's."""
    fixed = 2 * needed(2) - needed(4)
    per_sample = (needed(4) - needed(2)) // 2
    return max(0, (free - fixed) // per_sample)


def free_bytes(device: torch.device) -> int:
    """The memory that can be had on the device once torch has given back what it does not use."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def advice(batch_size: int, free: int, needed: Callable[[int], int]) -> str:
    """What was too large, and what would fit, in one line."""
    fits = largest_batch(free, needed)
    if fits >= batch_size:
        return (
            f"the device's memory cannot hold the data beside a step of {batch_size} samples "
            f"({free / 2**20:,.0f} MiB are free): train on fewer samples, or on --device cpu"
        )
    if fits == 0:
        return (
            f"not one sample fits in the {free / 2**20:,.0f} MiB that are free: use smaller --hidden layers"
        )
    return (
        f"--batch-size {batch_size} needs {needed(batch_size) / 2**20:,.0f} MiB on the device and "
        f"{free / 2**20:,.0f} MiB are free: --batch-size {fits} would fit"
    )


@contextmanager
def advised(
    batch_size: int, device: torch.device, needed: Callable[[int], int], release: Callable[[], None]
) -> Iterator[None]:
    """Turn running out of memory in the block into a UserError that names the batch size that would fit.

    `release` lets go of what the block made, so that what is free then can be counted.
    """
    try:
        yield
        return
    except torch.OutOfMemoryError:
        pass  # outside of the handler: the error's frames hold the tensors that are to go
    release()
    raise UserError(advice(batch_size, free_bytes(device), needed))
