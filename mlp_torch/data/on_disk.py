"""Inputs that do not fit into memory: a file of rows, read and shuffled piece by piece."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.errors import UserError
from mlp_torch.tables.table import temporary_folder

IN_MEMORY = 2**30  # bytes of inputs; beyond them they lie on disk
PIECE = 2**26  # bytes that are read at once


class OnDisk:
    """A matrix (N, in) in a temporary file that goes with it; answers what the loop and `predict` ask.

    Rows are appended in order, then read: `rows(a, b)`. Nothing is mapped: memory is what a piece takes.
    """

    ndim = 2

    def __init__(self, width: int, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.shape = (0, width)
        self.path = temporary_folder(self) / "rows"

    def __len__(self) -> int:
        return self.shape[0]

    def append(self, rows: Array) -> None:
        """More rows at the end. Raises UserError where the disk is full."""
        try:
            with self.path.open("ab") as file:
                np.ascontiguousarray(rows, self.dtype).tofile(file)
        except OSError as error:
            raise UserError(
                f"the inputs do not fit into memory, and {self.path.parent} is full ({error}); "
                "set TMPDIR to a folder with more room"
            ) from None
        self.shape = (len(self) + len(rows), self.shape[1])

    def rows(self, start: int, stop: int) -> Array:
        """The rows start … stop−1, as an array in memory."""
        stop = min(stop, len(self))
        width = self.shape[1]
        count, offset = (stop - start) * width, start * width * self.dtype.itemsize
        found = np.fromfile(self.path, self.dtype, count=count, offset=offset)
        return found.reshape(stop - start, width)

    def __getitem__(self, index: Array) -> Array:
        """The rows of these numbers, few of them, in this order."""
        return np.concatenate([self.rows(int(i), int(i) + 1) for i in index])

    def slices(self, batch_size: int = 1) -> Iterator[slice]:
        """All rows in order, a piece at a time."""
        return pieces(len(self), self.shape[1], self.dtype, batch_size)


def pieces(n: int, width: int, dtype: Any, batch_size: int = 1) -> Iterator[slice]:
    """n rows in order, in pieces that are read at once: whole batches, about 64 MB."""
    size = max(1, PIECE // (width * np.dtype(dtype).itemsize) // batch_size) * batch_size
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
