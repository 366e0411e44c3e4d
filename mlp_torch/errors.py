"""The kinds of error that a person at the command line is meant to read."""

import re
from pathlib import Path
from typing import Self


class UserError(ValueError):
    """Something the user can put right: one line that says what was wrong, where, and what to do."""


class UnwritableError(UserError):
    """A file cannot be written: the disk is full, the folder gone or read-only."""

    def __init__(self, path: Path, error: Exception, what: str = "{path} cannot be written ({why})") -> None:
        why = re.sub(r".*I/O error: | \(os error \d+\)", "", str(getattr(error, "strerror", None) or error))
        super().__init__(what.replace("{path}", str(path)).replace("{why}", why))

    def saying(self, more: str) -> Self:
        """With what became of the rest."""
        self.args = (f"{self}; {more}",)
        return self


class InternalError(RuntimeError):
    """A fault of the program in another process, with the traceback that was kept there."""

    def __init__(self, what: str, trace: str) -> None:
        super().__init__(what)
        self.trace = trace
