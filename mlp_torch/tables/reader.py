"""Files → frames, chunk by chunk: CSV and TSV (gzipped too), Parquet, NPZ. Nothing is unpickled.

polars reads (measured in tests/benchmarks/bench_tables.py: faster than pandas and pyarrow, in batches, in
less memory).
"""

import csv
import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlp_torch.archives import KINDS, arrays_of
from mlp_torch.errors import UserError
from mlp_torch.streams import silent
from mlp_torch.tables.delimited import SUFFIXES, first_line, form, read_csv

ROWS = 2**17  # of a chunk
LARGEST = 2**32  # bytes of an archive's arrays
# What the readers raise for a file that is not what its name says.
DAMAGED = (
    pl.exceptions.PolarsError, OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, csv.Error,
)  # fmt: skip


def read_chunks(
    path: Path, rows: int = ROWS, blank: Callable[[int], object] = lambda lines: None
) -> Iterator[pl.DataFrame]:
    """The file's rows in order, `rows` at a time; `blank` is told how many lines of text hold nothing.

    Raises UserError, one line with file and row, for what cannot be read.
    """
    check_file(path)
    try:
        yield from READERS[form(path)](path, rows, blank)
    except UserError:
        raise
    except DAMAGED as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from None


def check_file(path: Path) -> None:
    """Raise UserError unless this is a file that holds something."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    if not path.is_file():
        raise UserError(f"{path}: is no file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty")
    if form(path) not in READERS:
        raise UserError(f"{path}: not a kind of file that is read here; choose from {', '.join(READERS)}")


def _parquet(path: Path, rows: int, blank: Callable[[int], object]) -> Iterator[pl.DataFrame]:
    done = 0
    for chunk in without_panics(lambda: pl.scan_parquet(path, glob=False).collect_batches(chunk_size=rows)):
        done += len(chunk)
        yield _missing(chunk)
    if not done:
        raise UserError(f"{path}: has no rows")


def without_panics(chunks: Callable[[], Iterator[pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    """The frames; what the library writes of a panic over a damaged file does not reach stderr."""
    read: Iterator[pl.DataFrame] | None = None
    while True:
        with silent():
            try:
                read = read or iter(chunks())
                chunk = next(read)
            except StopIteration:
                return
            except BaseException as error:
                if type(error).__name__ != "PanicException":  # it is no Exception, and has no public name
                    raise
                raise ValueError(f"it is damaged ({first_line(error)})") from None
        yield chunk


def _npz(path: Path, rows: int, blank: Callable[[int], object]) -> Iterator[pl.DataFrame]:
    remedy = "that are read at once; save it as Parquet"
    found = arrays_of(str(path), LARGEST, remedy=remedy, kinds=KINDS + "M")
    yield from from_arrays(found, str(path)).iter_slices(rows)


def from_arrays(arrays: dict[str, Any], where: str) -> pl.DataFrame:
    """Columns from arrays (N,), and from matrices (N, in), whose columns are called x0, x1 …

    Raises UserError where they are not as long, or have more axes.
    """
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        array = np.asarray(array)
        if array.dtype.kind not in "fiubUM":
            raise UserError(f"{where}: {name} holds {array.dtype}, neither numbers, text nor dates")
        if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
            columns[name] = array.reshape(-1)
        elif array.ndim >= 2:
            flat = array.reshape(len(array), -1)
            columns |= {f"{name}{i}": flat[:, i] for i in range(flat.shape[1])}
        else:
            raise UserError(f"{where}: {name} is a single number; an array with one row a sample is needed")
    lengths = {n: len(c) for n, c in columns.items()}
    if len(set(lengths.values())) > 1:
        (a, n), (b, m) = next((p, q) for p, q in itertools.pairwise(lengths.items()) if p[1] != q[1])
        raise UserError(f"{where}: {a} has {n} rows and {b} {m}; they must be as many")
    if not lengths or not next(iter(lengths.values())):
        raise UserError(f"{where}: has no rows")
    return _missing(pl.DataFrame({n: pl.Series(n, np.ascontiguousarray(c)) for n, c in columns.items()}))


def from_rows(rows: Any) -> pl.DataFrame | None:
    """A polars or pandas frame, or a mapping of columns; None for anything else."""
    if isinstance(rows, pl.DataFrame):
        return rows
    if isinstance(rows, Mapping):
        return pl.DataFrame({str(n): pl.Series(str(n), v, strict=False) for n, v in rows.items()})
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):  # pandas, which need not be installed
        return pl.DataFrame({str(n): pl.Series(str(n), rows[n].tolist(), strict=False) for n in rows.columns})
    return None


def _missing(frame: pl.DataFrame) -> pl.DataFrame:
    """NaN is a missing entry."""
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


READERS: dict[str, Callable[[Path, int, Callable[[int], object]], Iterator[pl.DataFrame]]] = {
    **dict.fromkeys(SUFFIXES, read_csv),
    ".parquet": _parquet,
    ".npz": _npz,
}
