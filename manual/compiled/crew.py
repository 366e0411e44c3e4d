"""Several threads on one batch: each takes its share of the samples, then its part of the update.

They meet twice a step: when all gradients are there, and when all parameters are new. Who waits looks
again and again, and soon lets other threads of the machine run in between.
"""

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from manual.compiled.memory import at, loops, pointer
from manual.numbers import Array

ir = cgutils.ir
# Words and shares of two threads do not share a cache line; so many looks before a thread lets others run;
# so many parameters are updated at once, five arrays of which stay in the cache.
APART, LOOKS, PIECE = 8, 300, 2**12
NOBODY_WAITS = np.iinfo(np.int64).max  # the meeting at which a member is who will not come any more


def _rest_address() -> int:
    """Where the system's call is that lets other threads run."""
    library = ctypes.CDLL("kernel32" if sys.platform == "win32" else None)
    call = library.SwitchToThread if sys.platform == "win32" else library.sched_yield
    return ctypes.cast(call, ctypes.c_void_p).value or 0


REST = _rest_address()


def together(work: Callable[[int], int], crew: int, met: Array) -> int:
    """work(0) in this thread and work(1) … work(crew − 1) in others, which meet by `met`; what work(0) gave.

    Raises what a member raised. No thread is at work when this ends, however it does.
    """
    met[:] = 0
    errors: list[BaseException] = []

    def other(member: int) -> None:
        if met[0] == NOBODY_WAITS:  # begun so late that the crew has gone: its arrays are in use
            return
        try:
            work(member)
        except BaseException as error:
            errors.append(error)
            met[:] = NOBODY_WAITS

    threads = [threading.Thread(target=other, args=(member,), daemon=True) for member in range(1, crew)]
    try:
        for thread in threads:
            thread.start()
        done = work(0)
    finally:
        met[:] = NOBODY_WAITS  # for this thread, if an error or Ctrl-C kept it from coming
        for thread in threads:
            while thread.is_alive():
                try:
                    thread.join()
                except KeyboardInterrupt as error:  # what they write in is not free before they end
                    errors.append(error)
    for raised in errors:
        raise raised
    return done


@intrinsic
def tell(typing: Any, place: Any, value: Any) -> Any:
    """Write an int64 after everything that was written before it, as other threads see it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, value = arguments
        builder.store_atomic(value, place, "release", 8)
        return context.get_dummy_value()

    return types.void(place, types.int64), generate


@intrinsic
def hear(typing: Any, place: Any) -> Any:
    """Read an int64, before anything that is read after it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(arguments[0], "acquire", 8)

    return types.int64(place), generate


@intrinsic
def rest(typing: Any, address: Any) -> Any:
    """Let other threads run."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@loops
def meet(met: Any, number: int, member: int, crew: int, rest_at: int) -> None:
    """Wait until the whole crew has come to the meeting of that number."""
    tell(pointer(met, member * APART), number)
    for other in range(crew):
        looks = 0
        while hear(pointer(met, other * APART)) < number:
            looks += 1
            if looks > LOOKS:
                rest(rest_at)


@loops
def part(size: int, member: int, crew: int) -> tuple[int, int]:
    """The member's part of so many numbers, in whole cache lines: where it begins and ends."""
    lines = (size + 15) // 16
    return min(size, lines * member // crew * 16), min(size, lines * (member + 1) // crew * 16)


@loops
def add_up(g: Any, room: int, crew: int, start: int, count: int) -> None:
    """The crew's gradients, added to the first member's, in a piece."""
    total = at(g, start, count)
    for other in range(1, crew):
        theirs = at(g, other * room + start, count)
        for i in range(count):
            total[i] += theirs[i]
