"""What each column is, from its values: number, boolean, date, category, constant; free text is refused.

One row of `KINDS` a kind: how it is recognised, how it becomes numbers, and how that is said.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from mlp_torch.errors import UserError
from mlp_torch.tables.delimited import not_a_number, place

TRUE, FALSE = {"true", "yes", "t", "y"}, {"false", "no", "f", "n"}
MOST = (
    0.5  # of the entries are numbers, or dates: then the column is one of them, and the others are mistakes
)
LARGEST = 1e150  # its square is still finite
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


SIGNS = r"[%$€£¥'’,\s]"  # that people write about numbers
OTHER_DATE = r"^\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b"
# what else free text may be: (the entries as they would be if it were, said of it)
SPELT: list[tuple[Callable[[pl.Series], pl.Series], str]] = [
    (
        lambda v: v.filter(v.str.contains(OTHER_DATE)),
        "seems to hold dates ({value!r} say); write them as 2026-11-25",
    ),
    (
        lambda v: v.filter(v.str.contains(SIGNS) & numbers(v.str.replace_all(SIGNS, "")).is_not_null()),
        "seems to hold numbers with other signs ({value!r} say); write them as 1234.5",
    ),
]


def kind_of(values: pl.Series, where: str, *, category: bool = False) -> str:
    """number, boolean, date, category, constant or empty.

    Where some are missing a single value is no constant. Raises UserError for free text, and for text among
    numbers or dates.
    """
    known = values.drop_nulls()
    if not len(known):
        return "empty"
    one = known.n_unique() == 1 and len(known) == len(values)
    if category:
        return "constant" if one else "category"
    if (
        known.dtype.is_numeric()
        or known.dtype in (pl.Boolean, pl.Date)
        or isinstance(known.dtype, pl.Datetime)
    ):
        kind = "number" if known.dtype.is_numeric() else "boolean" if known.dtype == pl.Boolean else "date"
        return "constant" if one else kind
    if not isinstance(known.dtype, pl.String | pl.Categorical | pl.Enum):
        raise UserError(
            f"{where}: column {values.name!r} holds {known.dtype}; leave it out (--drop {values.name})"
        )
    levels = known.cast(pl.String).str.strip_chars().unique()
    if len(levels) == 1 and len(known) == len(values):
        return "constant"
    words = {v.lower() for v in levels.head(5)}
    if len(levels) == 2 and words <= TRUE | FALSE and words & TRUE and words & FALSE:
        return "boolean"
    for kind, read, refusal in (("date", dates, not_a_date), ("number", numbers, not_a_number)):
        good = 1 - read(levels).null_count() / len(levels)
        if good == 1:
            return kind
        if good >= MOST:
            text = values.cast(pl.String)
            row = (text.is_not_null() & read(text).is_null()).arg_true()[0]
            raise UserError(refusal(where, values.name, row, text[row]))
    if len(levels) > TEXT_LEVELS:
        _refuse_text(where, values.name, known.cast(pl.String).str.strip_chars(), levels)
    return "category"


def _refuse_text(where: str, name: str, known: pl.Series, levels: pl.Series) -> None:
    """Raise UserError for free text, and for numbers and dates that are spelt in another way."""
    for as_if, said in SPELT:
        if len(found := as_if(known)) >= MOST * len(known):
            raise UserError(
                f"{where}: column {name!r} {said.format(value=found[0])}, or leave it out: --drop {name}"
            )
    if len(levels) > TEXT_SHARE * len(known):
        raise UserError(
            f"{where}: column {name!r} is free text or an id ({len(levels):,} different values in "
            f"{len(known):,} rows, {known[0]!r} say); leave it out: --drop {name}"
        )


def not_a_date(where: str, name: str, row: int, value: Any) -> str:
    """One line for an entry that spoils a column of dates; `row` counts from 0."""
    return (
        f"{where}: column {name!r} holds dates, but {value!r} in {place(where, row)} is none; "
        "write them as 2026-11-25"
    )


def text_of(values: pl.Series) -> pl.Series:
    """Levels as text, a whole number without its .0, so that 1 and 1.0 are one level."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
        whole = (values == values.round()) & (values.abs() < 2**53)
        short = values.cast(pl.Int64, strict=False).cast(pl.String)
        return short.zip_with(whole.fill_null(value=False), values.cast(pl.String)).rename(values.name)
    return values.cast(pl.String).str.strip_chars()


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
