"""What each column is, from its values: number, boolean, date, category, constant; free text is refused.

One row of `KINDS` a kind: how it is recognised, how it becomes numbers, and how that is said.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from mlp_torch.errors import UserError
from mlp_torch.tables.reader import MISSING, not_a_number

TRUE, FALSE = {"true", "yes", "t", "y"}, {"false", "no", "f", "n"}
NUMBERS_AMONG_TEXT = 0.5  # of the entries: then the column is one of numbers, and the others are mistakes
MOST_LEVELS = 255  # of a category with columns of their own; what is rarer shares one
RAREST = 5  # fewer rows of a level than this are rare
TEXT_LEVELS, TEXT_SHARE = 50, 0.5  # more levels than that, and in that share of the rows: free text


@dataclass(frozen=True)
class Column:
    """One column: its kind, what was counted in it, and what becomes of it in words."""

    name: str
    kind: str
    missing: int = 0
    levels: int = 0
    becomes: str = ""


def kind_of(values: pl.Series, where: str, *, category: bool = False) -> str:
    """number, boolean, date, category, constant or empty.

    Raises UserError for free text, and for text among numbers.
    """
    known = values.drop_nulls()
    if not len(known):
        return "empty"
    if category:
        return "category" if known.n_unique() > 1 else "constant"
    if known.dtype.is_temporal():
        if not isinstance(known.dtype, pl.Date | pl.Datetime):
            raise UserError(
                f"{where}: column {values.name!r} holds {known.dtype}; leave it out (--drop {values.name})"
            )
        return "date"
    if known.dtype == pl.Boolean:
        return "boolean" if known.n_unique() > 1 else "constant"
    if known.dtype.is_numeric():
        return "number" if known.n_unique() > 1 else "constant"
    if not isinstance(known.dtype, pl.String | pl.Categorical | pl.Enum):
        raise UserError(
            f"{where}: column {values.name!r} holds {known.dtype}; leave it out (--drop {values.name})"
        )
    levels = known.cast(pl.String).str.strip_chars().unique()
    if len(levels) == 1:
        return "constant"
    words = {v.lower() for v in levels.head(5)}
    if len(levels) == 2 and words <= TRUE | FALSE and words & TRUE and words & FALSE:
        return "boolean"
    if _all(dates(levels)):
        return "date"
    good = float(numbers(levels).is_not_null().mean() or 0)  # type: ignore[arg-type]  # polars types a mean widely
    if good == 1:
        return "number"
    if good >= NUMBERS_AMONG_TEXT:
        text = values.cast(pl.String)
        row = (text.is_not_null() & numbers(text).is_null()).arg_true()[0]
        raise UserError(not_a_number(where, values.name, row, text[row]))
    if len(levels) > TEXT_LEVELS and len(levels) > TEXT_SHARE * len(known):
        raise UserError(
            f"{where}: column {values.name!r} is free text ({len(levels):,} different values in "
            f"{len(known):,} rows, {known[0]!r} say); leave it out: --drop {values.name}"
        )
    return "category"


def numbers(text: pl.Series) -> pl.Series:
    """Text as float64; null where it is no number."""
    return text.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)


def dates(text: pl.Series) -> pl.Series:
    """Text as dates, ISO 8601 (2026-11-25, also with a time); null where it is none."""
    stripped = text.cast(pl.String).str.strip_chars()
    day = stripped.str.to_datetime("%Y-%m-%d", strict=False)
    found = day
    for layout in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"):
        found = pl.select(pl.coalesce(found, stripped.str.to_datetime(layout, strict=False))).to_series()
    return found


def _all(values: pl.Series) -> bool:
    return len(values) > 0 and values.null_count() == 0


@dataclass
class Schema:
    """What stands in a table: its features in order, and what was left out."""

    where: str
    features: dict[str, str]  # name → kind
    columns: list[Column] = field(default_factory=list)


def choose(
    where: str, names: Sequence[str], target: str | None, features: Sequence[str] = (),
    drop: Collection[str] = (), beside: Collection[str] = (),
) -> tuple[str, list[str]]:  # fmt: skip
    """(target, features): the last column, and all the others, unless told; `beside` are columns with a use
    of their own, groups and weights. Raises UserError that names a column that is not there.
    """
    for flag, given in (("--target", [target] if target else []), ("--features", features), ("--drop", drop)):
        for name in given:
            require_column(where, flag, name, names)
    chosen = target or next((n for n in reversed(names) if n not in {*drop, *beside}), None)
    if chosen is None:
        raise UserError(f"{where}: no column is left for a target")
    if chosen in drop or chosen in features:
        raise UserError(f"--target {chosen}: it is also in --{'drop' if chosen in drop else 'features'}")
    kept = [n for n in features or names if n != chosen and n not in {*drop, *beside}]
    if not kept:
        raise UserError(f"{where}: no column is left for features beside the target {chosen!r}")
    return chosen, kept


def require_column(where: str, flag: str, name: str, names: Sequence[str]) -> None:
    """Raise UserError that names the nearest column unless it is there."""
    if name in names:
        return
    import difflib

    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names[:12])}"
    raise UserError(f"{flag} {name}: {where} has no such column{hint}")


def understand(
    where: str, columns: Mapping[str, pl.Series], categories: Collection[str] = ()
) -> dict[str, str]:
    """The kind of every feature."""
    return {n: kind_of(v, where, category=n in categories) for n, v in columns.items()}


def words() -> list[str]:
    """What counts as missing in a text file."""
    return [w for w in MISSING if w]


Value = Any
