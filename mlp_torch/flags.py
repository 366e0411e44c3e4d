"""What the flags of all commands share: choices in the help, and one line for a value that cannot be."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import tyro

from manual.architecture import choose
from mlp_torch.errors import UserError


def one_of(names: Iterable[str]) -> Any:
    """Shows the choices in the help; they are checked by `check`, which knows the nearest one."""
    return tyro.conf.arg(metavar="{" + ",".join(names) + "}")


def require(condition: bool, flag: str, value: object, rule: str) -> None:
    """Raise UserError "--flag value: rule" unless the condition holds."""
    if not condition:
        raise UserError(f"{flag} {value}: {rule}")


def require_choice(flag: str, kind: str, name: str, choices: Iterable[str]) -> None:
    """Raise UserError that names the nearest choice unless `name` is one."""
    try:
        choose(kind, name, list(choices))
    except ValueError as error:
        raise UserError(f"{flag}: {error}") from None


def require_folder_name(flag: str, name: str) -> None:
    """Raise UserError unless `name` can be one folder's name on every system."""
    plain = name == name.strip() and name.isprintable()
    require(
        plain and name not in ("", ".", "..") and not set(name) & set('/\\:*?"<>|'),
        flag,
        repr(name),
        "must be the plain name of one folder, without separators; --runs-dir says where the runs lie",
    )


def flag_name(name: str) -> str:
    """What a field is called on the command line."""
    return "--" + name.replace("_", "-")


Flags = TypeVar("Flags")


def from_table(kind: type[Flags], table: Mapping[str, Any]) -> Flags:
    """The flags as a configuration file keeps them (`mlp_torch.runs.plain`); other entries are left aside.

    Raises TypeError for values of other types than the flags have.
    """
    found: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass, which no type variable can say
        if field.name not in table:
            continue
        value = table[field.name]
        if isinstance(value, list):
            value = tuple(value)
        if isinstance(value, str) and "Path" in str(field.type):
            value = Path(value)
        found[field.name] = value
    return kind(**found)
