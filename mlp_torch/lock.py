"""One process at a time: in a run's folder a second one is told who is at work, at a file it waits its turn.

The lock is the system's on an open file, which ends with its process however that ends; the file says
whose it is. Where a file system has no such locks the process that is named decides, if it lives.
"""

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from mlp_torch.errors import UserError
from mlp_torch.processes import lives, owner

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # asked for before it is used

FILE = "lock"


class Lock:
    """Held from its making to `release`, or to the end of the process. Raises UserError if it is taken."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.file = self._open()
        with contextlib.suppress(OSError):  # a full disk: who it is can then not be said
            os.ftruncate(self.file, 0)
            os.write(self.file, json.dumps(owner()).encode())

    def _open(self) -> int:
        """The open file, locked, and still the one of that name."""
        while True:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise UserError(f"{self.path.parent}: nothing can be written there ({error})") from None
            taken = _taken(file)
            who = self._who()
            if taken is None and who:
                taken = lives(who) is not False
            if taken:
                os.close(file)
                raise UserError(self._refusal(who))
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(file), self.path.stat()):
                    return file
            os.close(file)  # it was removed in between, by the one who had it

    def _who(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text())
            return found if {"host", "pid", "born"} <= set(found) else {}
        except (OSError, ValueError, TypeError):
            return {}

    def _refusal(self, who: dict[str, Any]) -> str:
        by = f"process {who['pid']} on {str(who['host']).split()[0]}" if who else "another process"
        remedy = f"; if that is no longer alive, remove {self.path}" if not who or lives(who) is None else ""
        return f"{self.path.parent}: {by} is at work on this run; wait for it, or stop it{remedy}"

    def moved(self, folder: Path) -> None:
        """The folder has another name now."""
        self.path = folder / FILE

    def release(self) -> None:
        """Let go of it. Again, it does nothing."""
        if self.file >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self.file)
            self.file = -1


class Turns:
    """One process, and one of its threads, at a time at this file: who asks for it waits.

    A process that ends lets go of it, however it ends; so no lock is ever left that others have to break.
    Raises OSError where there are no such locks.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.thread, self.file = path, threading.Lock(), -1
        self.acquire()
        self.release()

    def acquire(self) -> bool:
        """True, once it is this thread's turn."""
        if fcntl is None:
            raise OSError("this system has no locks of files")
        self.thread.acquire()
        try:
            self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(self.file, fcntl.LOCK_EX)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Let the next one have it."""
        file, self.file = self.file, -1
        if file >= 0:
            fcntl.flock(file, fcntl.LOCK_UN)  # also where a process that was forked meanwhile has it open
            os.close(file)
        self.thread.release()


def _taken(file: int) -> bool | None:
    """Whether another process has this open file's lock; None where the system cannot tell."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
