"""Long texts go through a pager where there is a terminal: `less`, or what `PAGER` names.

What a command prints is held until it is taller than the screen; then the pager takes it, and what comes
later as it comes, so that the lecture's first step can be read while the second one is measured.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class PagerFlag:
    """The flag of every command whose text may be longer than a screen."""

    no_pager: bool = False
    """Print long texts as they are; without it a terminal gets a pager (PAGER, else less)."""


def command() -> list[str]:
    """The pager's words: `PAGER`'s, else `less`; none where PAGER is empty or cat, or not installed."""
    try:
        words = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:  # a quote without its other
        words = []
    known = bool(words) and words[0] != "cat" and shutil.which(words[0]) is not None
    return words if known and os.environ.get("TERM", "dumb") != "dumb" else []


class Paged(io.TextIOBase):
    """stdout, behind a pager from the line on that no longer fits on the screen."""

    def __init__(self, out: TextIO, words: list[str]) -> None:
        self.out, self.words = out, words
        self.width, self.height = shutil.get_terminal_size()
        self.held: list[str] = []
        self.rows = 0
        self.pager: subprocess.Popen[str] | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # what rich asks before it writes a sign
        return self.out.encoding

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Hold it, or hand it to the pager. Raises BrokenPipeError once the reader has left the pager."""
        if self.pager is None:
            self.held.append(text)
            lines = ESCAPES.sub("", text).split("\n")
            self.rows += len(lines) - 1 + sum((cell_len(line) - 1) // self.width for line in lines if line)
            if self.rows >= self.height:
                self._start()
        else:
            assert self.pager.stdin is not None
            self.pager.stdin.write(text)
        return len(text)

    def flush(self) -> None:
        if self.pager is not None and self.pager.stdin is not None and not self.pager.stdin.closed:
            self.pager.stdin.flush()

    def _start(self) -> None:
        less = {"LESS": f"-R {os.environ.get('LESS', '')}".strip()}  # colours are kept
        self.pager = subprocess.Popen(
            self.words,
            stdin=subprocess.PIPE,
            text=True,
            encoding=self.out.encoding,
            errors=self.out.errors,
            env=os.environ | less,
        )
        assert self.pager.stdin is not None
        self.pager.stdin.write("".join(self.held))
        self.held = []

    def end(self) -> None:
        """All is there: print what fitted on the screen, or wait until the reader leaves the pager."""
        if self.pager is None:
            self.out.write("".join(self.held))
            return
        assert self.pager.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.pager.stdin.close()
        while self.pager.returncode is None:
            with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the pager's, which stays
                self.pager.wait()


@contextlib.contextmanager
def paged(flags: PagerFlag) -> Iterator[None]:
    """What is printed inside to stdout goes through a pager, where stdout and stdin are a terminal.

    A reader who leaves the pager ends what is inside, quietly.
    """
    out = sys.stdout
    words = [] if flags.no_pager or not (out.isatty() and sys.stdin and sys.stdin.isatty()) else command()
    if not words:
        yield
        return
    file = Paged(out, words)
    try:
        with contextlib.redirect_stdout(file):
            yield
    except BrokenPipeError:
        if file.pager is None:
            raise
    finally:
        file.end()
