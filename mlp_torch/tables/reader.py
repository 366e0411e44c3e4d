"""Files → frames, chunk by chunk: CSV and TSV (gzipped too), Parquet, NPZ. Nothing is unpickled.

polars reads (measured in tests/benchmarks/bench_tables.py: faster than pandas and pyarrow, in batches, in
less memory). What it would take silently, a row that is too short, a name that stands twice, is refused here.
"""

import csv
import gzip
import io
import itertools
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlp_torch.errors import UserError

ROWS = 2**17  # of a chunk
LOOKED_AT = 10_000  # rows from which a column's type is read
MISSING = ["", "NA", "N/A", "n/a", "na", "NaN", "nan", "NULL", "null", "None", "none", "?", "-"]
SEPARATORS = ",;\t|"
BLOCK = 2**24  # bytes


def read_chunks(path: Path, columns: Sequence[str] | None = None, rows: int = ROWS) -> Iterator[pl.DataFrame]:
    """The file's rows in order, `rows` at a time; `columns` alone, if given.

    Raises UserError, one line with file and row, for what cannot be read.
    """
    check_file(path)
    try:
        yield from READERS[form(path)](path, columns, rows)
    except UserError:
        raise
    except (pl.exceptions.PolarsError, OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {_first_line(error)}") from None


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


def form(path: Path) -> str:
    """The kind of file, by its name's end."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


# --- CSV -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out: its separator, its names, whether numbers have a decimal comma."""

    separator: str
    names: tuple[str, ...]
    decimal_comma: bool


def _csv(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[pl.DataFrame]:
    layout = sniff(path)
    check_ragged(path, layout)
    options: dict[str, Any] = {
        "separator": layout.separator, "decimal_comma": layout.decimal_comma, "null_values": MISSING,
        "infer_schema_length": LOOKED_AT, "glob": False,
    }  # fmt: skip
    lazy = pl.scan_csv(path, **options)
    if columns is not None:
        lazy = lazy.select(columns)
    done = 0
    try:
        for chunk in lazy.collect_batches(chunk_size=rows):
            done += len(chunk)
            blank = pl.all_horizontal(pl.all().is_null())
            yield chunk.filter(~blank) if chunk.width > 1 else chunk
    except pl.exceptions.ComputeError as error:
        raise UserError(_not_of_its_kind(path, options, lazy.collect_schema(), error)) from None
    if not done:
        raise UserError(f"{path}: has a header and no rows")


def sniff(path: Path) -> Layout:
    """The layout, from the first lines. Raises UserError for another encoding, or where no header stands."""
    head = _head(path)
    lines = head.decode("utf-8", errors="strict").splitlines()
    first = lines[0].lstrip("\ufeff") if lines else ""
    expected = "\t" if form(path) == ".tsv" else ","
    counted = {s: _fields(lines[:20], s) for s in SEPARATORS}
    separator = max(SEPARATORS, key=lambda s: (counted[s][0], counted[s][1], s == expected))
    names = next(csv.reader([first], delimiter=separator), [])
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: two columns are called {twice!r}; rename one in the first line")
    unnamed = next((i for i, n in enumerate(names, start=1) if not n.strip()), None)
    if unnamed is not None:
        raise UserError(f"{path}: column {unnamed} has no name; the first line holds the names")
    if all(_is_number(n) for n in names):
        raise UserError(
            f"{path}: the first line holds numbers ({first[:40]}); it must hold the columns' names"
        )
    values = [v for line in lines[1:50] for v in line.split(separator)] if separator != "," else []
    comma = sum(_is_number(v.replace(",", ".")) for v in values) > sum(_is_number(v) for v in values)
    return Layout(separator, tuple(names), comma)


def _head(path: Path) -> bytes:
    with _opened(path) as file:
        head = file.read(2**16)
    for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if head.startswith(mark):
            raise UserError(f"{path}: is {name} text; save it as UTF-8 (iconv -f {name} -t UTF-8)")
    if b"\x00" in head:
        raise UserError(f"{path}: holds bytes that no text has; is it a {form(path)} file?")
    whole = head if len(head) < 2**16 else head[: head.rfind(b"\n") + 1] or head
    try:
        whole.decode()
    except UnicodeDecodeError as error:
        line = whole.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line} is not UTF-8 (byte 0x{whole[error.start]:02x}); "
            "save it as UTF-8 (iconv -f LATIN1 -t UTF-8)"
        ) from None
    return whole


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _fields(lines: Sequence[str], separator: str) -> tuple[bool, int]:
    """(whether every line has as many fields, more than one; how many)."""
    counts = [len(f) for f in csv.reader([x for x in lines if x.strip()], delimiter=separator)]
    return (len(set(counts)) == 1 and counts[0] > 1, counts[0]) if counts else (False, 0)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_ragged(path: Path, layout: Layout) -> None:
    """Raise UserError that names the first row with more or fewer fields than the header.

    Without quotes in the file it is enough to count separators; else, where the sum is wrong, and where a
    quote may hold some, the rows are counted one by one.
    """
    mark, width = layout.separator.encode(), len(layout.names)
    separators = lines = quotes = 0
    last, blank = b"\n", 0
    with _opened(path) as file:
        while block := file.read(BLOCK):
            separators += block.count(mark)
            lines += block.count(b"\n")
            quotes += block.count(b'"')
            blank += (last + block).count(b"\n\n") + (last + block).count(b"\n\r\n")
            last = block[-1:]
    lines += last != b"\n"
    if not quotes and separators == (lines - blank) * (width - 1):
        return
    with io.TextIOWrapper(_opened(path), encoding="utf-8", errors="replace", newline="") as text:
        reader = csv.reader(text, delimiter=layout.separator)
        try:
            for row, fields in enumerate(reader):
                if fields and len(fields) != width:
                    raise UserError(
                        f"{path}: row {row} (line {reader.line_num}) has {len(fields)} fields, "
                        f"and the header {width}; is the separator {layout.separator!r}?"
                    )
        except csv.Error as error:
            raise UserError(f"{path}: line {reader.line_num}: {error}") from None


def _not_of_its_kind(path: Path, options: dict[str, Any], schema: pl.Schema, error: Exception) -> str:
    """What stands in the way of a column's type, with its row: found by reading it again as text."""
    text = pl.scan_csv(path, **{**options, "infer_schema": False}).with_row_index("row")
    for name, kind in schema.items():
        if not kind.is_numeric():
            continue
        column = pl.col(name).str.replace(",", ".") if options["decimal_comma"] else pl.col(name)
        bad = (
            text.filter(pl.col(name).is_not_null() & column.cast(pl.Float64, strict=False).is_null())
            .select("row", name)
            .head(1)
            .collect()
        )
        if len(bad):
            return not_a_number(str(path), name, bad["row"][0], bad[name][0])
    wide = text.select(pl.first().len()).collect().item() if "Int" in str(error) else 0
    return f"{path}: cannot be read: {_first_line(error)}" + (f" ({wide} rows)" if wide else "")


def not_a_number(where: str, name: str, row: int, value: Any) -> str:
    """One line for an entry that spoils a column of numbers; `row` counts from 0."""
    return (
        f"{where}: column {name!r} holds numbers, but {value!r} in row {row + 1} (line {row + 2}); "
        "correct or remove it, leave it empty if it is missing, or take the column as categories "
        f"(--categories {name})"
    )


# --- the others -------------------------------------------------------------------------------------------


def _parquet(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[pl.DataFrame]:
    lazy = pl.scan_parquet(path, glob=False)
    if columns is not None:
        lazy = lazy.select(columns)
    done = 0
    for chunk in lazy.collect_batches(chunk_size=rows):
        done += len(chunk)
        yield chunk
    if not done:
        raise UserError(f"{path}: has no rows")


def _npz(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[pl.DataFrame]:
    with np.load(path, allow_pickle=False) as arrays:
        frame = from_arrays({n: arrays[n] for n in arrays.files}, str(path))
    if columns is not None:
        frame = frame.select(columns)
    yield from frame.iter_slices(rows)


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
    return pl.DataFrame({n: pl.Series(n, np.ascontiguousarray(c)) for n, c in columns.items()})


READERS = {".csv": _csv, ".tsv": _csv, ".txt": _csv, ".parquet": _parquet, ".npz": _npz}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
