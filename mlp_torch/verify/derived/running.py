"""Running error analysis: from a record of operations, how far any evaluation of it may stray.

Wilkinson; Higham 2002, section 3.3. Of every value v is what float64 finds, t the truth and c what the
judged arithmetic finds: |v − t| ≤ e and |c − t| ≤ e, so |t| ≤ |v| + e and |c| ≤ |v| + 2 e. An operation
adds to what its arguments' errors move its own rounding, at most γ (|v| + 2 moved).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.recorded import Recorded, walk
from manual.recorded.constants import nearest
from mlp_torch.verify.rounding import ELEMENTARY, Rounding, erf, up


@dataclass(frozen=True)
class Value:
    """The float64 value and its error; of a condition, whether it is in doubt."""

    v: Any
    e: Any

    @property
    def size(self) -> Any:
        """|c| and |t| at most."""
        return np.abs(self.v) + 2 * self.e

    @property
    def least(self) -> Any:
        """|c| and |t| at least."""
        return np.maximum(np.abs(self.v) - 2 * self.e, 0)


def _reciprocal(x: Any) -> Any:
    return np.where(x > 0, 1 / np.maximum(x, 1e-300), np.inf)


# One row an elementary function: its value, and its largest slope near x.
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Value], Any]]] = {
    "exp": (np.exp, lambda x: np.exp(x.v + 2 * x.e)),
    "expm1": (np.expm1, lambda x: np.exp(x.v + 2 * x.e)),
    "log": (np.log, lambda x: _reciprocal(x.v - 2 * x.e)),
    "log1p": (np.log1p, lambda x: _reciprocal(1 + x.v - 2 * x.e)),
    "sqrt": (np.sqrt, lambda x: _reciprocal(2 * np.sqrt(np.maximum(x.v - 2 * x.e, 0)))),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(np.minimum(x.least, 350)) ** 2),
    "erf": (erf, lambda x: 1.13 * np.exp(-(x.least**2))),  # 2/√π
}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
LOGIC: dict[str, Callable[..., Any]] = {
    "not": np.logical_not,
    "or": np.logical_or,
    "and": np.logical_and,
}


def _rounded(v: Any, moved: Any, r: Rounding, units: float = 1, lost: Any = None) -> Value:
    """A result with its own rounding; `lost` below the normal numbers; nothing where it may overflow."""
    size = np.abs(v) + 2 * moved
    e = moved + r.gamma(units) * size + (r.tiny if lost is None else lost)
    return Value(v, np.where(r.fits(size), e, np.inf))


def _add(x: Value, y: Value, r: Rounding, sign: int = 1) -> Value:
    v, moved = x.v + sign * y.v, x.e + y.e
    # a sum that is too small for a normal number is exact, unless it is flushed
    return _rounded(v, moved, r, lost=np.minimum(r.tiny, np.abs(v) + 2 * moved))


def _multiply(x: Value, y: Value, r: Rounding) -> Value:
    zero = ((x.v == 0) & (x.e == 0)) | ((y.v == 0) & (y.e == 0))
    moved = np.where(zero, 0.0, x.size * y.e + y.size * x.e)
    return _rounded(np.where(zero, 0.0, x.v * y.v), moved, r, lost=np.where(zero, 0.0, r.tiny))


# c/c' − t/t' = ((c − t) − (t/t') (c' − t')) / c'
def _divide(x: Value, y: Value, r: Rounding) -> Value:
    inverse = _reciprocal(y.least)
    moved = np.where(x.e + y.e > 0, (x.e + x.size * inverse * y.e) * inverse, 0.0)
    return _rounded(x.v / y.v, moved, r)


def _choose(c: Value, x: Value, y: Value, r: Rounding) -> Value:
    doubt = np.abs(x.v - y.v) + 2 * (x.e + y.e)
    return Value(np.where(c.v, x.v, y.v), np.where(c.e, doubt, np.where(c.v, x.e, y.e)))


def _extreme(x: Value, y: Value, first: Any) -> Value:
    near = np.abs(x.v - y.v) <= 2 * (x.e + y.e)
    e = np.where(near, np.maximum(x.e, y.e), np.where(first, x.e, y.e))
    return Value(np.where(first, x.v, y.v), e)


def _function(op: str, x: Value, r: Rounding) -> Value:
    function, slope = FUNCTIONS[op]
    moved, v = np.where(x.e > 0, slope(x) * x.e, 0.0), function(x.v)
    if op == "erf" and r.erf > ELEMENTARY:  # torch's fast one keeps its error where erf x is small
        return _rounded(v, moved, r, ELEMENTARY, r.gamma(r.erf))
    return _rounded(v, moved, r, ELEMENTARY)


# One row an operation on numbers.
OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": _add,
    "sub": lambda x, y, r: _add(x, y, r, -1),
    "mul": _multiply,
    "div": _divide,
    "neg": lambda x, r: Value(-x.v, x.e),
    "abs": lambda x, r: Value(np.abs(x.v), x.e),
    "min": lambda x, y, r: _extreme(x, y, x.v < y.v),
    "max": lambda x, y, r: _extreme(x, y, x.v > y.v),
    "select": _choose,
}


def _constant(node: Recorded, r: Rounding) -> Value:
    """A constant is rounded once, unless it is a float of the judged arithmetic."""
    c = np.float64(nearest(node))
    judged = np.float32 if r.u > 2.0**-50 else np.float64
    one = node.op == "const" and node.value == c and judged(c) == c
    return Value(c, np.float64(0.0 if one else r.gamma(1) * abs(c)))


def _step(node: Recorded, found: Mapping[Recorded, Value], r: Rounding) -> Value:
    if node.constant:
        return _constant(node, r)
    x = [found[a] for a in node.args]
    if node.op in COMPARISONS:
        near = np.abs(x[0].v - x[1].v) <= 2 * (x[0].e + x[1].e)
        return Value(COMPARISONS[node.op](x[0].v, x[1].v), near & (x[0].e + x[1].e > 0))
    if node.op in LOGIC:
        doubt = x[0].e if len(x) == 1 else x[0].e | x[1].e
        return Value(LOGIC[node.op](*(c.v for c in x)), doubt)
    if node.op in OPERATIONS:
        return OPERATIONS[node.op](*x, r)
    return _function(node.op, x[0], r)


def errors(roots: Sequence[Recorded], given: Mapping[Recorded, Array], r: Rounding) -> list[Array]:
    """How far each root may be off where `given`, all of one shape, are exact. Infinite: nothing is known.

    Raises KeyError for an operation that has no row here.
    """
    found = {node: Value(v, np.zeros_like(v)) for node, v in given.items()}
    shape = np.broadcast_shapes(*(v.shape for v in given.values()))
    with np.errstate(all="ignore"):
        for node in walk(roots, list(found)):
            found[node] = _step(node, found, r)
        bounds = (np.broadcast_to(up(np.asarray(found[root].e, dtype=np.float64)), shape) for root in roots)
        return [np.where(np.isnan(bound), np.inf, bound) for bound in bounds]
