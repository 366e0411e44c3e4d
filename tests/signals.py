"""Ctrl-C in the tests, whatever started them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def answered() -> Iterator[None]:
    """Ctrl-C is answered by this process and those it starts, also where nohup or a CI ignores it.

    A process that is started ignores what its parent ignores, and answers what its parent has a handler for.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
