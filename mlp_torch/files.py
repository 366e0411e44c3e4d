"""Files that are never half written: replaced whole, or added to by one write."""

import contextlib
import errno
import os
from pathlib import Path
from typing import IO


def replace(path: Path, content: bytes) -> None:
    """Write a file whole: beside it first, then into its place. Raises OSError, and leaves nothing half."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def append(file: IO[bytes], content: bytes) -> None:
    """Add to an unbuffered file by one write; what a full disk took of it half is taken away again."""
    size = file.seek(0, os.SEEK_END)
    try:
        if file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        file.truncate(size)
        raise
