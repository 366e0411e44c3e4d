"""Columns → the network's inputs, fitted on the training rows alone; one row of `KINDS` a kind of column.

number:   (x − mean) / deviation, missing ones the median, and a column that says where one was missing
boolean:  0 or 1, missing ones the more frequent
date:     days since 1970-01-01, then like a number
category: a column a level (one-hot); the rare levels share one, which unseen ones fall into as well
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from manual.numbers import Array
from mlp_torch.errors import UserError
from mlp_torch.tables.delimited import is_number, place
from mlp_torch.tables.kinds import MOST_LEVELS, RAREST, Column, text_of
from mlp_torch.tables.reader import from_rows
from mlp_torch.tables.values import days, reals, refuse_large, truths

OTHER, ABSENT = "(other)", "(missing)"
Options = dict[str, Any]  # plain JSON


def _fit_number(x: Array) -> Options:
    known = x[~np.isnan(x)]
    median = float(np.median(known)) if len(known) else 0.0
    filled = np.where(np.isnan(x), median, x)
    deviation = float(filled.std())
    return {
        "fill": median, "mean": float(filled.mean()), "scale": deviation if deviation > 0 else 1.0,
        "indicator": bool(len(known) < len(x)),
    }  # fmt: skip


def _fit_boolean(x: Array) -> Options:
    known = x[~np.isnan(x)]
    fill = float(known.mean() > 0.5) if len(known) else 0.0
    return {"fill": fill, "mean": 0.0, "scale": 1.0, "indicator": bool(len(known) < len(x))}


def _fit_category(values: pl.Series) -> Options:
    counts = text_of(values.drop_nulls()).value_counts(sort=True)
    levels, sizes = counts[values.name].to_list(), counts["count"].to_list()
    enough = min(RAREST, max(1, len(values) // 100))
    kept = [v for v, n in zip(levels, sizes, strict=True) if n >= enough][:MOST_LEVELS]
    return {
        "levels": sorted(kept), "other": len(kept) < len(levels), "indicator": bool(values.null_count()),
        "scale": 1.0,
    }  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One row: `read` gives a column's numbers (None: it is one-hot), `fit` their options."""

    read: Callable[[pl.Series, str, int], Array] | None
    fit: Callable[[Any], Options]
    words: str


KINDS: dict[str, Kind] = {
    "number": Kind(reals, _fit_number, "standardised"),
    "boolean": Kind(truths, _fit_boolean, "0 or 1"),
    "date": Kind(days, _fit_number, "days, standardised"),
    "category": Kind(None, _fit_category, "one column a level"),
    "scaled": Kind(reals, lambda x: {"fill": 0.0, "mean": 0.0, "scale": 1.0, "indicator": False}, "divided"),
}


@dataclass(frozen=True)
class Feature:
    """One column of the table, as it was fitted."""

    name: str
    kind: str
    options: Options

    @property
    def outputs(self) -> list[str]:
        """The inputs of the network that it becomes."""
        if self.kind != "category":
            return [self.name, *([f"{self.name} {ABSENT}"] if self.options["indicator"] else [])]
        extra = [OTHER] * self.options["other"] + [ABSENT] * self.options["indicator"]
        return [f"{self.name}={level}" for level in [*self.options["levels"], *extra]]

    def write(self, values: pl.Series, out: Array, where: str, first: int) -> None:
        """Fill out (N, len(outputs)). Raises UserError that names the row of an entry of another kind."""
        read = KINDS[self.kind].read
        if read is not None:
            x = read(values, where, first)
            absent = np.isnan(x)
            z = (np.where(absent, self.options["fill"], x) - self.options["mean"]) / self.options["scale"]
            refuse_large(self.name, x, np.abs(z) > np.finfo(out.dtype).max, where, first)
            out[:, 0] = z
            if self.options["indicator"]:
                out[:, 1] = absent
            return
        levels: list[str] = self.options["levels"]
        self._refuse_numbers(values, where, first)
        at_level = {level: i for i, level in enumerate(levels)}
        at_level = {level.removesuffix(".0"): i for level, i in at_level.items()} | at_level
        other = len(levels) if self.options["other"] else -1
        absent_at = len(levels) + self.options["other"] if self.options["indicator"] else other
        text = text_of(values)
        codes = text.replace_strict(at_level, default=other, return_dtype=pl.Int32)
        at = np.where(text.is_null().to_numpy(), absent_at, codes.fill_null(other).to_numpy())
        out[...] = 0
        rows = np.flatnonzero(at >= 0)
        out[rows, at[rows]] = 1

    def _refuse_numbers(self, values: pl.Series, where: str, first: int) -> None:
        """Raise UserError where numbers stand, and in training every level was a word."""
        levels: list[str] = self.options["levels"]
        known = values.is_not_null().arg_true()
        if values.dtype.is_numeric() and len(known) and levels and not any(map(is_number, levels)):
            raise UserError(
                f"{where}: column {self.name!r} held {', '.join(map(repr, levels[:4]))} in training, but "
                f"{values[known[0]]!r} in {place(where, first + known[0])}; is it another column?"
            )


@dataclass(frozen=True)
class Preprocessor:
    """What turns rows of a table into the network's inputs; plain JSON on disk."""

    features: tuple[Feature, ...]

    @classmethod
    def fit(
        cls, columns: Mapping[str, pl.Series], kinds: Mapping[str, str], where: str, rows: Array | None = None
    ) -> Self:
        """From the training rows (all, if not given); constant and empty columns are left out.

        All rows are read, so that a message names a row of the table.
        """
        found = []
        for name, kind in kinds.items():
            if kind in KINDS:
                row, values = KINDS[kind], columns[name]
                every = slice(None) if rows is None else rows
                fitted = row.fit(
                    (values if rows is None else values.gather(rows))
                    if row.read is None
                    else row.read(values, where, 0)[every]
                )
                found.append(Feature(name, kind, fitted))
        if not found:
            raise UserError(f"{where}: every column is constant or empty; there is nothing to learn from")
        return cls(tuple(found))

    @classmethod
    def divided(cls, names: Sequence[str], mean: Sequence[float], scale: Sequence[float]) -> Self:
        """Plain numbers, (x − mean) / scale."""
        options = [
            {"fill": m, "mean": m, "scale": s, "indicator": False} for m, s in zip(mean, scale, strict=True)
        ]
        return cls(tuple(Feature(n, "number", o) for n, o in zip(names, options, strict=True)))

    @property
    def feature_names(self) -> list[str]:
        """The columns that are read."""
        return [f.name for f in self.features]

    @property
    def input_names(self) -> list[str]:
        """The network's inputs."""
        return [name for f in self.features for name in f.outputs]

    def transform(
        self, frame: pl.DataFrame, where: str = "the rows", *, first: int = 0, dtype: Any = np.float32
    ) -> Array:
        """(N, inputs) from a frame with these columns, in any order; `first` is its first row's number.

        Raises UserError for a column that is missing or of another kind.
        """
        lacking = [n for n in self.feature_names if n not in frame.columns]
        if lacking:
            raise UserError(
                f"{where}: lacks the column{'s' * (len(lacking) > 1)} {', '.join(map(repr, lacking))}, "
                "which the network was trained on"
            )
        out = np.empty((len(frame), len(self.input_names)), dtype)
        at = 0
        for feature in self.features:
            width = len(feature.outputs)
            feature.write(frame[feature.name], out[:, at : at + width], where, first)
            at += width
        return out

    def frame(self, rows: Any) -> pl.DataFrame:
        """Rows of any kind: a polars or pandas frame, a mapping of columns, a matrix in feature order."""
        found = from_rows(rows)
        if found is not None:
            return found
        matrix = np.asarray(rows)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.features):
            raise UserError(
                f"rows of shape {matrix.shape} do not fit: {len(self.features)} columns are needed, "
                f"{', '.join(self.feature_names[:8])}{' …' if len(self.features) > 8 else ''}"
            )
        return pl.DataFrame(
            {
                n: matrix[:, i].tolist() if matrix.dtype == object else matrix[:, i]
                for i, n in enumerate(self.feature_names)
            },
            strict=False,
        )

    def columns(self, kinds: Mapping[str, str], values: Mapping[str, pl.Series]) -> list[Column]:
        """What was understood, a row a column, for people."""
        fitted = {f.name: f for f in self.features}
        return [_column(n, kind, values[n], fitted.get(n)) for n, kind in kinds.items()]

    def to_dict(self) -> dict[str, Any]:
        return {"features": [{"name": f.name, "kind": f.kind, **f.options} for f in self.features]}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """What `to_dict` gave. Raises UserError where it is something else."""
        try:
            rows = [dict(row) for row in table["features"]]
            made = tuple(Feature(str(row.pop("name")), str(row.pop("kind")), row) for row in rows)
            for f in made:
                if f.kind not in KINDS or not f.outputs:
                    raise KeyError(f.kind)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"the preprocessing is not one that this version knows ({error})") from None
        return cls(made)


def _column(name: str, kind: str, values: pl.Series, feature: Feature | None) -> Column:
    missing, levels = values.null_count(), values.n_unique() - (values.null_count() > 0)
    if feature is None:
        why = "holds nothing" if kind == "empty" else "is the same in every row"
        return Column(name, kind, missing, levels, f"left out: it {why}")
    words = [KINDS[kind].words]
    if kind == "category":
        kept = len(feature.options["levels"])
        words = [f"{len(feature.outputs)} column{'s' * (len(feature.outputs) > 1)}, one a level"]
        if feature.options["other"]:
            words.append(f"{levels - kept} rare levels together")
        if feature.options["indicator"]:
            words.append("missing ones a level")
    elif missing:
        words.append(f"missing ones {feature.options['fill']:.4g}")
        if feature.options["indicator"]:
            words.append("and a column that says so")
    if kind == "number" and levels == len(values) > 20 and values.dtype.is_integer():
        words.append(f"every value differs: if it only numbers the rows, --drop {name}")
    return Column(name, kind, missing, levels, ", ".join(words))
