"""The run folder: what training leaves, readable at any moment, even after kill -9.

`config.toml` (the flags as they were resolved, versions, at the end the result), `metrics.jsonl` (one
line an epoch), `model.safetensors` (the weights and all that using them takes: `mlp_torch.artifact`),
`checkpoint.safetensors` (all that going on takes: `mlp_torch.training.checkpoint`), `lock` while a
process is at work, and an event file for TensorBoard. Files are replaced whole, never half written; a line
of metrics is added by one write, so that an epoch costs the same however many came before.
"""

import contextlib
import errno
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from manual.numbers import Array
from mlp_torch.artifact import CONFIG, FILE, Artifact, content
from mlp_torch.errors import UnwritableError, UserError
from mlp_torch.events import PLUGINS, Events, cut
from mlp_torch.events import files as event_files
from mlp_torch.files import append, replace
from mlp_torch.lock import Lock

METRICS = "metrics.jsonl"


def check_name(runs_dir: Path, name: str | None) -> None:
    """Raise UserError if a run of that name is there already, or if the runs' folder is a file."""
    if runs_dir.exists() and not runs_dir.is_dir():
        raise UserError(f"--runs-dir {runs_dir}: no run can be kept there, it is no folder")
    if runs_dir.is_symlink() and not runs_dir.exists():
        raise UserError(f"--runs-dir {runs_dir}: is a link to {runs_dir.readlink()}, which is not there")
    if name is not None and os.path.lexists(runs_dir / name):
        raise UserError(
            f"--name {name}: {runs_dir / name} exists and is left as it is; "
            "choose another name, or remove the folder"
        )


def make_folder(runs_dir: Path, name: str | None, stem: str, config: Mapping[str, Any]) -> tuple[Path, Lock]:
    """A new folder for a run, with its configuration in it, and this process's lock on it.

    Its name is `name`, or `stem` and the time. It gets its name last: no folder is ever without a
    configuration. Raises UserError if it cannot be.
    """
    wanted = name or f"{stem}-{datetime.now():%Y-%m-%d-%H-%M-%S}"
    fresh = runs_dir / f".{wanted}.{os.getpid()}"
    lock: Lock | None = None
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)  # of a process of the same number, which was killed
        fresh.mkdir()
        replace(fresh / CONFIG, tomli_w.dumps(plain(config) | versions()).encode())
        lock = Lock(fresh)
        for attempt in range(1, 1000):
            path = runs_dir / (wanted if attempt == 1 else f"{wanted}-{attempt}")
            check_name(runs_dir, name)
            if not os.path.lexists(path):
                with contextlib.suppress(FileExistsError, NotADirectoryError):
                    _rename(fresh, path)
                    lock.moved(path)
                    return path, lock
    except OSError as error:
        flag = f"--name {name}" if name else f"--runs-dir {runs_dir}"
        what = f"{flag}: no run can be kept in {{path}} ({{why}})"
        raise UnwritableError(runs_dir / wanted, error, what) from None
    finally:
        if lock is None or lock.path.parent == fresh:
            if lock is not None:
                lock.release()
            shutil.rmtree(fresh, ignore_errors=True)
    raise UserError(f"--runs-dir {runs_dir}: too many runs are called {wanted}; give this one a --name")


def _rename(fresh: Path, path: Path) -> None:
    """Raises FileExistsError if something is there already."""
    try:
        fresh.rename(path)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError from None
        raise


def versions() -> dict[str, Any]:
    """Of what the bits depend on, for the configuration."""
    found = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    return {"versions": {n: str(v) for n, v in found.items()}}


class Run:
    """One run folder, being filled."""

    def __init__(
        self, path: Path, config: Mapping[str, Any], artifact: Artifact, sizes: Mapping[str, int]
    ) -> None:
        """Of the metrics and events there only `sizes` bytes are kept, by file."""
        self.path, self.metadata = path, artifact.metadata()
        self.config = {**plain(config), **versions()}
        self._write(CONFIG, lambda: tomli_w.dumps(self.config).encode())
        try:
            if (path / PLUGINS).is_dir():  # of an end that was, and is cut away
                shutil.rmtree(path / PLUGINS)
            (path / METRICS).touch()
            if (path / METRICS).stat().st_size > sizes.get(METRICS, 0):
                os.truncate(path / METRICS, sizes.get(METRICS, 0))
            cut(path, sizes)
            self.events = Events(path)
        except OSError as error:
            raise UnwritableError(path, error) from None

    def sizes(self) -> dict[str, int]:
        """The bytes of the metrics and the events so far, by file."""
        files = [self.path / METRICS, *event_files(self.path)]
        try:
            return {file.name: file.stat().st_size for file in files}
        except OSError as error:
            raise UnwritableError(self.path, error) from None

    def save(self, parameters: Mapping[str, Array], epoch: int) -> None:
        """Put these weights, of the end of that epoch, into the place of the last ones."""
        self._write(FILE, lambda: self._weights(parameters, epoch))

    def rescue(self, parameters: Mapping[str, Array], epoch: int) -> Path | None:
        """Keep these weights where there is room: here, or in the system's folder for temporary files."""
        elsewhere = Path(tempfile.gettempdir()) / f"{self.path.name}-{os.getpid()}"
        for folder in (self.path, elsewhere):
            with contextlib.suppress(OSError):
                if folder is elsewhere:
                    folder.mkdir(exist_ok=True)
                replace(folder / FILE, self._weights(parameters, epoch))
                return folder / FILE
        return None

    def _weights(self, parameters: Mapping[str, Array], epoch: int) -> bytes:
        return content(parameters, {"epoch": str(epoch), **self.metadata})

    def log(self, metrics: Mapping[str, float | None]) -> None:
        """One epoch: a line of metrics.jsonl (NaN and Inf as null)."""
        finite = {n: v if v is None or math.isfinite(v) else None for n, v in metrics.items()}
        self._add(METRICS, (json.dumps(finite) + "\n").encode())

    def add(self, values: Iterable[Any], step: int = 0) -> None:
        """Values as TensorBoard has them, in one record."""
        try:
            self.events.add(values, step)
        except OSError as error:
            raise UnwritableError(self.events.path, error) from None

    def put(self, name: str, content: bytes) -> None:
        """A file in the place of an earlier one; the name may have folders in it."""
        try:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableError(self.path / name, error) from None
        self._write(name, lambda: content)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Add the result to the configuration: a run without one was cut off."""
        self.config["result"] = plain(result)
        self._write(CONFIG, lambda: tomli_w.dumps(self.config).encode())

    def close(self) -> None:
        """Close the event file."""
        self.events.close()

    def _add(self, name: str, line: bytes) -> None:
        """A line by one write; what the disk took of it half is taken away again."""
        try:
            with (self.path / name).open("ab", buffering=0) as file:
                append(file, line)
        except OSError as error:
            raise UnwritableError(self.path / name, error) from None

    def _write(self, name: str, made: Callable[[], bytes]) -> None:
        try:
            replace(self.path / name, made())
        except OSError as error:
            raise UnwritableError(self.path / name, error) from None


def plain(table: Mapping[str, Any]) -> dict[str, Any]:
    """What TOML can hold: no None, paths as text, tuples as lists."""
    kinds: dict[type, Callable[[Any], Any]] = {tuple: list}
    return {
        name: str(value) if isinstance(value, Path) else kinds.get(type(value), lambda v: v)(value)
        for name, value in table.items()
        if value is not None
    }
