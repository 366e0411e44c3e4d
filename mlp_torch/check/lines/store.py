"""Arrays kept as they were: in memory up to a limit, and beyond it in a temporary file that has no name."""

import mmap
import tempfile
from typing import Any

import numpy as np

from manual.numbers import Array

LIMIT = 2**30  # bytes in memory
CHUNK = 2**24  # bytes by which the file grows


class Store:
    """Copies of arrays. The file, if there is one, goes with the last array that lies in it."""

    def __init__(self) -> None:
        self.held = 0
        self.spilled = 0
        self._chunk: mmap.mmap | None = None
        self._free = 0

    def keep(self, value: Any) -> Array:
        array = np.asarray(value)
        if self.held + array.nbytes <= LIMIT:
            self.held += array.nbytes
            return np.array(array)
        copy = self._place(array)
        copy[...] = array
        return copy

    def _place(self, array: Array) -> Array:
        """Room for an array in the file."""
        size = -(-array.nbytes // 16) * 16
        if self._chunk is None or self._free + size > len(self._chunk):
            with tempfile.TemporaryFile() as file:
                length = max(CHUNK, size)
                file.truncate(length)
                self._chunk, self._free = mmap.mmap(file.fileno(), length), 0
        start = self._free
        self._free += size
        self.spilled += size
        return np.frombuffer(self._chunk, array.dtype, array.size, start).reshape(array.shape)
