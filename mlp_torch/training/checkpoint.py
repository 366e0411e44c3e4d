"""checkpoint.safetensors: all that the rest of a run depends on, in one file without pickle.

The arrays of the engine's state and the weights that are set aside; in the metadata, as one JSON text, the
numbers and a checksum over everything. A new one takes the place of the last, which stays as the previous
one. Each is on the disk before it gets its name, so that a cut at any moment leaves a whole one.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from manual.numbers import Array
from mlp_torch.artifact import CONFIG
from mlp_torch.errors import UnwritableError, UserError

FILE, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
KEY, SCHEMA = "mlp_torch_checkpoint", 1
SHARE = 20  # writing takes at most one part in so many of the time, unless a number of steps is asked for


@dataclass(frozen=True)
class Checkpoint:
    """Arrays by name, and numbers that JSON can hold."""

    arrays: dict[str, Array]
    numbers: dict[str, Any]

    def of(self, kind: str) -> dict[str, Array]:
        """The arrays under `kind/`, by the rest of their names."""
        return {n.removeprefix(f"{kind}/"): a for n, a in self.arrays.items() if n.startswith(f"{kind}/")}


class Writer:
    """Writes a run's checkpoints: each that is `due`, and the last one at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: Checkpoint | None = None
        self.cost, self.written = 0.0, time.perf_counter()

    def take(self, checkpoint: Checkpoint, *, due: bool = False) -> None:
        """A newer one: written if it is due, or if writing is cheap beside the time since the last."""
        self.waiting = checkpoint
        if due or time.perf_counter() - self.written >= SHARE * self.cost:
            self.flush()

    def flush(self) -> None:
        """Write the newest one, unless it is there already."""
        if self.waiting is None:
            return
        started = time.perf_counter()
        write(self.folder, self.waiting)
        self.waiting = None
        self.written = time.perf_counter()
        self.cost = self.written - started


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Into its place; the one before becomes the previous one. Raises UnwritableError where it cannot be."""
    text = json.dumps(checkpoint.numbers, separators=(",", ":"))
    arrays = {name: np.asarray(value, order="C") for name, value in checkpoint.arrays.items()}
    table = {"schema": SCHEMA, "sha256": _checksum(arrays, text)}
    file, part = folder / FILE, folder / f".{FILE}.part"
    try:
        save_file(arrays, part, metadata={KEY: json.dumps(table), "numbers": text})
        if (folder / CONFIG).exists():  # the library's own mode shuts out a group
            shutil.copymode(folder / CONFIG, part)
        to_disk(part)
        if file.exists():
            file.replace(folder / PREVIOUS)
        part.replace(file)
        to_disk(folder)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UnwritableError(file, error) from None


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # no folder can be opened there
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def read(file: Path) -> Checkpoint:
    """Raises UserError for one that is cut, edited, or something else."""
    try:
        with safe_open(file, "numpy") as opened:
            arrays = {n: opened.get_tensor(n) for n in opened.keys()}  # noqa: SIM118  # the file is no dict
            metadata = opened.metadata() or {}
        table, text = json.loads(metadata[KEY]), metadata["numbers"]
        schema, expected = table["schema"], table["sha256"]
        numbers: Any = json.loads(text)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file}: is no checkpoint, or it is cut off ({error})") from None
    if schema != SCHEMA:
        raise UserError(f"{file}: has schema {schema}, and this version reads {SCHEMA}")
    if _checksum(arrays, text) != expected:
        raise UserError(f"{file}: its checksum does not fit; it was damaged or edited")
    return Checkpoint(arrays, numbers)


def last(folder: Path) -> Checkpoint | None:
    """The last checkpoint of a run; None before the first.

    Raises UserError for a damaged one, that says from which one it can go on.
    """
    file, previous = folder / FILE, folder / PREVIOUS
    if not file.exists():  # it was cut between the two names
        return read(previous) if previous.exists() else None
    try:
        return read(file)
    except UserError as error:
        try:
            epoch = read(previous).numbers["position"]["epoch"]
        except (UserError, KeyError, TypeError):
            remedy = "remove it, and the run starts again from its configuration"
        else:
            remedy = f"remove it to go on from {previous}, of epoch {epoch}"
        raise UserError(f"{error}; {remedy}") from None


def _checksum(arrays: Mapping[str, Array], text: str) -> str:
    """Over names, types, shapes, contents and the numbers."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        value = np.asarray(arrays[name], order="C")
        found.update(f"{name} {value.dtype.str} {value.shape}".encode())
        found.update(value.data)
    return found.hexdigest()
