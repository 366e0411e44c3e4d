"""What can be compiled, and having it at hand: from this process, from disk, or compiled after a word."""

import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import types
from numba.core import event

from manual.activations import Activation
from manual.catalogue import ACTIVATIONS, LOSSES
from manual.compiled.epoch import ENTRY, entry
from manual.compiled.linked import linked
from manual.losses import Loss
from manual.recorded.compiled import missing
from manual.structure.architecture import Architecture

DTYPES = ("float32", "float64")
AT_HAND: set[str] = set()  # of these, what this process has loaded or compiled


@cache
def compiled_run() -> Callable[..., int]:
    """The one compiled function, named on disk by the text of all rooms that it is made of."""
    rooms = sorted(Path(__file__).parent.glob("*.py"))
    return entry(hashlib.sha256(b"".join(room.read_bytes() for room in rooms)).hexdigest())


class _Waiting(event.Listener):
    """Calls back when `run` is about to be compiled, and not when it is found on disk."""

    def __init__(self, waiting: Callable[[], None]) -> None:
        self.waiting = waiting

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] is compiled_run():
            self.waiting()

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage: the compiler makes hundreds of thousands of objects, and most of them stay."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def prepare(dtype: Any, waiting: Callable[[], None] = lambda: None) -> None:
    """Have the compiled code of a dtype at hand.

    `waiting` is called before it is compiled, which takes many seconds once on a machine.
    """
    if np.dtype(dtype).name in AT_HAND:
        return
    kinds = {"i": types.int64, "f": types.float64, "T": getattr(types, np.dtype(dtype).name)}
    signature = tuple(types.Array(kinds[kind], rank, "C") for kind, rank in ENTRY)
    with event.install_listener("numba:compile", _Waiting(waiting)), linked(), _uncollected():
        compiled_run().compile(signature)  # type: ignore[attr-defined]  # numba's dispatcher has it
    AT_HAND.add(np.dtype(dtype).name)


def unsupported(architecture: Architecture, dtype: Any = np.float64, loss: str | None = None) -> str | None:
    """Why the compiled engine cannot train such a network, and by that loss, or None where it can."""
    if architecture.normalization != "none":
        return f"the compiled engine has no {architecture.normalization}"
    rows: list[Activation | Loss] = [
        ACTIVATIONS[name] for name in {architecture.activation, architecture.output_activation}
    ]
    for row in [*rows, *([LOSSES[loss]] if loss is not None and loss in LOSSES else [])]:
        if reason := missing(row):
            return reason
    if np.dtype(dtype).name not in DTYPES:
        return f"the compiled engine takes float32 and float64, not {np.dtype(dtype)}"
    return None
