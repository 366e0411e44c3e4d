"""Results below the smallest normal number become 0 while a run is at work, where the processor can do it.

A moment that decays, m ← β m, stays for ever at a few of the least numbers there are, because β m rounds
back to m, and many processors take a hundred times as long for such a number as for others: half of a run
with Adam. In flush-to-zero mode a result that would be subnormal is 0. The mode belongs to a thread; a
thread that is begun in it has it too, and one that is at work already has not.

Numbers that come in are read as they are (on Arm they are 0 too): nothing is lost but results. Of the rows
of `PLACES` that of Linux on x86-64 has been run; where none fits, a run takes the time that it takes.
Sources: Intel 64 and IA-32 manual, volume 1, 10.2.3.3 (MXCSR.FTZ); Arm Architecture Reference Manual,
FPCR.FZ; `fenv_t` in the C libraries' headers.
"""

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

WORDS = 16  # 32-bit words that hold any system's fenv_t


class Place(NamedTuple):
    """Which word of `fenv_t` holds the mode, and its bit."""

    word: int
    bit: int


# One row a system and processor whose `fenv_t` is known.
PLACES = {
    ("linux", "x86_64"): Place(7, 1 << 15),
    ("darwin", "x86_64"): Place(1, 1 << 15),
    ("linux", "aarch64"): Place(0, 1 << 24),
    ("darwin", "arm64"): Place(2, 1 << 24),
}


def _library() -> Any:
    """The C library's functions of the floating-point environment, or None where there are none."""
    try:
        library = ctypes.CDLL("libm.so.6" if sys.platform == "linux" else None)
        return library if library.fegetenv and library.fesetenv else None
    except (OSError, AttributeError, TypeError):  # another C library; TypeError is Windows'
        return None


PLACE = PLACES.get((sys.platform, platform.machine()))
LIBRARY: Any = _library() if PLACE else None


def environment() -> Any:
    """The floating-point environment of this thread, as the C library keeps it."""
    found = (ctypes.c_uint32 * WORDS)()
    LIBRARY.fegetenv(found)
    return found


def flushes() -> bool:
    """Whether this thread flushes at the moment."""
    return PLACE is not None and LIBRARY is not None and bool(environment()[PLACE.word] & PLACE.bit)


@contextmanager
def flushing(spread: Callable[[Any], None] = lambda environment: None) -> Iterator[None]:
    """In the block this thread, and every thread that it begins, flushes; afterwards as before.

    `spread` is given the environment for the threads of a pool that are at work already: the block's when
    it begins, the one before when it ends. Does nothing where the mode cannot be set.
    """
    if PLACE is None or LIBRARY is None:
        yield
        return
    before, inside = environment(), environment()
    inside[PLACE.word] |= PLACE.bit
    try:
        LIBRARY.fesetenv(inside)
        spread(inside)
        yield
    finally:
        LIBRARY.fesetenv(before)
        spread(before)
