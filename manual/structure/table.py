"""A table of rows by name, where a name may be a call: `huber(delta=0.5)` is huber's row with that option."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

CALL = re.compile(r"(\w+)\((.*)\)")
Row = TypeVar("Row")  # a dataclass with a name and options


class Table(dict[str, Row]):
    """Rows by name, in the order in which they are listed; a call of a row's name finds it with its options.

    Raises KeyError for another name, and ValueError, in one line, for options that the row cannot have.
    """

    def __missing__(self, name: str) -> Row:
        row, options = parsed(name)
        if row == name or row not in self:
            raise KeyError(name)
        return with_options(self[row], options)

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name) or not isinstance(name, str):
            return super().__contains__(name)
        try:
            self[name]
        except (KeyError, ValueError):
            return False
        return True


def parsed(name: str) -> tuple[str, dict[str, str]]:
    """`("huber", {"delta": "0.5"})` for `huber(delta=0.5)`; a name that is no call has no options."""
    call, options = CALL.fullmatch(name.strip()), dict[str, str]()
    if call is None and "(" not in name:
        return name, options
    told = f"{name}: options are written as in huber(delta=0.5), each once"
    if call is None:
        raise ValueError(told)
    for part in filter(None, map(str.strip, call[2].split(","))):
        option, _, value = map(str.strip, part.partition("="))
        if not (option and value) or option in options:
            raise ValueError(told)
        options[option] = value
    return call[1], options


def base(name: str) -> str:
    """`huber` for `huber(delta=0.5)`."""
    return name.partition("(")[0].strip()


def with_options(row: Any, options: Mapping[str, str]) -> Any:
    """The row with other options. Raises ValueError for one that it lacks, or a value that cannot be."""
    for name, value in options.items():
        if name not in row.options:
            known = f"it takes {', '.join(row.options)}" if row.options else "it takes none"
            raise ValueError(f"{row.name} has no option {name!r}: {known}")
        try:
            good = 0 < float(value) < math.inf
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"{row.name}({name}={value}): {name} is a finite number above 0")
    return replace(row, options={**row.options, **options})
