"""Forward-mode dual numbers v + v′ε with ε² = 0: an independent derivation from the forward pass alone.

A dual number over Fraction or arb carries its value and its derivative along one direction; each
elementary function knows its own derivative and nothing else. Comparisons look at the value. There is
no backward pass, no matrix and no formula of `manual` in here, and a float operand is refused.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache, total_ordering
from typing import Any, ClassVar

import numpy as np


@total_ordering
class Dual:
    """value + tangent · ε over the numbers of `base`; make the class with `dual_over`."""

    base: ClassVar[Any]
    __slots__ = ("tangent", "value")

    def __init__(self, value: Any, tangent: Any = 0) -> None:
        self.value = value if type(value) is self.base else self.base(value)
        self.tangent = tangent if type(tangent) is self.base else self.base(tangent)

    def __repr__(self) -> str:
        return f"{self.value} + {self.tangent} ε"

    @classmethod
    def pi(cls) -> "Dual":
        return cls(cls.base.pi())

    def lift(self, other: Any) -> Any:
        """`other` as a dual constant if it is an exact number, else None (arrays, floats)."""
        if isinstance(other, Dual):
            return other
        if isinstance(other, int | np.integer):
            return type(self)(int(other))
        return type(self)(other) if type(other) is self.base else None

    def __add__(self, other: Any) -> Any:
        o = self.lift(other)
        return NotImplemented if o is None else type(self)(self.value + o.value, self.tangent + o.tangent)

    def __mul__(self, other: Any) -> Any:
        o = self.lift(other)
        if o is None:
            return NotImplemented
        return type(self)(self.value * o.value, self.value * o.tangent + self.tangent * o.value)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> "Dual":
        return type(self)(-self.value, -self.tangent)

    def __sub__(self, other: Any) -> Any:
        o = self.lift(other)
        return NotImplemented if o is None else self + -o

    def __rsub__(self, other: Any) -> Any:
        o = self.lift(other)
        return NotImplemented if o is None else o + -self

    def __truediv__(self, other: Any) -> Any:
        o = self.lift(other)
        if o is None:
            return NotImplemented
        quotient = self.value / o.value
        return type(self)(quotient, (self.tangent - quotient * o.tangent) / o.value)

    def __rtruediv__(self, other: Any) -> Any:
        o = self.lift(other)
        return NotImplemented if o is None else o / self

    def __abs__(self) -> "Dual":
        return -self if self < 0 else self

    def __eq__(self, other: object) -> Any:
        o = self.lift(other)
        return NotImplemented if o is None else self.value == o.value

    def __lt__(self, other: Any) -> Any:
        o = self.lift(other)
        return NotImplemented if o is None else self.value < o.value

    __hash__ = None  # type: ignore[assignment]  # == is by value, so it has no hash

    def through(self, value: Any, slope: Any) -> "Dual":
        """f of this number from f and f′ at its value."""
        return type(self)(value, slope * self.tangent)

    def exp(self) -> "Dual":
        return self.through(self.value.exp(), self.value.exp())

    def expm1(self) -> "Dual":
        return self.through(self.value.expm1(), self.value.exp())

    def log(self) -> "Dual":
        return self.through(self.value.log(), 1 / self.value)

    def log1p(self) -> "Dual":
        return self.through(self.value.log1p(), 1 / (1 + self.value))

    def tanh(self) -> "Dual":
        return self.through(self.value.tanh(), 1 / self.value.cosh() ** 2)

    def sqrt(self) -> "Dual":
        return self.through(self.value.sqrt(), 1 / (2 * self.value.sqrt()))

    def erf(self) -> "Dual":
        return self.through(self.value.erf(), 2 * (-self.value * self.value).exp() / self.base.pi().sqrt())


@cache
def dual_over(base: Any) -> type[Dual]:
    """The dual numbers over `fractions.Fraction` or `flint.arb`."""
    return type(f"Dual_{base.__name__}", (Dual,), {"base": base, "__slots__": ()})


Array = np.ndarray[Any, Any]


def entrywise(f: Callable[[Any], Any], values: Any) -> Array:
    """f of every entry, as an object array of the same shape."""
    values = np.asarray(values)
    found = np.empty(values.shape, dtype=object)
    for index in np.ndindex(values.shape):
        found[index] = f(values[index])
    return found


def exact(values: Any, base: Any) -> Array:
    """Integers, floats or fractions as the exact numbers of `base` that they are."""

    def convert(value: Any) -> Any:
        fraction = Fraction(value.item() if isinstance(value, np.generic) else value)
        return fraction if base is Fraction else base(fraction.numerator) / fraction.denominator

    return entrywise(convert, values)


def derivative(f: Callable[..., Any], arguments: tuple[Array, ...], position: int) -> Array:
    """∂f/∂(each entry of argument `position`) of a scalar f: one forward pass in duals an entry."""
    x = arguments[position]
    dual = dual_over(type(x.flat[0]))
    constants = [entrywise(dual, a) for a in arguments]

    def along(index: tuple[int, ...]) -> Any:
        moved = [a.copy() for a in constants]
        moved[position][index] = dual(x[index], 1)
        return f(*moved).tangent

    found = np.empty(x.shape, dtype=object)
    for index in np.ndindex(x.shape):
        found[index] = along(index)
    return found
