"""What a run of the author's code may leave changed: globals, caches, generators, attributes of objects."""

import hashlib
import random
from collections import deque
from collections.abc import Mapping
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np

from mlp_torch.check.functions.copies import Copies, author_s_class

PLAIN = (bool, int, float, complex, str, bytes, np.generic, type(None))


def digest(copies: Copies) -> bytes:
    """A digest of everything that copies hold; equal where nothing has changed."""
    found = hashlib.blake2b()
    seen: set[int] = set()
    waiting: list[Any] = [*copies.spaces.values(), *copies.memo.values()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, PLAIN):
            found.update(repr(value).encode())
            continue
        found.update(str(id(value)).encode())
        if id(value) not in seen:
            seen.add(id(value))
            waiting += _parts(value, found)
    return found.digest()


def _parts(value: Any, found: Any) -> list[Any]:
    """What an object is made of; an array's entries go straight into the digest."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O":
            return list(value.ravel())
        found.update(repr(value.shape).encode())
        found.update(np.ascontiguousarray(value).tobytes())
        return []
    if isinstance(value, Mapping):
        return _pairs(value)
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, np.random.Generator):
        return [repr(value.bit_generator.state)]
    if isinstance(value, np.random.RandomState):
        return [repr(value.get_state())]
    if isinstance(value, random.Random):
        return [repr(value.getstate())]
    if isinstance(value, CellType):
        return [_held(value)]
    if isinstance(value, MethodType):
        return [value.__self__]
    if isinstance(value, FunctionType):
        return [value.__defaults__, value.__kwdefaults__, *_pairs(vars(value)), *(value.__closure__ or ())]
    if isinstance(value, type) and author_s_class(value):
        return _pairs(vars(value))
    if not author_s_class(type(value)):
        return []
    slots = [getattr(value, s, None) for c in type(value).__mro__ for s in getattr(c, "__slots__", ())]
    return [*_pairs(getattr(value, "__dict__", {})), *slots]


def _pairs(value: Mapping[Any, Any]) -> list[Any]:
    return [part for pair in value.items() for part in pair]


def _held(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None
