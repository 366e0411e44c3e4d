"""A program: calls with their arrays bound, run one after the other; and the arrays they share."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from manual.numbers import Array, number

Call = Callable[[], Any]
P = ParamSpec("P")
R = TypeVar("R")


def borrows(write: Callable[P, R]) -> Callable[P, R]:
    """A function that writes calls, and whose scratch is free for later calls once it has written them.

    It is given the program, or is a method of what has it as `do`.
    """

    @wraps(write)
    def written(*args: P.args, **kwargs: P.kwargs) -> R:
        given: Any = [a for a in args if isinstance(a, Program)] or [getattr(args[0], "do", None)]
        do: Program = given[0]
        before = len(do.borrowed)
        result = write(*args, **kwargs)
        while len(do.borrowed) > before:
            do.workspace.give_back(do.borrowed.pop())
        return result

    return written


class Workspace:
    """Arrays of one dtype: new ones, scratch that is lent and given back, constants.

    Two arrays that are lent at the same time are never one, whatever their shapes.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._like = np.empty(0, self.dtype)
        self._free: dict[tuple[Any, ...], list[Array]] = {}
        self._numbers: dict[Any, Array] = {}

    def new(self, *shape: int) -> Array:
        """An array of its own."""
        return np.zeros(shape, self.dtype)

    def lend(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """An array that nobody else has until it is given back; what it holds is left from others."""
        dtype = np.dtype(dtype or self.dtype)
        free = self._free.get((shape, dtype))
        return free.pop() if free else np.zeros(shape, dtype)

    def give_back(self, array: Array) -> None:
        """To be lent again, to calls that come after."""
        self._free.setdefault((array.shape, array.dtype), []).append(array)

    def number(self, value: Any) -> Array:
        """A constant as an array of no dimension, which costs a call less than a Python number."""
        if value not in self._numbers:
            with np.errstate(over="ignore"):  # beyond the dtype it is infinite, and so is the loss
                self._numbers[value] = np.asarray(number(value, self._like))
        return self._numbers[value]


class Program:
    """`do(function, inputs …, out=array)` writes a call down; `for call in calls: call()` runs them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.calls: list[Call] = []
        self.borrowed: list[Array] = []  # until the function that is being written ends
        self._once: list[Array] = []  # until the call that reads it

    def __call__(self, function: Callable[..., Any], *inputs: Any, out: Array, **options: Any) -> Array:
        given = [i if isinstance(i, np.ndarray) else self.number(i) for i in inputs]
        self._write(partial(function, *given, out=out, **options), *given)
        return out

    def _write(self, call: Call, *reads: Array) -> None:
        self.calls.append(call)
        for array in [a for a in self._once if any(a is read or a is read.base for read in reads)]:
            self._once = [a for a in self._once if a is not array]
            self.workspace.give_back(array)

    def copy(self, source: Array, out: Array, where: Array | None = None) -> Array:
        """out ← source, cast and broadcast; only `where`, if given."""
        copy = partial(np.copyto, out, source)
        self._write(*((copy, source) if where is None else (partial(copy, where=where), source, where)))
        return out

    def indicator(self, condition: Callable[..., Any], *inputs: Any, out: Array) -> Array:
        """1 where the condition holds, else 0."""
        return self.copy(self.mask(condition, *inputs, like=out), out)

    def mask(self, condition: Callable[..., Any], *inputs: Any, like: Array) -> Array:
        """Where the condition holds, as an array of booleans that one call may read."""
        return self(condition, *inputs, out=self._for_one_call(like, bool))

    def broadcast(self, narrow: Array, like: Array) -> Array:
        """A row or a column at full width, for one call: NumPy's own broadcasting would allocate as much."""
        return self.copy(narrow, self._for_one_call(like))

    def _for_one_call(self, like: Array, dtype: Any = None) -> Array:
        self._once.append(self.workspace.lend(like.shape, dtype))
        return self._once[-1]

    def scratch(self, like: Array) -> Array:
        """An array of that shape that is no other's until the function that `borrows` it ends."""
        self.borrowed.append(self.workspace.lend(like.shape))
        return self.borrowed[-1]

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
