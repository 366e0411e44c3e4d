"""Where the values of a record lie, by intervals: what holds an argument in the domain of its function."""

import math
from collections.abc import Callable

from manual.recorded.constants import nearest
from manual.recorded.record import Recorded

Interval = tuple[float, float]
EVERYTHING = -math.inf, math.inf
POSITIVE = math.ulp(0.0), math.inf
SIGNED = ("z", "slope", "negative_slope", "da", "output", "y")  # the others: a loss's options and its count
RANGES: dict[str, Interval] = {"tanh": (-1.0, 1.0), "erf": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
INCREASING: dict[str, Callable[[float], float]] = {
    "exp": lambda v: math.exp(v) if v < 700 else math.inf,
    "expm1": lambda v: math.expm1(v) if v < 700 else math.inf,
    "log1p": lambda v: math.log1p(v) if v > -1 else -math.inf,
    "log": lambda v: math.log(v) if v > 0 else -math.inf,
    "sqrt": lambda v: math.sqrt(max(v, 0)),
}


def interval(node: Recorded) -> Interval:
    """Least and largest value for all finite inputs; −∞ and ∞ where nothing better is known."""
    if node.constant:
        return nearest(node), nearest(node)
    if node.op == "input":
        return EVERYTHING if node.value in SIGNED else POSITIVE
    if node.op in RANGES:
        return RANGES[node.op]
    arguments = [interval(a) for a in node.args]
    if node.op in INCREASING:
        low, high = (INCREASING[node.op](end) for end in arguments[0])
        return low, high
    rule = RULES.get(node.op)
    if node.op == "mul" and node.args[0] is node.args[1]:
        return 0.0, _product(*arguments)[1]
    return rule(*arguments) if rule else EVERYTHING


def _product(x: Interval, y: Interval) -> Interval:
    corners = [p * q if p and q else 0.0 for p in x for q in y]
    return min(corners), max(corners)


def _quotient(x: Interval, y: Interval) -> Interval:
    if y[0] <= 0 <= y[1]:
        return EVERYTHING
    return _product(x, (1 / y[1], 1 / y[0]))


RULES: dict[str, Callable[..., Interval]] = {
    "neg": lambda x: (-x[1], -x[0]),
    "abs": lambda x: (max(x[0], -x[1], 0.0), max(-x[0], x[1])),
    "min": lambda x, y: (min(x[0], y[0]), min(x[1], y[1])),
    "max": lambda x, y: (max(x[0], y[0]), max(x[1], y[1])),
    "add": lambda x, y: (x[0] + y[0], x[1] + y[1]),
    "sub": lambda x, y: (x[0] - y[1], x[1] - y[0]),
    "mul": _product,
    "div": _quotient,
    "select": lambda c, x, y: (min(x[0], y[0]), max(x[1], y[1])),
}
