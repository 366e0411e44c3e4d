"""TensorBoard's event file: every record is in the file when the call returns, or the call says why not.

A writer with a thread of its own loses what the disk refuses, and its caller waits for it for ever. The
records are TensorBoard's own; a file that is there is added to, so that a run that goes on stays one file.
"""

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event

from mlp_torch.files import append
from mlp_torch.records import record

PLUGINS = "plugins"  # the folder beside the file that TensorBoard's Projector reads
STEM = "events.out.tfevents."


def files(folder: Path) -> list[Path]:
    """A run's event files, the oldest first; those with a suffix, of an explanation say, are not its own."""
    return sorted(p for p in folder.glob(f"{STEM}*") if p.suffix[1:].isdigit())


def cut(folder: Path, sizes: Mapping[str, int]) -> None:
    """Keep so many bytes of a run's event files, by name, and no other file of its events.

    A file that loses something takes a later name: a TensorBoard that is open goes on where it stood in a
    file that it knows, and reads a new one from its beginning, over what it has shown. A name in `sizes`
    that is gone is therefore that of the newest file that is not in it. Raises OSError where it cannot be.
    """
    found = files(folder)
    gone = [name for name in sizes if _stamp(name) and not (folder / name).exists()]
    fresh = [path for path in found if path.name not in sizes]
    known = dict(sizes) | ({fresh[-1].name: sizes[max(gone)]} if gone and fresh else {})
    for path in found:
        size = known.get(path.name, 0)
        if size and path.stat().st_size > size:
            stamp = max(int(time.time()), _stamp(path.name) + 1)
            _copy(path, size, path.with_name(_name(stamp)))
        if not size or path.stat().st_size > size:
            path.unlink()


def _copy(path: Path, size: int, to: Path) -> None:
    """The beginning of a file, whole or not at all; what is half done has no name that TensorBoard reads."""
    beside = path.with_name(".events.part")
    try:
        shutil.copyfile(path, beside)
        os.truncate(beside, size)
        beside.replace(to)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _name(stamp: int) -> str:
    return f"{STEM}{stamp}.{platform.node()}.{os.getpid()}"


def _stamp(name: str) -> int:
    """The second in an event file's name; 0 for any other name."""
    stamp = name.removeprefix(STEM).partition(".")[0]
    return int(stamp) if name.startswith(STEM) and stamp.isdigit() else 0


class Events:
    """The event file of a folder, its last one or a new one. Raises OSError where it cannot be."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        found = [] if suffix else files(folder)
        self.path = found[-1] if found else folder / f"{_name(int(time.time()))}{suffix}"
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
