"""What the author's process may use; where the system knows no such limit, the parent's clock remains."""

import contextlib
import os
import re
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # and then nothing below asks for it


def bound(memory: float, seconds: float) -> None:
    """At most `memory` GB more than are taken now, so many seconds on every core, and no core dump."""
    if resource is None:
        return
    cores = os.cpu_count() or 1
    limits = {
        "RLIMIT_DATA": int(_taken() + memory * 1e9),
        "RLIMIT_CPU": int(seconds * cores) + 60,  # for what outlives a parent that was killed
        "RLIMIT_CORE": 0,
    }
    for name, most in limits.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):  # a lower limit stands, or none exists
            resource.setrlimit(getattr(resource, name), (most, most))


def _taken() -> int:
    """Bytes that the process has asked for until now, where Linux tells."""
    try:
        found = re.search(r"^VmData:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0
