"""A table in chunks, each column as small as it can be; beyond a limit the chunks lie on disk.

A CSV of 1 GB of short whole numbers would take 4 GB as int64: every chunk is shrunk as it comes, text into
categories, and what does not fit is kept in files of a temporary folder, which goes with the table.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from mlp_torch.errors import UserError
from mlp_torch.tables.reader import ROWS, read_chunks

IN_MEMORY = 2**30  # bytes; beyond them chunks go to disk


def temporary_folder(owner: object) -> Path:
    """A folder that goes with its owner, or with the program."""
    path = tempfile.mkdtemp(prefix="mlp-torch-")
    weakref.finalize(owner, shutil.rmtree, path, ignore_errors=True)
    return Path(path)


class Table:
    """Rows of named columns; `where` is what messages call it, a file's path say."""

    def __init__(self, where: str, in_memory: int = IN_MEMORY) -> None:
        self.where, self.in_memory = where, in_memory
        self.names: tuple[str, ...] = ()
        self.size = self.rows = 0
        self._chunks: list[pl.DataFrame | Path] = []
        self._folder: Path | None = None

    def __len__(self) -> int:
        return self.rows

    @classmethod
    def of(cls, frame: pl.DataFrame, where: str) -> "Table":
        """A table of one chunk."""
        table = cls(where)
        table.add(frame)
        return table

    def add(self, chunk: pl.DataFrame) -> None:
        """More rows, of the same columns."""
        if self.names and tuple(chunk.columns) != self.names:
            raise UserError(f"{self.where}: its parts have different columns")
        self.names = tuple(chunk.columns)
        if not len(chunk):
            return
        small = [c.shrink_dtype() if c.dtype.is_integer() else c for c in chunk]
        chunk = pl.DataFrame(small).with_columns(pl.col(pl.String).cast(pl.Categorical)).rechunk()
        self.rows += len(chunk)
        self.size += int(chunk.estimated_size())
        if self.size <= self.in_memory:
            self._chunks.append(chunk)
            return
        if self._folder is None:
            self._folder = temporary_folder(self)
        path = self._folder / f"{len(self._chunks)}.arrow"
        try:
            chunk.write_ipc(path)
        except OSError as error:
            raise UserError(
                f"{self.where}: does not fit into memory, and {path.parent} is full ({error})"
            ) from None
        self._chunks.append(path)

    def chunks(self) -> Iterator[pl.DataFrame]:
        """The parts, in order."""
        for chunk in self._chunks:
            yield chunk if isinstance(chunk, pl.DataFrame) else pl.read_ipc(chunk)

    def column(self, name: str) -> pl.Series:
        """One whole column, in the type that holds all of it; categories as text."""
        parts = [
            c[name] if isinstance(c, pl.DataFrame) else pl.read_ipc(c, columns=[name])[name]
            for c in self._chunks
        ]
        if any(isinstance(p.dtype, pl.Categorical) for p in parts):
            parts = [p.cast(pl.String) for p in parts]
        return pl.concat([p.to_frame() for p in parts], how="vertical_relaxed")[name]


def read_table(path: Path, in_memory: int = IN_MEMORY, rows: int = ROWS) -> Table:
    """The whole file, so many rows at a time. Raises UserError, one line, for what cannot be read."""
    table = Table(str(path), in_memory)
    for chunk in read_chunks(path, rows):
        table.add(chunk)
    if not len(table):
        raise UserError(f"{path}: has no rows")
    return table
