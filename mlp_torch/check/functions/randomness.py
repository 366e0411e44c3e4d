"""Functions that draw new random numbers in every call: they have a gradient, and another one each time."""

import inspect
import random
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import numpy as np

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
SOURCES = {
    "default_rng", "RandomState", "SystemRandom", "urandom", "token_bytes", "SeedSequence", "Philox", "PCG64",
    "MT19937", "SFC64", "random", "randn", "rand", "normal", "uniform", "choice", "binomial", "permutation",
}  # fmt: skip
CAUSE = "your function draws new random numbers in every call, so that its loss is another one each time"
REMEDY = "pass a seed, or the numbers drawn (the dropout mask, the noise), in as data"


def draws(function: Any, seen: set[int] | None = None, depth: int = 0) -> bool:
    """Whether a generator, or a function that makes one, is within the author's function's reach."""
    seen = set() if seen is None else seen
    if id(function) in seen or depth > 6:
        return False
    seen.add(id(function))
    if isinstance(function, GENERATORS):
        return True
    for inner in _reached(function):
        if draws(inner, seen, depth + 1):
            return True
    code = getattr(function, "__code__", None)
    return code is not None and bool(SOURCES & set(code.co_names))


def _reached(value: Any) -> list[Any]:
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, FunctionType):
        held = inspect.getclosurevars(value)
        own = value.__module__
        near = [
            v
            for v in held.globals.values()
            if isinstance(v, GENERATORS) or getattr(v, "__module__", 0) == own
        ]
        return [*near, *held.nonlocals.values()]
    if isinstance(value, type):
        return [v for v in vars(value).values() if isinstance(v, FunctionType)]
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)[:100]
    if hasattr(value, "__dict__") and not inspect.ismodule(value):
        return [*vars(value).values(), type(value)]
    return []


def unsettled(call: Callable[..., Any], first: Any, second: Any) -> str:
    """The cause, where two calls with the same arguments give two losses, or ""."""
    if np.array_equal(np.asarray(first), np.asarray(second), equal_nan=True) or not draws(call):
        return ""
    return f"{CAUSE} ({np.asarray(first).item():.6g}, then {np.asarray(second).item():.6g})"
