"""Whose a keyword argument of check_function is: the author's function's, or the description's."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from mlp_torch.check.functions.calling.orders import positional, signature
from mlp_torch.check.functions.calling.vocabulary import DESCRIPTION
from mlp_torch.errors import UserError


def sort_out(
    function: Callable[..., Any], options: Mapping[str, Any], data: tuple[Any, ...], before: int
) -> tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]:
    """(the function's keyword arguments, the description, the data with x= and y= put in their places).

    `before`: how many arguments come before the data. A name that both know is the function's, unless its
    place is taken already. Raises UserError for a name that neither knows.
    """
    shape = signature(function)
    own = shape.parameters if shape else {}
    free = [p.name for p in own.values() if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD,
                                                       inspect.Parameter.KEYWORD_ONLY)]  # fmt: skip
    taken = {p.name for p in positional(shape)[: before + len(data)]}
    spread = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own.values())
    extras: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, value in options.items():
        if name in free and (name not in taken or name not in DESCRIPTION):
            extras[name] = value
        elif name in DESCRIPTION:
            described[name] = value
        elif spread or shape is None:
            extras[name] = value
        else:
            raise UserError(_unknown(name, getattr(function, "__name__", "the function"), free))
    places = positional(shape)[before + len(data) :]
    while places and places[0].name in extras and places[0].default is inspect.Parameter.empty:
        data = (*data, extras.pop(places.pop(0).name))
    return extras, described, data


def _unknown(name: str, function: str, own: list[str]) -> str:
    near = get_close_matches(name, [*own, *DESCRIPTION], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return (
        f"{name}= is unknown: {hint}{function} takes {', '.join(own) or 'no keywords'}; a description's "
        f"options are {', '.join(DESCRIPTION)} (a name in both is {function}'s)"
    )
