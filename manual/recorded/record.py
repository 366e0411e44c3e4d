"""A number that writes down what is done to it: a formula run on it becomes a graph, each value once.

`Recorded` answers NumPy's protocols (NEP 13 `__array_ufunc__`, NEP 18 `__array_function__`), so that
`np.exp(z)`, `np.where(z > 0, z, 0)`, `number("0.1", z)`, `erf(z)` and `pi(z)` run on it as they are written.
What one cannot write down (a sum along an axis, a choice by `if`) raises TypeError.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

# An operation by its arguments: numbers to a number, numbers to a condition, conditions to a condition.
ARITHMETIC = ("add", "sub", "mul", "div", "neg", "abs", "min", "max")  # min and max pass NaN, as NumPy's
FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "erf")
COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
LOGIC = ("not", "or", "and")
CONDITIONS = frozenset((*COMPARISONS, *LOGIC))
# Besides them "select" (condition, then, else), and without arguments "input", "const" and "pi".
UFUNCS: dict[np.ufunc, str] = {
    **{getattr(np, name): name for name in FUNCTIONS if name != "erf"},
    **{np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "div", np.negative: "neg"},
    **{np.absolute: "abs", np.minimum: "min", np.maximum: "max"},
    **{np.greater: "gt", np.greater_equal: "ge", np.less: "lt", np.less_equal: "le"},
    **{np.equal: "eq", np.not_equal: "ne"},
    **{np.invert: "not", np.bitwise_or: "or", np.bitwise_and: "and"},
    **{np.logical_not: "not", np.logical_or: "or", np.logical_and: "and"},
}
EXACT: dict[str, Callable[..., Fraction]] = {
    "add": Fraction.__add__,
    "sub": Fraction.__sub__,
    "mul": Fraction.__mul__,
    "div": Fraction.__truediv__,
    "neg": Fraction.__neg__,
}


class Record:
    """All values of one formula, each once: who asks twice for z · z gets the same `Recorded`.

    `simplify` gives a value by a cheaper one, if there is one (`simplify.simplified`); without it the record
    is the formula as it is written. `opaque` names the functions marked by `numbers.named` that stay one
    operation of that name, instead of what is in them.
    """

    def __init__(
        self, simplify: "Callable[..., Recorded | None] | None" = None, opaque: Iterable[str] = ()
    ) -> None:
        self.simplify, self.opaque = simplify, frozenset(opaque)
        self.table: dict[Any, Recorded] = {}

    def input(self, name: str) -> "Recorded":
        """The value that is given under that name."""
        return self.node("input", (), name)

    def constant(self, value: Any) -> "Recorded":
        """A decimal string or an int is meant exactly, a float is the binary number that it is, but for π."""
        if isinstance(value, Recorded):
            return value
        if isinstance(value, float) and value == math.pi:  # what `numbers.pi` asks for
            return self.node("pi", ())
        return self.node("const", (), Fraction(value.item() if isinstance(value, np.generic) else value))

    def node(self, op: str, args: "tuple[Recorded, ...]", value: Any = None) -> "Recorded":
        """That very operation, whatever `simplify` says."""
        key = op, tuple(a.index for a in args), value
        if key not in self.table:
            self.table[key] = Recorded(self, op, args, value, len(self.table))
        return self.table[key]

    def make(self, op: str, *given: Any) -> "Recorded":
        """The value of an operation on values and numbers."""
        args = tuple(self.constant(a) for a in given)
        found = self.simplify(self, op, *args) if self.simplify else None
        return self.node(op, args) if found is None else found


@dataclass(eq=False, repr=False)
class Recorded:
    """One value: the operation `op` that makes it, from which `args`.

    `value` is the name of an input or the Fraction of a constant; `constant` says that it depends on no
    input; `index` is its place in the record: arguments come before what is made of them.
    """

    record: Record
    op: str
    args: "tuple[Recorded, ...]"
    value: Any
    index: int

    def __post_init__(self) -> None:
        made = bool(self.args) and all(a.constant for a in self.args)
        self.constant: bool = self.op in ("const", "pi") or made
        self.dtype = SimpleNamespace(type=self.record.constant)  # what `numbers.number` makes constants with

    @property
    def condition(self) -> bool:
        """Whether it is true or false, and not a number."""
        return self.op in CONDITIONS

    def is_(self, number: int) -> bool:
        """Whether it is that constant."""
        return self.op == "const" and bool(self.value == number)

    def erf(self) -> "Recorded":
        """What `numbers.erf` asks for."""
        return self.record.make("erf", self)

    def named(self, function: "Callable[[Any], Any]") -> "Recorded":
        """What a function marked by `numbers.named` asks for: one operation, or all that is in it."""
        name = function.__name__
        return self.record.make(name, self) if name in self.record.opaque else function(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> "Recorded":
        if method == "__call__" and not options:
            if ufunc in UFUNCS:
                return self.record.make(UFUNCS[ufunc], *inputs)
            if ufunc is np.square:
                return self * self
            if ufunc is np.reciprocal:
                return self.record.make("div", 1, self)
            if ufunc is np.positive:
                return self
        raise TypeError(f"np.{ufunc.__name__} cannot be recorded")

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> "Recorded":
        if function is np.where and len(args) == 3:
            return self.record.make("select", *args)
        if function in (np.ones_like, np.zeros_like):
            return self.record.constant(int(function is np.ones_like))
        raise TypeError(f"np.{function.__name__} cannot be recorded")

    def __bool__(self) -> bool:
        raise TypeError("a recorded comparison is not known yet: choose with np.where")

    def __pow__(self, exponent: Any) -> "Recorded":
        if exponent not in range(1, 9):
            raise TypeError(f"z ** {exponent} cannot be recorded: write a product")
        power = self
        for _ in range(exponent - 1):
            power = self.record.make("mul", power, self)
        return power

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> "Recorded":  # type: ignore[override]  # as an array's: entry by entry
        return self.record.make("eq", self, other)

    def __ne__(self, other: object) -> "Recorded":  # type: ignore[override]  # as an array's
        return self.record.make("ne", self, other)

    def __gt__(self, other: Any) -> "Recorded":
        return self.record.make("gt", self, other)

    def __ge__(self, other: Any) -> "Recorded":
        return self.record.make("ge", self, other)

    def __lt__(self, other: Any) -> "Recorded":
        return self.record.make("lt", self, other)

    def __le__(self, other: Any) -> "Recorded":
        return self.record.make("le", self, other)

    def __add__(self, other: Any) -> "Recorded":
        return self.record.make("add", self, other)

    def __radd__(self, other: Any) -> "Recorded":
        return self.record.make("add", other, self)

    def __sub__(self, other: Any) -> "Recorded":
        return self.record.make("sub", self, other)

    def __rsub__(self, other: Any) -> "Recorded":
        return self.record.make("sub", other, self)

    def __mul__(self, other: Any) -> "Recorded":
        return self.record.make("mul", self, other)

    def __rmul__(self, other: Any) -> "Recorded":
        return self.record.make("mul", other, self)

    def __truediv__(self, other: Any) -> "Recorded":
        return self.record.make("div", self, other)

    def __rtruediv__(self, other: Any) -> "Recorded":
        return self.record.make("div", other, self)

    def __neg__(self) -> "Recorded":
        return self.record.make("neg", self)

    def __abs__(self) -> "Recorded":
        return self.record.make("abs", self)

    def __invert__(self) -> "Recorded":
        return self.record.make("not", self)

    def __or__(self, other: Any) -> "Recorded":
        return self.record.make("or", self, other)

    def __and__(self, other: Any) -> "Recorded":
        return self.record.make("and", self, other)


def walk(roots: Recorded | Iterable[Recorded], known: Iterable[Recorded] = ()) -> Iterator[Recorded]:
    """Every value that the roots need and that is not known, arguments first, each once."""
    seen = set(known)

    def visit(node: Recorded) -> Iterator[Recorded]:
        if node not in seen:
            seen.add(node)
            for argument in node.args:
                yield from visit(argument)
            yield node

    for root in [roots] if isinstance(roots, Recorded) else roots:
        yield from visit(root)
