"""A program: calls with their arrays bound, run one after the other; and the arrays they share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from manual.numbers import Array, number

Call = Callable[[], Any]


class Workspace:
    """Arrays of one dtype: new ones, scratch that all calls of one shape share, constants."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._like = np.empty(0, self.dtype)
        self._scratch: dict[tuple[Any, ...], Array] = {}
        self._numbers: dict[Any, Array] = {}

    def new(self, *shape: int) -> Array:
        """An array of its own."""
        return np.zeros(shape, self.dtype)

    def scratch(self, like: Array, which: int = 0, dtype: Any = None) -> Array:
        """An array of that shape, for a few calls only: the next asker gets the same one."""
        key = (like.shape, which, np.dtype(dtype or self.dtype))
        if key not in self._scratch:
            self._scratch[key] = np.zeros(like.shape, dtype or self.dtype)
        return self._scratch[key]

    def number(self, value: Any) -> Array:
        """A constant as an array of no dimension, which costs a call less than a Python number."""
        if value not in self._numbers:
            self._numbers[value] = np.asarray(number(value, self._like))
        return self._numbers[value]


class Program:
    """`do(function, inputs …, out=array)` writes a call down; `for call in calls: call()` runs them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.calls: list[Call] = []

    def __call__(self, function: Callable[..., Any], *inputs: Any, out: Array, **options: Any) -> Array:
        given = [i if isinstance(i, np.ndarray) else self.number(i) for i in inputs]
        self.calls.append(partial(function, *given, out=out, **options))
        return out

    def copy(self, source: Array, out: Array, where: Array | None = None) -> Array:
        """out ← source, cast and broadcast; only `where`, if given."""
        copy = partial(np.copyto, out, source)
        self.calls.append(copy if where is None else partial(copy, where=where))
        return out

    def indicator(self, condition: Callable[..., Any], *inputs: Any, out: Array) -> Array:
        """1 where the condition holds, else 0."""
        return self.copy(self.mask(condition, *inputs, like=out), out)

    def mask(self, condition: Callable[..., Any], *inputs: Any, like: Array, which: int = 0) -> Array:
        """Where the condition holds, as a scratch array of booleans."""
        return self(condition, *inputs, out=self.workspace.scratch(like, which, bool))

    def broadcast(self, narrow: Array, like: Array) -> Array:
        """A row or a column at full width, as scratch: NumPy's own broadcasting would allocate as much."""
        return self.copy(narrow, self.workspace.scratch(like, 9))

    def scratch(self, like: Array, which: int = 0) -> Array:
        return self.workspace.scratch(like, which)

    def number(self, value: Any) -> Array:
        return self.workspace.number(value)

    def rebound(self, arrays: dict[int, Array]) -> list[Call]:
        """The calls with arrays exchanged: `arrays` gives the new ones by the id of the old."""

        def exchange(call: Call) -> Call:
            if not isinstance(call, partial):
                return call
            inputs = [arrays.get(id(a), a) for a in call.args]
            named = {key: arrays.get(id(a), a) for key, a in call.keywords.items()}
            return partial(call.func, *inputs, **named)

        return [exchange(call) for call in self.calls]
