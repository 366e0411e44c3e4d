"""The target column: class labels as they stand in the table, or real numbers in units of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from manual.numbers import Array
from mlp_torch.errors import UserError
from mlp_torch.tables.delimited import not_a_number, place
from mlp_torch.tables.kinds import LARGEST, dates, numbers

MOST_CLASSES = 20  # of whole numbers; more are taken for real ones
TASKS = ("auto", "classification", "regression")


def task_of(values: pl.Series, where: str = "") -> str:
    """classification for text, booleans and few whole numbers, regression for all else.

    Raises UserError for dates, which may be meant as either.
    """
    _refuse_nested(values, where)
    said = None
    if values.dtype.is_temporal():
        said = f"holds {values.dtype}"
    elif values.dtype in (pl.String, pl.Categorical) and len(known := values.drop_nulls()):
        said = "holds dates" if not dates(known).null_count() else None
    if said:
        raise UserError(
            f"{where}: the target {values.name!r} {said}; choose another --target, or write it as a number, "
            "days from a first one say (--task classification takes each date for a class)"
        )
    if not values.dtype.is_numeric():
        read = numbers(values)
        if read.null_count() > values.null_count():
            return "classification"
        values = read
    whole = bool((values.drop_nulls() == values.drop_nulls().round()).all())
    return "classification" if whole and values.n_unique() <= MOST_CLASSES else "regression"


@dataclass(frozen=True)
class Target:
    """The target's name, and its classes in order, or the mean and scale that bring it to size."""

    name: str
    classes: tuple[Any, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def task(self) -> str:
        return "classification" if self.classes else "regression"

    @classmethod
    def fit(cls, values: pl.Series, task: str, where: str) -> Self:
        """From the training rows. Raises UserError where there is nothing to predict."""
        _refuse_nested(values, where)
        name = values.name
        row = values.is_null().arg_true()
        if len(row):
            raise UserError(
                f"{where}: the target {name!r} is missing in {place(where, row[0])}"
                + (
                    f", and in {len(row) - 1:,} more; remove these rows"
                    if len(row) > 1
                    else "; remove that row"
                )
            )
        if task == "regression":
            y = _real(values, where)
            if (y == y[0]).all():
                raise UserError(
                    f"{where}: the target {name!r} is {y[0]:g} in every row; there is nothing to learn"
                )
            if not y.std() > 0:
                raise UserError(
                    f"{where}: the target {name!r} lies within {y.max() - y.min():.1g}, too close together "
                    "to compute with; write it in another unit"
                )
            return cls(name, (), float(y.mean()), float(y.std()))
        classes = sorted(_labels(values).unique().to_list())
        if len(classes) < 2:
            raise UserError(
                f"{where}: the target {name!r} has one class only, {classes[0]!r}; two are needed"
            )
        if len(classes) > len(values) / 2 and len(classes) > MOST_CLASSES:
            raise UserError(
                f"{where}: the target {name!r} has {len(classes):,} classes in {len(values):,} rows; "
                "choose another --target, or --task regression if it holds numbers"
            )
        return cls(name, tuple(classes))

    def encode(self, values: pl.Series, where: str) -> Array:
        """Class indices (N,) int64, or (y − mean) / scale (N,) float64.

        Raises UserError that names the first label that was never seen in training.
        """
        if self.task == "regression":
            return (_real(values, where) - self.mean) / self.scale
        labels = _labels(values)
        if labels.dtype != pl.String and isinstance(self.classes[0], str):
            labels = labels.cast(pl.String)
        index = {c: i for i, c in enumerate(self.classes)}
        codes = (
            labels.replace_strict(list(index), list(index.values()), default=-1, return_dtype=pl.Int64)
            .fill_null(-1)
            .to_numpy()
        )
        bad = np.flatnonzero(codes < 0)
        if len(bad):
            known = ", ".join(map(repr, self.classes[:8])) + (" …" if len(self.classes) > 8 else "")
            row = int(bad[0])
            raise UserError(
                f"{where}: the target {self.name!r} is {values[row]!r} in {place(where, row)}, a class "
                f"that was not there in training; there are {known}"
            )
        return np.asarray(codes)

    def decode(self, output: Array) -> Array:
        """Class labels from indices (N,), or reals in the target's own units."""
        if self.task == "regression":
            return output * self.scale + self.mean
        return np.array(self.classes, dtype=None if not isinstance(self.classes[0], str) else object)[output]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "classes": list(self.classes), "mean": self.mean, "scale": self.scale}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """What `to_dict` gave. Raises UserError where it is something else."""
        try:
            return cls(
                str(table["name"]), tuple(table["classes"]), float(table["mean"]), float(table["scale"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"the target is not one that this version knows ({error})") from None


def _refuse_nested(values: pl.Series, where: str) -> None:
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
        raise UserError(f"{where}: the target {values.name!r} holds {values.dtype}; choose another --target")


def _real(values: pl.Series, where: str) -> Array:
    read = values.cast(pl.Float64) if values.dtype.is_numeric() else numbers(values)
    bad = (read.is_null() | ~(read.abs() <= LARGEST)).arg_true()
    if len(bad):
        row, name = int(bad[0]), values.name
        at = f"{where}: the target {name!r} is {{}} in {place(where, row)}"
        if values[row] is None:
            raise UserError(at.format("missing") + "; remove that row")
        if read[row] is not None:
            raise UserError(at.format(values[row]) + ", too large to compute with; remove that row")
        raise UserError(not_a_number(where, name, row, values[row]).split(", or take")[0])
    return np.asarray(read.to_numpy())


def _labels(values: pl.Series) -> pl.Series:
    """Labels as whole numbers, booleans or stripped text."""
    if values.dtype == pl.Boolean or values.dtype.is_integer():
        return values
    if values.dtype.is_float():
        whole = bool(((values == values.round()) & (values.abs() < 2**53)).fill_null(True).all())
        return values.cast(pl.Int64) if whole else values
    return values.cast(pl.String).str.strip_chars()
