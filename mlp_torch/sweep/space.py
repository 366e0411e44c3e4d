"""What a sweep searches: `lr=1e-4:1e-1:log hidden=64,128x64` read as dimensions, each value checked.

A list is `a,b,c`; a range `low:high` with `:log` and `:int` where wanted. Tuples are written with ×:
`128x64`; `none` is a flag left at none (for hidden: no hidden layer).
"""

import itertools
import math
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from manual.structure.architecture import choose
from mlp_torch.config import Train
from mlp_torch.errors import UserError

UNSWEPT = ("data", "name", "runs_dir", "log")
MOST_COMBINATIONS = 2000
TYPES = typing.get_type_hints(Train)
EXAMPLE = "write it as --sweep lr=1e-4:1e-1:log hidden=64,128x64 activation=relu,tanh"

Raw = str | float | int


@dataclass(frozen=True)
class Dimension:
    """One flag and what it may be: `choices` as they were typed, or a range from `low` to `high`."""

    flag: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False

    def value(self, raw: Raw) -> Any:
        """The flag's value of what was drawn: a choice's text read as the flag's type, or the number."""
        return _read(self.flag, raw) if isinstance(raw, str) else int(raw) if self.integer else float(raw)

    def corners(self) -> tuple[Raw, ...]:
        """Every choice, or both ends of the range."""
        return self.choices or tuple(int(v) if self.integer else v for v in (self.low, self.high))


def read(specs: Sequence[str]) -> tuple[Dimension, ...]:
    """The dimensions of `flag=values` words. Raises UserError, one line, for one that cannot be."""
    if not specs:
        raise UserError(f"--sweep: names nothing to search; {EXAMPLE}")
    dimensions = tuple(_dimension(spec) for spec in specs)
    flags = [d.flag for d in dimensions]
    for flag in flags:
        if flags.count(flag) > 1:
            raise UserError(f"--sweep: {flag} stands twice; give all its values at once")
    return dimensions


def _dimension(spec: str) -> Dimension:
    name, equals, text = spec.partition("=")
    if not equals or not text:
        raise UserError(f"--sweep {spec}: no values; {EXAMPLE}")
    flag = name.lstrip("-").replace("-", "_")
    try:
        choose("flag", flag, [f for f in TYPES if f not in UNSWEPT])
    except ValueError as error:
        what = "is not searched, but fixed" if flag in UNSWEPT else str(error)
        raise UserError(f"--sweep {spec}: {flag + ' ' if flag in UNSWEPT else ''}{what}") from None
    if ":" in text:
        return _range(spec, flag, text)
    choices = tuple(re.split(r",(?![^(]*\))", text))  # not within huber(delta=0.5)
    for choice in choices:
        try:
            _read(flag, choice)
        except ValueError:
            kind = getattr(TYPES[flag], "__name__", str(TYPES[flag]))
            raise UserError(f"--sweep {spec}: {choice!r} is no value of {flag} ({kind})") from None
    twice = [c for i, c in enumerate(choices) if c in choices[:i]]
    if twice:
        raise UserError(f"--sweep {spec}: {twice[0]} stands twice")
    return Dimension(flag, choices)


def _range(spec: str, flag: str, text: str) -> Dimension:
    first, second, *modifiers = text.split(":")
    kinds = set(_plain(flag))
    if not kinds & {int, float}:
        raise UserError(f"--sweep {spec}: {flag} is no number; list its values, as in hidden=64,128x64")
    unknown = [m for m in modifiers if m not in ("int", "log")]
    if unknown:
        raise UserError(f"--sweep {spec}: unknown {unknown[0]!r}; a range is low:high, with :log or :int")
    try:
        low, high = float(first), float(second)
    except ValueError:
        raise UserError(f"--sweep {spec}: the ends of a range are numbers, as in {flag}=1:10") from None
    integer, log = "int" in modifiers or float not in kinds, "log" in modifiers
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"--sweep {spec}: the range is empty; it goes from a number to a larger one")
    if log and low <= 0:
        raise UserError(f"--sweep {spec}: a log range begins above 0")
    if integer and not (low.is_integer() and high.is_integer()):
        raise UserError(f"--sweep {spec}: the ends of a range of whole numbers are whole")
    return Dimension(flag, low=low, high=high, log=log, integer=integer)


def _plain(flag: str) -> tuple[Any, ...]:
    """The types that a flag's value may have, None among them."""
    kind = TYPES[flag]
    return typing.get_args(kind) if type(None) in typing.get_args(kind) else (kind,)


def _read(flag: str, text: str) -> Any:
    """A value from its text, of the flag's type. Raises ValueError."""
    kinds = _plain(flag)
    kind = next(k for k in kinds if k is not type(None))
    if typing.get_origin(kind) is tuple:
        return () if text == "none" else tuple(int(part) for part in text.split("x"))
    if text == "none" and type(None) in kinds:
        return None
    if kind is bool:
        return {"true": True, "false": False}[text] if text in ("true", "false") else int("no bool")
    return kind(text)


def with_values(base: Train, dimensions: Sequence[Dimension], raw: Mapping[str, Raw]) -> Train:
    """The flags with the drawn values in place."""
    return replace(base, **{d.flag: d.value(raw[d.flag]) for d in dimensions})


def combinations(dimensions: Sequence[Dimension]) -> list[dict[str, Raw]]:
    """Every combination of choices and range ends; where they are too many, each value with all the first."""
    corners = {d.flag: d.corners() for d in dimensions}
    if math.prod(len(c) for c in corners.values()) <= MOST_COMBINATIONS:
        return [dict(zip(corners, values, strict=True)) for values in itertools.product(*corners.values())]
    first = {flag: values[0] for flag, values in corners.items()}
    return [first | {flag: value} for flag, values in corners.items() for value in values]


def check_values(base: Train, dimensions: Sequence[Dimension]) -> None:
    """Raise UserError for a combination that `mlp train` would refuse; the base alone need not do."""
    for raw in combinations(dimensions):
        try:
            with_values(base, dimensions, raw).check()
        except UserError as error:
            raise UserError(f"--sweep: {words(raw)} cannot be: {error}") from None


def words(raw: Mapping[str, Raw]) -> str:
    """`lr=0.01 hidden=64`."""
    return " ".join(
        f"{flag}={value:.4g}" if isinstance(value, float) else f"{flag}={value}"
        for flag, value in raw.items()
    )
