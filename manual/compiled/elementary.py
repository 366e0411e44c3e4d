"""exp, log1p, tanh and sigmoid of one number, in its own precision."""

import math
from typing import Any

from manual.compiled.memory import strict


@strict
def exp(x: Any) -> Any:
    return math.exp(x)


@strict
def expm1(x: Any) -> Any:
    return math.expm1(x)


@strict
def log1p(x: Any) -> Any:
    return math.log1p(x)


@strict
def tanh(x: Any) -> Any:
    return math.tanh(x)


@strict
def sigmoid(z: Any) -> Any:
    one = type(z)(1)
    e = exp(-abs(z))
    return (e if z < 0 else one) / (one + e)
