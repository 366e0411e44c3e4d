"""A column's entries as numbers; what is none is named with its row."""

import numpy as np
import polars as pl

from manual.numbers import Array
from mlp_torch.errors import UserError
from mlp_torch.tables.delimited import not_a_number, place
from mlp_torch.tables.kinds import FALSE, LARGEST, TRUE, dates, not_a_date, numbers


def reals(values: pl.Series, where: str, first: int) -> Array:
    """float64 with NaN where missing. Raises UserError for text among numbers and for infinite ones."""
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        x = values.cast(pl.Float64).to_numpy()
    else:
        read = numbers(values)
        bad = (values.is_not_null() & read.is_null()).arg_true()
        if len(bad):
            raise UserError(not_a_number(where, values.name, first + bad[0], str(values[bad[0]])))
        x = read.to_numpy()
    refuse_large(values.name, x, np.abs(x) > LARGEST, where, first)
    return np.asarray(x)


def refuse_large(name: str, x: Array, large: Array, where: str, first: int) -> None:
    """Raise UserError that names the first row where `large` holds."""
    if large.any():
        row = int(large.argmax())
        raise UserError(
            f"{where}: column {name!r} is {x[row]:g} in {place(where, first + row)}, too large to compute "
            "with; correct it, remove the row, or leave the entry empty if it is missing"
        )


def truths(values: pl.Series, where: str, first: int) -> Array:
    """0, 1 or NaN. Raises UserError for any other word."""
    if values.dtype == pl.Boolean:
        return np.asarray(values.cast(pl.Float64).to_numpy())
    text = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    true, false = text.is_in(list(TRUE | {"1", "1.0"})), text.is_in(list(FALSE | {"0", "0.0"}))
    bad = (text.is_not_null() & ~true & ~false).arg_true()
    if len(bad):
        raise UserError(
            f"{where}: column {values.name!r} holds true and false, "
            f"but {values[bad[0]]!r} in {place(where, first + bad[0])}; "
            "correct it, or leave it empty if it is missing"
        )
    return np.where(text.is_null().to_numpy(), np.nan, true.fill_null(False).to_numpy().astype(float))


def days(values: pl.Series, where: str, first: int) -> Array:
    """Days since 1970-01-01, NaN where missing. Raises UserError for what is no ISO date."""
    read = values if values.dtype.is_temporal() else dates(values)
    bad = (values.is_not_null() & read.is_null()).arg_true()
    if len(bad):
        raise UserError(not_a_date(where, values.name, first + bad[0], values[bad[0]]))
    seconds = read.cast(pl.Datetime("us")).to_physical().cast(pl.Float64) / 1e6
    return np.asarray(seconds.to_numpy() / 86400)
