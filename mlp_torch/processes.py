"""Which process is at work on something, and whether it still lives: by host, process id, time of birth."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def owner() -> dict[str, Any]:
    """This process, so that another one can tell whether it is alive; plain JSON."""
    return {"host": _host(), "pid": os.getpid(), "born": _born(os.getpid())}


def _host() -> str:
    try:
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _born(pid: int) -> str | None:
    """When a process began, in the system's ticks; None where that cannot be read, or it is a zombie."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state == "Z" else rest[18]
    except (OSError, IndexError):
        return None


def lives(who: Mapping[str, Any]) -> bool | None:
    """Whether the process that `owner` told of lives; None where it ran on another host."""
    if who["host"] != _host():
        return None
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return bool(who["born"] == _born(who["pid"]))
