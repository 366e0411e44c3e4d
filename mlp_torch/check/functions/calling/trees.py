"""Arrays inside anything: dicts, lists, named tuples, dataclasses and objects, by the path to them."""

import copy
import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mlp_torch.check.describe.layers import _numpy as as_numpy

# One step is ("key", k), ("item", i) or ("attribute", name); a path is the steps from the outside in.
Step = tuple[str, Any]
Path = tuple[Step, ...]
Change = Callable[[Any], Any]  # of a leaf; what it leaves as it is may be a container

DEEP = 6  # containers inside containers; whatever lies deeper is no parameter


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | complex | np.number) and not isinstance(value, bool | np.bool_)


def is_array(value: Any) -> bool:
    """An array, a number, or what NumPy can take for one (a tensor)."""
    return isinstance(value, np.ndarray) or is_number(value) or hasattr(value, "detach")


def is_matrix(value: Any) -> bool:
    """Numbers in lists of equal length, two deep or more: an array in plain Python."""
    if not (isinstance(value, list | tuple) and value and all(isinstance(v, list | tuple) for v in value)):
        return False
    return rectangular(value)


def rectangular(value: Any) -> bool:
    if not isinstance(value, list | tuple):
        return is_number(value)
    sizes = {len(v) if isinstance(v, list | tuple) else -1 for v in value}
    return len(sizes) == 1 and all(rectangular(v) for v in value)


def is_record(value: Any) -> bool:
    """An object that may hold arrays in its attributes."""
    plain = (str, bytes, type, np.generic, np.dtype, np.random.Generator, np.random.RandomState)
    if isinstance(value, plain) or inspect.isroutine(value) or isinstance(value, types.ModuleType):
        return False
    return not is_array(value) and bool(hasattr(value, "__dict__") or dataclasses.is_dataclass(value))


def members(value: Any) -> Iterator[tuple[Step, Any]]:
    """What a container holds, with the step that leads there; nothing for what is none."""
    if isinstance(value, Mapping):
        yield from ((("key", k), v) for k, v in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((("attribute", k), getattr(value, k)) for k in value._fields)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield from ((("item", i), v) for i, v in enumerate(value))
    elif is_record(value):
        names = (
            [f.name for f in dataclasses.fields(value)]
            if dataclasses.is_dataclass(value)
            else list(vars(value))
        )
        names += [n for n in getattr(value, "__dict__", ()) if n not in names]
        yield from ((("attribute", n), getattr(value, n)) for n in names if hasattr(value, n))


def leaves(tree: Any, path: Path = ()) -> dict[Path, Any]:
    """Every array of the tree by its path; text, flags, functions and None are no arrays."""
    if is_array(tree):
        return {path: tree}
    if is_matrix(tree):
        return {path: np.asarray(tree)}
    if isinstance(tree, list | tuple) and tree and all(is_number(v) for v in tree):
        return {path: np.asarray(tree)}
    found: dict[Path, Any] = {}
    if len(path) < DEEP:
        for step, value in members(tree):
            found |= leaves(value, (*path, step))
    return found


def get(tree: Any, path: Path) -> Any:
    """What lies there. Raises KeyError, IndexError, AttributeError or TypeError where nothing does."""
    for kind, name in path:
        tree = getattr(tree, name) if kind == "attribute" else tree[name]
    return tree


def rebuilder(tree: Any, names: Mapping[Path, str], path: Path = ()) -> Callable[[Mapping[str, Any]], Any]:
    """Arrays by name → the tree with them in place of its own; containers on the way are copied.

    All looking up is done here, so that what is returned can be traced.
    """
    if path in names:
        own = names[path]
        return lambda arrays: arrays[own]
    if not any(p[: len(path)] == path for p in names):
        return lambda arrays: tree
    parts = [(step[1], rebuilder(value, names, (*path, step))) for step, value in members(tree)]
    if type(tree) is dict:
        return lambda arrays: {k: part(arrays) for k, part in parts}
    if type(tree) is list:
        return lambda arrays: [part(arrays) for _, part in parts]
    if isinstance(tree, tuple):
        make = type(tree) if hasattr(tree, "_fields") else None
        return lambda arrays: _tuple(make, [part(arrays) for _, part in parts])
    inside = {p[len(path)] for p in names if p[: len(path)] == path}
    kept = [(step, rebuilder(value, names, (*path, step))) for step, value in members(tree) if step in inside]
    frozen = bool(getattr(getattr(tree, "__dataclass_params__", None), "frozen", False))

    def record(arrays: Mapping[str, Any]) -> Any:
        made = copy.copy(tree)
        for (kind, name), part in kept:
            if kind != "attribute":
                made[name] = part(arrays)
            elif frozen:
                object.__setattr__(made, name, part(arrays))
            else:
                setattr(made, name, part(arrays))
        return made

    return record


def _tuple(make: Callable[..., Any] | None, items: list[Any]) -> Any:
    return tuple(items) if make is None else make(*items)


def assign(tree: Any, path: Path, value: Any) -> None:
    """Put the value there, in place. Raises TypeError for a tuple or a frozen record."""
    holder = get(tree, path[:-1])
    kind, name = path[-1]
    if kind == "attribute":
        setattr(holder, name, value)
    else:
        holder[name] = value


def in_numpy(tree: Any) -> Any:
    """The same with an array for every tensor."""
    found = {p: v for p, v in leaves(tree).items() if hasattr(v, "detach")}
    if not found:
        return tree
    names = {p: str(i) for i, p in enumerate(found)}
    arrays = {names[p]: as_numpy(v) for p, v in found.items()}
    return rebuilder(tree, names)(arrays)


def mapped(tree: Any, change: Change, deep: int = DEEP) -> Any:
    """The same with every leaf changed; containers are copied."""
    leaf = change(tree)
    if leaf is not tree or deep < 0:
        return leaf
    if type(tree) is dict:
        return {k: mapped(v, change, deep - 1) for k, v in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(mapped(v, change, deep - 1) for v in tree)
    if not (is_record(tree) or hasattr(tree, "_fields")):
        return tree
    inside = {name: mapped(v, change, deep - 1) for (_, name), v in members(tree)}
    if hasattr(tree, "_fields"):
        return type(tree)(**inside)
    made = copy.copy(tree)
    for name, value in inside.items():
        object.__setattr__(made, name, value)
    return made


def written(path: Path) -> str:
    """A name that a person reads: W1, layers.0.W."""
    return ".".join(str(name) for _, name in path)
