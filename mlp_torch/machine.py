"""What the machine has: devices, threads, memory, and how a run uses them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from threadpoolctl import threadpool_limits

from mlp_torch.errors import UserError


def resolve_device(name: str, dtype: str) -> str:
    """What `--device` means on this machine: auto takes cuda, then mps (float32 only), then the cpu.

    Raises UserError where the device that was asked for is not there.
    """
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(d for d in ("cuda", "mps", "cpu") if found[d] and not (d == "mps" and dtype == "float64"))
    if not found[name]:
        there = ", ".join(d for d in found if found[d])
        raise UserError(f"--device {name}: torch finds none on this machine; choose from auto, {there}")
    return name


# Below this work a step, waking a second thread takes longer than it saves (and on a busy machine, far
# longer: thirty times on two cores with a second process at work).
SMALL_STEP_FLOPS = 20e6


def step_flops(sizes: Sequence[int], batch_size: int) -> int:
    """What the three matrix products of every layer take: two operations a weight and sample each."""
    return 6 * batch_size * sum(a * b for a, b in pairwise(sizes))


@contextmanager
def threads(sizes: Sequence[int], batch_size: int, numpys: bool = False) -> Iterator[None]:
    """In the block, one thread if the network's steps are small, else all cores for one pool of threads.

    That is torch's, or with `numpys` that of NumPy's and SciPy's BLAS: where both have threads, each
    pool's idle ones spin beside the other's at work, and steps take many times as long.
    """
    before = torch.get_num_threads()
    small = step_flops(sizes, batch_size) < SMALL_STEP_FLOPS
    with threadpool_limits(None if numpys and not small else 1, user_api="blas"):
        torch.set_num_threads(1 if numpys or small else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


# What the check before training, or `mlp compare`, holds at once for each parameter: both engines'
# weights and gradients, bounds, and the slices of an error-free product, in float64.
BYTES_PER_PARAMETER = 200


def check_memory(parameters: int) -> None:
    """Raise UserError if a network of so many parameters cannot be checked in the memory that is free."""
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = parameters * BYTES_PER_PARAMETER
    if needed > free:
        raise UserError(
            f"--hidden: {parameters:,} parameters need about {needed / 2**30:.0f} GiB to be checked, and "
            f"{free / 2**30:.0f} GiB are free; use smaller layers"
        )
