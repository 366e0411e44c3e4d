"""Ctrl-C, SIGTERM and SIGHUP where they do no harm: what writes files and holds locks is finished first.

Python raises KeyboardInterrupt between any two lines, between taking a lock and noting that it is taken,
say, and whoever needs that lock next waits for ever. So whatever writes runs `held`; what only computes,
an epoch, is `released` in it.
"""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(KeyboardInterrupt):
    """Another signal that asks a program to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def number_of(end: KeyboardInterrupt) -> int:
    """The signal that ended something."""
    return int(getattr(end, "number", signal.SIGINT))


def code_of(end: KeyboardInterrupt) -> int:
    """The exit code for it, as shells have it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + number_of(end)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _answers() -> dict[int, tuple[Any, Any]]:
    """Each such signal: (what answers it as long as nobody has set anything, what raises it at once)."""
    found: dict[int, tuple[Any, Any]] = {
        signal.SIGINT: (signal.default_int_handler, signal.default_int_handler)
    }
    others = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return found | dict.fromkeys(others, (signal.SIG_DFL, _stop))


class _Noted:
    """Remembers the first signal; a second one before it was acted on is raised at once."""

    def __init__(self) -> None:
        self.came = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            _raise(number)
        self.came = number

    def act(self) -> None:
        """Raise KeyboardInterrupt if a signal came."""
        came, self.came = self.came, 0
        if came:
            _raise(came)


def _raise(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)


def _handlers() -> dict[int, Any]:
    """What answers them; nothing in a thread, which they never reach and which may not set it."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in _answers()}


@contextmanager
def held() -> Iterator[None]:
    """They wait for the next `released` block, or for the end of this one; a second one does not wait.

    In a `released` block they wait again; nothing changes in a `held` block within, nor where a program has
    its own answer to a signal.
    """
    answers, noted = _answers(), _Noted()
    mine = {number: handler for number, handler in _handlers().items() if handler in answers[number]}
    for number in mine:
        signal.signal(number, noted)
    try:
        yield
    finally:
        for number, handler in mine.items():
            signal.signal(number, handler)
    noted.act()


@contextmanager
def released() -> Iterator[None]:
    """In a `held` block: here they are raised at once, also one that came before."""
    answers = _answers()
    noted = {number: h for number, h in _handlers().items() if isinstance(h, _Noted)}
    for handler in noted.values():
        handler.act()
    for number in noted:
        signal.signal(number, answers[number][1])
    try:
        yield
    finally:
        for number, handler in noted.items():
            signal.signal(number, handler)


def released_each(items: Iterable[T]) -> Iterator[T]:
    """The items: they are raised while one is made, and wait while it is used."""
    iterator = iter(items)
    while True:
        with released():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
