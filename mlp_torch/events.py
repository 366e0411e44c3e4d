"""TensorBoard's event file: every record is in the file when the call returns, or the call says why not.

A writer with a thread of its own loses what the disk refuses, and its caller waits for it for ever. The
records are TensorBoard's own; a file that is there is added to, so that a run that goes on stays one file.
"""

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event

from mlp_torch.files import append
from mlp_torch.records import record

PLUGINS = "plugins"  # the folder beside the file that TensorBoard's Projector reads


def files(folder: Path) -> list[Path]:
    """A run's event files, the oldest first; those with a suffix, of an explanation say, are not its own."""
    return sorted(p for p in folder.glob("events.out.tfevents.*") if p.suffix[1:].isdigit())


class Events:
    """The event file of a folder, its last one or a new one. Raises OSError where it cannot be."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        found = [] if suffix else files(folder)
        name = f"events.out.tfevents.{int(time.time())}.{platform.node()}.{os.getpid()}{suffix}"
        self.path = found[-1] if found else folder / name
        self.file = self.path.open("ab", buffering=0)
        if not self.file.tell():
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, values: Iterable[Any], step: int = 0) -> None:
        """Values as TensorBoard has them (`mlp_torch.board.values`), all in one record."""
        event = Event(wall_time=time.time(), step=step)
        event.summary.value.extend(values)
        self._write(event)

    def close(self) -> None:
        self.file.close()

    def _write(self, event: Any) -> None:
        """By one write."""
        append(self.file, record(event.SerializeToString()))
