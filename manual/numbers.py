"""What a formula asks of its numbers, so that one source runs on floats, fractions and proven balls.

NumPy's functions call the element's own method on object arrays (`np.exp` calls `.exp()`), so the
formulas of this package run unchanged on `fractions.Fraction` or `flint.arb`. Only constants, erf and
π need help: they must come from the number system of the argument, never from a float literal.
"""

import math
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_float_erf = np.frompyfunc(math.erf, 1, 1)
_exact_erf = np.frompyfunc(lambda value: value.erf(), 1, 1)


def number(value: float | str, like: Array) -> Any:
    """`value` in the number system of `like`: its dtype, or for object arrays its elements' class.

    A decimal string stands for the decimal itself, so `number("0.1", like)` is 1/10 in fractions and
    the nearest float in floats. A float stands for the binary number that it is.
    """
    if like.dtype == object:
        kind = type(like.flat[0])
        return value if kind is int else kind(value)
    return like.dtype.type(value)


def pi(like: Array) -> Any:
    """π in the number system of `like`; fractions have none and raise AttributeError."""
    return type(like.flat[0]).pi() if like.dtype == object else like.dtype.type(math.pi)


def erf(x: Array) -> Array:
    """The error function, entry by entry; floats are computed in float64 and rounded to x's dtype."""
    if hasattr(x, "erf"):
        return x.erf()
    if x.dtype == object:
        return np.asarray(_exact_erf(x), dtype=object)
    return np.asarray(_float_erf(x)).astype(x.dtype)


def named(function: Any) -> Any:
    """Mark a function of one array that a formula may name instead of writing it out, as sigmoid."""
    return wraps(function)(lambda x: x.named(function) if hasattr(x, "named") else function(x))


def indicator(condition: Array, like: Array) -> Array:
    """1 where `condition` holds, else 0, in the number system of `like`."""
    return np.where(condition, number(1, like), number(0, like))


@named
def sign(x: Array) -> Array:
    """−1, 0 or 1 in the number system of x; 0 where x is NaN, as in torch."""
    return indicator(x > 0, x) - indicator(x < 0, x)
