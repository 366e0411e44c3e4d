"""Several threads on one batch: each takes its share of the samples, then its rows of every layer.

A barrier stands twice in a step: when all samples have come to dz, and when all parameters are new. Who
waits spins, and soon yields to other threads of the machine in between. Each sum is taken by one thread, in
an order that knows nothing of the threads, so their number shows in no bit.
"""

import ctypes
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from manual.compiled import layout as col
from manual.compiled.memory import loops, pointer
from manual.compiled.sums import LANES
from manual.numbers import Array

ir = cgutils.ir
# Words from one thread's slot to the next, so that no two share a cache line; how often a thread that waits
# looks before it yields; how many rows of a layer get their gradient and are updated while the cache has it.
SLOT, SPINS, AT_ONCE = 8, 300, 64
NOBODY_WAITS = np.iinfo(np.int64).max  # where a thread has arrived that will come to no barrier any more


def _yield_address() -> int:
    """Where the system's call is that yields to other threads."""
    library = ctypes.CDLL("kernel32" if sys.platform == "win32" else None)
    call = library.SwitchToThread if sys.platform == "win32" else library.sched_yield
    return ctypes.cast(call, ctypes.c_void_p).value or 0


YIELD_ADDRESS = _yield_address()


def together(work: Callable[[int], int], threads: int, arrivals: Array) -> int:
    """work(0) in this thread and work(1) … work(threads − 1) in others; what work(0) gave.

    `arrivals` holds the last barrier that each has come to. Raises what a thread raised. No thread is at
    work when this ends, however it does.
    """
    arrivals[:] = 0
    errors: list[BaseException] = []

    def run(thread: int) -> None:
        if arrivals[0] == NOBODY_WAITS:  # begun so late that the others have gone: the arrays are in use
            return
        try:
            work(thread)
        except BaseException as error:
            errors.append(error)
            arrivals[:] = NOBODY_WAITS

    others = [threading.Thread(target=run, args=(thread,), daemon=True) for thread in range(1, threads)]
    try:
        for other in others:
            other.start()
        done = work(0)
    finally:
        arrivals[:] = NOBODY_WAITS  # for this thread, if an error or Ctrl-C kept it from coming
        for other in others:
            while other.is_alive():
                try:
                    other.join()
                except KeyboardInterrupt as error:  # what they write in is not free before they end
                    errors.append(error)
    for raised in errors:
        raise raised
    return done


@intrinsic
def store_release(typing: Any, place: Any, value: Any) -> Any:
    """Write an int64 after everything that was written before it, as other threads see it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, value = arguments
        builder.store_atomic(value, place, "release", 8)
        return context.get_dummy_value()

    return types.void(place, types.int64), generate


@intrinsic
def load_acquire(typing: Any, place: Any) -> Any:
    """Read an int64, before anything that is read after it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(arguments[0], "acquire", 8)

    return types.int64(place), generate


@intrinsic
def sched_yield(typing: Any, address: Any) -> Any:
    """Yield to other threads."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@loops
def barrier(arrivals: Any, number: int, thread: int, threads: int, yield_address: int) -> None:
    """Wait until all threads have come to the barrier of that number."""
    store_release(pointer(arrivals, thread * SLOT), number)
    for other in range(threads):
        spins = 0
        while load_acquire(pointer(arrivals, other * SLOT)) < number:
            spins += 1
            if spins > SPINS:
                sched_yield(yield_address)


@loops
def samples(whole: int, thread: int, threads: int) -> tuple[int, int]:
    """From where up to where a batch is the thread's share: blocks of as many samples as sums have lanes."""
    blocks = (whole + LANES - 1) // LANES
    first, end = blocks * thread // threads * LANES, blocks * (thread + 1) // threads * LANES
    return min(whole, first), min(whole, end)


def most_samples(size: int, threads: int) -> int:
    """How many samples a share of a batch of up to that size may have."""
    blocks = math.ceil(size / LANES)
    return min(size, math.ceil(blocks / threads) * LANES)


@loops
def rows_of(outputs: int, thread: int, threads: int) -> tuple[int, int]:
    """The rows of a layer that are the thread's: from where up to where."""
    return outputs * thread // threads, outputs * (thread + 1) // threads


@loops
def parameters_of(layers: Any, i: int, thread: int, threads: int, size: int) -> tuple[int, int]:
    """Where the parameters of these rows begin, and how many they are; the slopes stand after the last layer.

    One thread has all in one.
    """
    if threads == 1:
        return 0, size
    if i < len(layers):
        k = layers[i, col.INPUTS] + 1
        low, high = rows_of(layers[i, col.OUTPUTS], thread, threads)
        return layers[i, col.WEIGHT] + low * k, (high - low) * k
    last = layers[len(layers) - 1]
    start = last[col.WEIGHT] + last[col.OUTPUTS] * (last[col.INPUTS] + 1)
    return start, size - start if thread == 0 else 0
