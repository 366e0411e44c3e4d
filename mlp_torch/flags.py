"""What the flags of all commands share: choices in the help, and one line for a value that cannot be."""

from collections.abc import Iterable
from typing import Any

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
