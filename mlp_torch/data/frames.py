"""Rows that a program holds, as the file that the flags name: there is one way to read data, from files.

A frame is written once, as Parquet, under the name of its content, beside the runs. So a run on it can go
on, be evaluated and be made again by the command, like any other; the price is a copy on disk.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlp_torch.errors import UnwritableError, UserError
from mlp_torch.files import replace
from mlp_torch.tables.delimited import first_line
from mlp_torch.tables.reader import from_arrays, from_rows

FOLDER = "tables"  # in the runs' folder


def kept(flag: str, rows: Any, runs_dir: Path) -> Path:
    """The file that holds the rows: a polars or pandas frame, a dict of columns, or (X, y).

    Of (X, y), X is a frame or an array (N, in), whose columns are called x0, x1 …; y (N,) is the last
    column, `y` if it has no name. Raises UserError for what is no table or cannot be written.
    """
    try:
        frame = _frame(flag, rows)
        content = io.BytesIO()
        frame.write_parquet(content)
    except UserError:
        raise
    except (ValueError, TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{flag}: cannot be read as a table: {first_line(error)}") from None
    data = content.getvalue()
    path = runs_dir / FOLDER / f"frame-{hashlib.blake2b(data, digest_size=4).hexdigest()}.parquet"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            replace(path, data)
    except OSError as error:
        raise UnwritableError(path, error, f"{flag}: {{path}} cannot be written ({{why}})") from None
    return path


def _frame(flag: str, rows: Any) -> pl.DataFrame:
    if isinstance(rows, tuple):
        if len(rows) != 2:
            raise UserError(f"{flag}: a tuple of {len(rows)}; give a frame or two arrays, (X, y)")
        x, y = rows
        frame = from_rows(x)
        if frame is None:
            frame = from_arrays({"x": np.asarray(x)}, flag)
        values = np.asarray(y)
        if values.ndim != 1 or len(values) != len(frame):
            raise UserError(f"{flag}: y of shape {values.shape} does not fit {len(frame):,} rows; give (N,)")
        name = str(getattr(y, "name", None) or "y")
        if name in frame.columns:
            raise UserError(f"{flag}: X has a column {name!r}, as y has; rename one of them")
        return frame.with_columns(pl.Series(name, values.tolist()))
    found = from_rows(rows)
    if found is None:
        raise UserError(
            f"{flag}: {type(rows).__name__}; give a name, a file, a polars or pandas frame, a dict of "
            "columns, or two arrays, (X, y)"
        )
    return found
