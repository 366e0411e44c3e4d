"""What the machine has: devices, threads, memory, and how a run uses them."""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path

from threadpoolctl import ThreadpoolController

from mlp_torch.errors import UserError


def no_gpu() -> bool:
    """Whether it is sure, without asking torch, that there is no GPU: on Linux no driver shows a device."""
    devices = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    return sys.platform == "linux" and not any(Path(device).exists() for device in devices)


def resolve_device(name: str, dtype: str) -> str:
    """What `--device` means on this machine: auto takes cuda, then mps (float32 only), then the cpu.

    Raises UserError where the device that was asked for is not there.
    """
    if name == "cpu" or (name == "auto" and no_gpu()):
        return "cpu"
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(d for d in found if found[d] and not (d == "mps" and dtype == "float64"))
    if not found[name]:
        there = ", ".join(d for d in ("cpu", "cuda", "mps") if found[d])
        raise UserError(f"--device {name}: torch finds none on this machine; choose from auto, {there}")
    return name


@cache
def maker() -> str:
    """Who made the processor, in its own words: GenuineIntel, AuthenticAMD; "" where the system hides it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    except (OSError, StopIteration):  # not Linux, or a processor of another kind
        return next((word for word in platform.processor().split() if word.startswith("Genuine")), "")


# Below this work a step, waking a second thread takes longer than it saves (and on a busy machine, far
# longer: thirty times on two cores with a second process at work).
SMALL_STEP_FLOPS = 20e6


def step_flops(sizes: Sequence[int], batch_size: int) -> int:
    """What the three matrix products of every layer take: two operations a weight and sample each."""
    return 6 * batch_size * sum(a * b for a, b in pairwise(sizes))


# What a thread of the compiled step is worth having for, and the fewest samples that keep it busy; a step
# of many threads is bound by memory. Their number shows in no bit of the result.
FLOPS_OF_A_THREAD, SAMPLES_OF_A_THREAD, MOST_THREADS = 10e6, 32, 8


def step_threads(sizes: Sequence[int], batch_size: int) -> int:
    """How many threads share a batch in the compiled step; OMP_NUM_THREADS is an upper limit, as for BLAS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    cores = min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores
    worth = int(step_flops(sizes, batch_size) // FLOPS_OF_A_THREAD)
    return max(1, min(cores, worth, batch_size // SAMPLES_OF_A_THREAD, MOST_THREADS))


@cache
def pools(*imported: bool) -> ThreadpoolController:
    """The libraries with threads of their own; to look for them takes a millisecond, so once."""
    return ThreadpoolController()


@contextmanager
def threads(sizes: Sequence[int], batch_size: int, numpys: bool = False) -> Iterator[None]:
    """In the block, one thread if the network's steps are small, else all cores for one pool of threads.

    That is torch's, or with `numpys` that of NumPy's BLAS: where both have threads, each
    pool's idle ones spin beside the other's at work, and steps take many times as long.
    """
    torch = sys.modules.get("torch")  # its pool is there only if it was imported
    before = torch.get_num_threads() if torch else 0
    small = step_flops(sizes, batch_size) < SMALL_STEP_FLOPS
    with pools("torch" in sys.modules, "scipy" in sys.modules).limit(
        limits=None if numpys and not small else 1, user_api="blas"
    ):
        if torch:
            torch.set_num_threads(1 if numpys or small else before)
        try:
            yield
        finally:
            if torch:
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
