"""A table of rows by name, where a name may be a call: `huber(delta=0.5)` is huber's row with that option."""

import re
from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

CALL = re.compile(r"(\w+)\((.*)\)")


class Optional(Protocol):
    """A row that can be had with other options than its own."""

    def with_options(self, options: Mapping[str, str]) -> Self:
        """The row with these options, as they were written; ValueError where it has none such."""


Row = TypeVar("Row", bound=Optional)


class Table(dict[str, Row]):
    """Rows by name, in the order in which they are listed; a call of a row's name finds it with its options.

    Raises KeyError for another name, and ValueError, in one line, for options that the row cannot have.
    """

    def __missing__(self, name: str) -> Row:
        base, options = parsed(name)
        if base == name or base not in self:
            raise KeyError(name)
        return self[base].with_options(options)

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
    call = CALL.fullmatch(name.strip())
    if call is None:
        return name, {}
    options: dict[str, Any] = {}
    for part in filter(None, map(str.strip, call[2].split(","))):
        option, equals, value = map(str.strip, part.partition("="))
        if not (option and equals and value) or option in options:
            raise ValueError(f"{name}: options are written as in huber(delta=0.5), each once")
        options[option] = value
    return call[1], options


def base(name: str) -> str:
    """`huber` for `huber(delta=0.5)`."""
    return name.partition("(")[0].strip()
