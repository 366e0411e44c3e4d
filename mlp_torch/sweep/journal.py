"""A study's journal: a line an operation, none of them ever half.

A full disk, or a kill in the middle of a line, would leave a half line; the next one, written behind it,
could not be read, nor anything after it. So a line is added whole or not at all, and a half one that is
found is dropped, which is said.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._file import get_lock_file

from mlp_torch.errors import UnwritableError
from mlp_torch.files import append, replace
from mlp_torch.lock import Turns

START = b'{"op_code"'  # of every line that Optuna writes


class Journal(JournalFileBackend):
    """Optuna's, whose lines are whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            super().__init__(str(path), _lock(path))
            with get_lock_file(self._lock):
                self._mend()
        except OSError as error:
            raise UnwritableError(path, error) from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add operations. Raises UnwritableError where the disk is full."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with get_lock_file(self._lock):
                self._drop_half_line()
                with self.path.open("ab", buffering=0) as file:
                    append(file, text.encode())
                    os.fsync(file.fileno())
        except OSError as error:
            raise UnwritableError(self.path, error) from None

    def _drop_half_line(self) -> None:
        """At the end, where a process was killed."""
        with self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                whole = file.read().rfind(b"\n") + 1
                file.truncate(whole)
                self._say(size - whole)

    def _mend(self) -> None:
        """Whole lines alone, also where one was written behind a half one."""
        self._drop_half_line()
        lines = self.path.read_bytes().splitlines(keepends=True)
        mended = [line if _whole(line) else _behind(line) for line in lines]
        if mended != lines:
            replace(self.path, b"".join(mended))
            self._say(sum(map(len, lines)) - sum(map(len, mended)))

    def _say(self, size: int) -> None:
        print(
            f"mlp sweep: {self.path}: {size} bytes of a line that was cut off are dropped",
            file=sys.stderr,
        )


def _lock(path: Path) -> Any:
    """The system's, which a killed process does not leave; where there is none, Optuna's, which it may.

    Optuna's is a file: it is broken by whoever has waited 30 seconds for it, and two may do so at once.
    """
    try:
        return Turns(path.with_name(f"{path.name}.flock"))
    except OSError:
        return JournalFileOpenLock(str(path)) if os.name == "nt" else None


def _whole(line: bytes) -> bool:
    try:
        return "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


def _behind(line: bytes) -> bytes:
    """The whole line behind a half one, or nothing."""
    rest = line[line.rfind(START) :] if START in line else b""
    return rest if _whole(rest) else b""
