"""What stands behind a function, method or object: the callable, its parameters' names, data and keywords."""

import copy
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from mlp_torch.check.functions.calling import objects
from mlp_torch.check.functions.calling.calls import heard, told
from mlp_torch.check.functions.calling.orders import (
    positional,
    signature,
    unpacked,
)
from mlp_torch.check.functions.calling.results import Form
from mlp_torch.check.functions.calling.trees import Path, get, is_record, leaves, written
from mlp_torch.check.functions.calling.vocabulary import DESCRIPTION, PARAMETERS
from mlp_torch.errors import UserError


@dataclass(frozen=True)
class Target:
    """The callable behind a function, a method or an object, before its arguments' order is known."""

    bind: Callable[[str], Callable[..., Any]]
    tree: Any  # the parameters as the author nests them
    paths: Mapping[str, Path]
    data: tuple[Any, ...]
    function: Callable[..., Any]  # whose signature and source count
    holds: bool = False  # an object holds the parameters: the call is always (parameters, *data)
    notes: tuple[str, ...] = ()


# the target, the keyword arguments that are the function's own, those that describe the network
Found = tuple[Target, dict[str, Any], dict[str, Any]]


def targets(
    function: Any, parameters: Any, data: tuple[Any, ...], options: Mapping[str, Any]
) -> tuple[Iterator[Callable[[], Found]], Callable[[list[UserError]], UserError]]:
    """(what may be meant, the likeliest first; the error to raise where none of it runs)."""
    if isinstance(function, type):
        raise UserError(f"{function.__name__} is a class; give an object of it, or its method")
    if objects.is_net(function):
        return _object(function, parameters, data, options)
    if not callable(function):
        raise UserError(f"check_function(f, parameters, x, y): f is a {type(function).__name__}, no function")

    def only() -> Found:
        owner = getattr(function, "__self__", None)
        if owner is not None and not inspect.ismodule(owner) and not isinstance(owner, type):
            held = _method(function, owner, parameters, data, options)
            if held is not None:
                return held
        return _plain(function, parameters, data, options)

    return iter([only]), lambda failed: failed[0]


def _plain(function: Any, parameters: Any, data: tuple[Any, ...], options: Mapping[str, Any]) -> Found:
    extras, description, data = sort_out(function, options, data, 1)
    names = _names(parameters, function)
    return Target(lambda use: function, parameters, names, data, function), extras, description


def _names(tree: Any, function: Callable[..., Any]) -> dict[str, Path]:
    """The parameters' names: keys and attributes; for a list the author's own variables, or params[0]."""
    paths = list(leaves(tree))
    if not paths:
        kind = type(tree).__name__
        raise UserError(
            f"parameters: a {kind} without any array; give arrays by name, such as {{'W1': W1, 'b1': b1}}"
        )
    if paths == [()]:
        first = next(iter(getattr(signature(function), "parameters", ())), "")
        return {
            first if first.isidentifier() and first.lower() not in ("self", "x", "args") else "parameter": ()
        }
    if paths[0][0][0] != "item":
        return {written(p): p for p in paths}
    if all(len(p) == 1 for p in paths) and (called := unpacked(function, len(paths))):
        return dict(zip(called, paths, strict=True))
    first = next(
        (n for n in getattr(signature(function), "parameters", ()) if n.lower() in PARAMETERS), "params"
    )
    return {f"{first}[{p[0][1]}]" + "".join(f".{n}" for _, n in p[1:]): p for p in paths}


def _method(
    function: Callable[..., Any],
    owner: Any,
    parameters: Any,
    data: tuple[Any, ...],
    options: Mapping[str, Any],
) -> Found | None:
    """A method whose object holds the parameters, given or found; None where they are its argument."""
    if objects.belongs(function, parameters, data):
        return None
    paths, rest = objects.home(owner, parameters), data
    if paths is None:
        first = next(iter(getattr(signature(function), "parameters", ())), "").lower()
        if first in PARAMETERS or not isinstance(parameters, np.ndarray | list | tuple | None):
            return None
        paths, rest = objects.found(owner), (() if parameters is None else (parameters,)) + data
    if not paths:
        return None
    name = function.__name__

    def run(net: Any, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        return getattr(net, name)(*given, **named)

    extras, description, rest = sort_out(function, options, rest, 0)
    return _held(owner, paths, parameters, rest, run, function, extras), extras, description


def _object(
    net: Any, parameters: Any, data: tuple[Any, ...], options: Mapping[str, Any]
) -> tuple[Iterator[Callable[[], Found]], Callable[[list[UserError]], UserError]]:
    """An object: the first of its methods that gives a loss and gradients is what is judged."""
    paths, rest, given = objects.home(net, parameters), data, parameters
    if paths is None:
        paths, rest, given = objects.found(net), (() if parameters is None else (parameters,)) + data, None
    if callable(net) and given is None and not paths:
        return iter([lambda: _plain(net, parameters, data, options)]), lambda failed: failed[0]

    def way(shown: str, run: objects.Run) -> Found:
        method = getattr(net, shown.partition("(")[0])
        extras, description, left = sort_out(method, options, rest, 0)
        target = _held(net, paths, given, left, run, method, extras)
        said = f"note: {type(net).__name__} was called as {shown}"
        return replace(target, notes=(*target.notes, said)), extras, description

    def trouble(failed: list[UserError]) -> UserError:
        raised = [str(e) for e in failed if "your function" in str(e)][:1]
        if raised and len(failed) == 1:
            return failed[0]
        return UserError("; ".join([*raised, str(objects.helpless(net, len(rest)))]))

    ways = (functools.partial(way, *protocol) for protocol in objects.protocols(net, len(rest)))
    called = [lambda: _plain(net, parameters, data, options)] if callable(net) else []
    return itertools.chain(ways, called), trouble


def _held(
    net: Any, paths: Mapping[str, Path], parameters: Any, data: tuple[Any, ...], run: objects.Run,
    function: Callable[..., Any], extras: Mapping[str, Any],
) -> Target:  # fmt: skip
    """A target around an object, after one trial that shows where its gradients are left."""
    values = {n: get(net, p) for n, p in paths.items()}
    if parameters is not None and objects.home(net, parameters) is not None:
        given = {written(p): v for p, v in leaves(parameters).items()}
        values |= {n: v for n, v in given.items() if n in values}
    own = copy.deepcopy(net)
    with heard():
        np.random.seed(0)
        result = told(run, own, copy.deepcopy(data), copy.deepcopy(dict(extras)))
    collect = None
    kept = objects.stored(own, paths)
    if not _gives(result) and kept:
        where: Path = (("item", 0),) if isinstance(result, tuple) else ()
        collect = Form(where, ())
        paths = {n: p for n, p in paths.items() if n in kept}
    values = {n: values[n] for n in paths}
    tree = {n: (np.array(v) if isinstance(v, np.ndarray) else v) for n, v in values.items()}
    home = dict(paths)

    def bind(use: str) -> Callable[..., Any]:
        return objects.bound(net, home, run, use, collect)

    return Target(bind, tree, {n: (("key", n),) for n in paths}, data, function, True)


def _gives(result: Any) -> bool:
    """The result itself may hold the gradients; else they are left in the object."""
    if not isinstance(result, tuple | list | Mapping) and not is_record(result):
        return False
    return not (isinstance(result, tuple | list) and len(result) == 2 and result[1] is None)


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
