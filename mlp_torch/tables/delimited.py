"""CSV and TSV files: how one is laid out, its rows, and where in it a row stands.

polars reads; what it would take silently, a row that is too short, a name that stands twice, is refused here.
A line that holds nothing is no row. Rows are counted from 1, the header not counted; lines as an editor does.
"""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlp_torch.errors import UserError

LOOKED_AT = 10_000  # rows from which a column's type is read
MISSING = ["", "NA", "N/A", "n/a", "na", "NaN", "nan", "NULL", "null", "None", "none", "?", "-"]
SUFFIXES = (".csv", ".tsv", ".txt")
SEPARATORS = ",;\t|"
BLOCK = 2**18  # bytes that are counted at once: they stay in the cache


def form(path: Path) -> str:
    """The kind of file, by its name's end."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out: its separator, its names, whether numbers have a decimal comma.

    `codes` are columns of digits that are no numbers: 007, 01069, all as long, some with a 0 in front.
    """

    separator: str
    names: tuple[str, ...]
    decimal_comma: bool
    codes: tuple[str, ...] = ()


def read_csv(path: Path, rows: int, blank: Callable[[int], object]) -> Iterator[pl.DataFrame]:
    """Frames of `rows` rows; `blank` is told how many lines were no rows."""
    layout, counted = sniff(path), False
    options: dict[str, Any] = {
        "separator": layout.separator, "decimal_comma": layout.decimal_comma, "null_values": MISSING,
        "infer_schema_length": LOOKED_AT, "glob": False, "new_columns": list(layout.names),
        "schema_overrides": dict.fromkeys(layout.codes, pl.String),
    }  # fmt: skip
    lazy = pl.scan_csv(path, **options)
    done = 0
    try:
        for chunk in lazy.collect_batches(chunk_size=rows):
            kept = chunk.with_columns(WITHOUT_MISSING).filter(_holds_something(layout))
            if not counted and kept[layout.names[-1]].null_count():  # a row that is too short lacks the last
                check_ragged(path, layout)
                counted = True
            blank(len(chunk) - len(kept))
            done += len(kept)
            yield kept
    except pl.exceptions.ComputeError as error:
        check_ragged(path, layout)  # too long a row, an open quote
        raise UserError(_not_of_its_kind(path, options, layout, lazy.collect_schema(), error)) from None
    if not done:
        raise UserError(f"{path}: has a header and no rows")


TEXT = pl.col(pl.String)
WITHOUT_MISSING = pl.when(~TEXT.str.strip_chars().is_in(MISSING)).then(TEXT)  # spaces about them, or alone


def _holds_something(layout: Layout) -> pl.Expr:
    """In a table of one column an empty line is a missing entry."""
    return ~pl.all_horizontal(pl.all().is_null()) if len(layout.names) > 1 else pl.lit(value=True)


def sniff(path: Path) -> Layout:
    """The layout, from the first lines. Raises UserError for another encoding, or where no header stands."""
    text = _head(path).decode(errors="strict").lstrip("\ufeff")
    if "\n" not in text and "\r" in text.rstrip("\r"):
        raise UserError(
            f"{path}: its lines end in CR alone; save it with the line ends of today (LF or CRLF)"
        )
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if re.fullmatch(r"sep=.", lines[0], re.IGNORECASE):
        raise UserError(f"{path}: line 1 is {lines[0]!r}, a hint for Excel; remove that line")
    expected = "\t" if form(path) == ".tsv" else ","
    counted = {s: _fields(lines[:20], s) for s in SEPARATORS}
    separator = max(SEPARATORS, key=lambda s: (counted[s][0], counted[s][1], s == expected))
    head = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))[:200]
    names = [name.strip() for name in head[0]] if head else []
    _check_header(str(path), names, head[1:])
    values = [v for line in lines[1:50] for v in line.split(separator)] if separator != "," else []
    comma = sum(is_number(v.replace(",", ".")) for v in values) > sum(is_number(v) for v in values)
    return Layout(separator, tuple(names), comma, tuple(_codes(names, head[1:])))


def _codes(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for i, name in enumerate(names):
        known = {row[i].strip() for row in rows if len(row) > i} - set(MISSING)
        digits = all(v.isascii() and v.isdigit() for v in known)
        if digits and len({len(v) for v in known}) == 1 and any(len(v) > 1 and v[0] == "0" for v in known):
            yield name


def _check_header(where: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raise UserError unless the first line holds names: each column's, each once."""
    if not any(names):
        raise UserError(f"{where}: line 1 is blank; it must hold the columns' names")
    first = ",".join(names)[:40]
    if all(is_number(n) for n in names):
        raise UserError(f"{where}: the first line holds numbers ({first}); it must hold the columns' names")
    again = (n for i, n in enumerate(names) if n and any(len(r) > i and r[i].strip() == n for r in rows))
    if any(is_number(n) for n in names) and (value := next((n for n in again if not is_number(n)), None)):
        raise UserError(
            f"{where}: the first line ({first}) is a row, for its {value!r} comes again further down; "
            "it must hold the columns' names"
        )
    unnamed = next((i for i, n in enumerate(names, start=1) if not n), None)
    if unnamed is not None:
        last = ", or remove the separator at the end of every line" if unnamed == len(names) else ""
        index = ", or leave pandas' row numbers out: to_csv(…, index=False)" if unnamed == 1 else ""
        raise UserError(
            f"{where}: column {unnamed} has no name; give it one in the first line{last or index}"
        )
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UserError(f"{where}: two columns are called {twice!r}; rename one in the first line")


def _head(path: Path) -> bytes:
    with opened(path) as file:
        head = bytes(file.read(2**16))
    for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if head.startswith(mark):
            raise UserError(f"{path}: is {name} text; save it as UTF-8 (iconv -f {name} -t UTF-8)")
    for mark, name in ((b"\x1f\x8b", "gzipped; call it .csv.gz"), (b"PK\x03\x04", "a ZIP file, Excel's say")):
        if head.startswith(mark):
            raise UserError(f"{path}: is {name}, or save it as CSV")
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


def opened(path: Path) -> Any:
    """The file's bytes, unpacked where they are gzipped."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _fields(lines: Sequence[str], separator: str) -> tuple[bool, int]:
    """(whether every line has as many fields, more than one; how many)."""
    counts = [len(f) for f in csv.reader([x for x in lines if x.strip()], delimiter=separator)]
    return (len(set(counts)) == 1 and counts[0] > 1, counts[0]) if counts else (False, 0)


def is_number(text: str) -> bool:
    """Whether it reads as one."""
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
    width, mark, end_of_line = len(layout.names), ord(layout.separator), ord("\n")
    separators = lines = blank = 0
    quotes, last = False, b"\n"
    with opened(path) as file:
        while block := file.read(BLOCK):
            quotes = quotes or b'"' in block
            text = np.frombuffer(last + block.replace(b"\r", b""), np.uint8)
            ends = text == end_of_line
            separators += int(np.count_nonzero(text[1:] == mark))
            lines += int(np.count_nonzero(ends[1:]))
            blank += int(np.count_nonzero(ends[1:] & ends[:-1]))
            last = text[-1:].tobytes()
    lines += last != b"\n"
    if not quotes and separators == (lines - blank) * (width - 1):
        return
    first = end = 0
    try:
        for row, (first, end, fields) in enumerate(_records(path, layout), start=1):
            if len(fields) != width:
                quote = f"a quote is open from line {first} to {end}" if end > first else "is the separator"
                raise UserError(
                    f"{path}: row {row} (line {first}) has {len(fields)} fields, and the header {width}; "
                    + (quote if end > first else f"{quote} {layout.separator!r}?")
                )
    except csv.Error as error:
        raise UserError(f"{path}: line {end + 1}: {error}") from None


def _records(path: Path, layout: Layout) -> Iterator[tuple[int, int, list[str]]]:
    """(first line, last line, fields) of every row, those that hold nothing left out."""
    missing, several = set(MISSING), len(layout.names) > 1
    with io.TextIOWrapper(opened(path), encoding="utf-8", errors="replace", newline="") as text:
        reader, end = csv.reader(text, delimiter=layout.separator), 0
        for i, fields in enumerate(reader):
            first, end = end + 1, reader.line_num
            empty = several and (
                not fields
                or (len(fields) == len(layout.names) and missing.issuperset(map(str.strip, fields)))
            )
            if i and not empty:
                yield first, end, fields


def place(where: str, row: int) -> str:
    """`row 17 (line 18)`; `row` counts from 0, and the line is given where `where` is such a file."""
    path, line = Path(where), None
    try:
        if form(path) in SUFFIXES and path.is_file():
            line = next(
                (first for i, (first, *_) in enumerate(_records(path, sniff(path))) if i == row), None
            )
    except (UserError, OSError, EOFError, csv.Error):
        line = None  # the row alone is said of a file that can no longer be read
    return f"row {row + 1}" + (f" (line {line})" if line else "")


def _not_of_its_kind(
    path: Path, options: dict[str, Any], layout: Layout, schema: pl.Schema, error: Exception
) -> str:
    """What stands in the way of a column's type, with its row: found by reading it again as text."""
    text = (
        pl.scan_csv(path, **{**options, "infer_schema": False})
        .with_columns(WITHOUT_MISSING)
        .filter(_holds_something(layout))
    )
    for name, kind in schema.items():
        if not kind.is_numeric():
            continue
        column = pl.col(name).str.replace(",", ".") if options["decimal_comma"] else pl.col(name)
        bad = (
            text.with_row_index("row")
            .filter(pl.col(name).is_not_null() & column.cast(pl.Float64, strict=False).is_null())
            .select("row", name)
            .head(1)
            .collect()
        )
        if len(bad):
            return not_a_number(str(path), name, bad["row"][0], bad[name][0])
    return f"{path}: cannot be read: {first_line(error)}"


def not_a_number(where: str, name: str, row: int, value: Any) -> str:
    """One line for an entry that spoils a column of numbers; `row` counts from 0."""
    return (
        f"{where}: column {name!r} holds numbers, but {value!r} in {place(where, row)}; "
        "correct or remove it, leave it empty if it is missing, or take the column as categories "
        f"(--categories {name})"
    )


def first_line(error: BaseException) -> str:
    """Of an error of another library."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
