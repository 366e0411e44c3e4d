"""What the flags of all commands share: choices in the help, and one line for a value that cannot be."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from manual.structure.architecture import choose
from mlp_torch.errors import UserError


def one_of(names: Iterable[str]) -> Any:
    """Shows the choices in the help; they are checked by `check`, which knows the nearest one."""
    return tyro.conf.arg(metavar="{" + ",".join(names) + "}")


def require(condition: bool, flag: str, value: object, rule: str) -> None:
    """Raise UserError "--flag value: rule" unless the condition holds."""
    if not condition:
        raise UserError(f"{flag} {value}: {rule}")


def require_choice(flag: str, kind: str, name: str, choices: Collection[str]) -> None:
    """Raise UserError that names the nearest choice unless `name` is one."""
    try:
        choose(kind, name, choices)
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
    odd = name.startswith(("-", ".")) or name.endswith(".") or name.split(".")[0].upper() in RESERVED
    require(not odd, flag, repr(name), "is no folder's name that is safe on every system; take another")
    require(len(name.encode()) <= 200, flag, f"{name[:20]}…", "is too long; take at most 200 bytes")


def flag_name(name: str) -> str:
    """What a field is called on the command line."""
    return "--" + name.replace("_", "-")


RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
Flags = TypeVar("Flags")


def from_table(kind: type[Flags], table: Mapping[str, Any]) -> Flags:
    """The flags as a configuration file keeps them (`mlp_torch.runs.plain`); other entries are left aside.

    Raises TypeError for values of other types than the flags have.
    """
    found: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass, which no type variable can say
        if field.name in table:
            found[field.name] = _as(hints[field.name], field.name, table[field.name])
    return kind(**found)


def _as(hint: Any, name: str, value: Any) -> Any:
    """The value, of a flag's type: int, float, str, bool, Path, a tuple of one of them, or None too."""
    for kind in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if get_origin(kind) is tuple and isinstance(value, list | tuple):
            return tuple(_as(get_args(kind)[0], name, item) for item in value)
        if kind is Path and isinstance(value, str):
            return Path(value)
        if kind is float and type(value) in (int, float):
            return float(value)
        if kind in (int, str, bool, Path, type(None)) and type(value) is kind:
            return value
    raise TypeError(f"{name} is {value!r}, of another type than {flag_name(name)} takes")
