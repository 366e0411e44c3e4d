"""Arrays as bits, and the problem that tests of the network share."""

from typing import Any

from manual.numbers import Array
from tests.problems import Problem

PROBLEM = Problem(7, (5, 13, 11, 3), seed=2)


def bits(arrays: dict[str, Array]) -> dict[str, tuple[Any, ...]]:
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}


def copies(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: a.copy() for name, a in arrays.items()}
