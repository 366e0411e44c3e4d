"""Ctrl-C where it does no harm: what writes files and holds locks is finished first.

Python raises KeyboardInterrupt between any two lines, between taking a lock and noting that it is taken,
say, and whoever needs that lock next waits for ever. So whatever writes runs `held`; what only computes,
an epoch, is `released` in it.
"""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class _Noted:
    """Remembers the first Ctrl-C; a second one before it was acted on is raised at once."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            signal.default_int_handler(number, frame)
        self.came = True

    def act(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C came."""
        if self.came:
            self.came = False
            raise KeyboardInterrupt


def _handler() -> object:
    """What answers Ctrl-C; None in a thread, which it never reaches and which may not set it."""
    return signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None


@contextmanager
def held() -> Iterator[None]:
    """Ctrl-C waits for the next `released` block, or for the end of this one; a second one does not wait.

    Nothing changes in a `held` block within, nor for a program with its own answer to Ctrl-C.
    """
    if _handler() is not signal.default_int_handler:
        yield
        return
    noted = _Noted()
    signal.signal(signal.SIGINT, noted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    noted.act()


@contextmanager
def released() -> Iterator[None]:
    """In a `held` block: here Ctrl-C is raised at once, also one that came before."""
    noted = _handler()
    if not isinstance(noted, _Noted):
        yield
        return
    noted.act()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, noted)


def released_each(items: Iterable[T]) -> Iterator[T]:
    """The items: Ctrl-C is raised while one is made, and waits while it is used."""
    iterator = iter(items)
    while True:
        with released():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
