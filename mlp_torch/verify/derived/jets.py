"""Truths on whole intervals: a ball with its slope, whose comparisons are followed to both sides.

A row of `truth.py` chooses by `if`; on a ball that holds the point where it changes its mind, both ways
are gone, one call each, and what holds of all of them holds of the truth.
"""

from collections.abc import Callable
from typing import Any

from flint import arb

MOST = 64  # ways through one formula

# One row a function: its slope from the argument and the value.
SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda x, f: f,
    "expm1": lambda x, f: x.exp(),
    "log": lambda x, f: 1 / x,
    "log1p": lambda x, f: 1 / (1 + x),
    "sqrt": lambda x, f: 1 / (2 * f),
    "tanh": lambda x, f: 1 - f * f,
    "sinh": lambda x, f: x.cosh(),
    "cosh": lambda x, f: x.sinh(),
    "sin": lambda x, f: x.cos(),
    "cos": lambda x, f: -x.sin(),
    "atan": lambda x, f: 1 / (1 + x * x),
    "erf": lambda x, f: 2 * (-x * x).exp() / arb.pi().sqrt(),
    "erfc": lambda x, f: -2 * (-x * x).exp() / arb.pi().sqrt(),
}


class Way:
    """The decisions of one call where a ball does not settle them: the given ones, then True."""

    def __init__(self, given: tuple[bool, ...]) -> None:
        self.given = given
        self.taken: list[bool] = []
        self.known: dict[tuple[int, str], bool] = {}
        self.kept: list[Any] = []  # so that no id is used twice

    def above(self, x: "Jet", other: Any) -> bool:
        """Whether x − other is positive: settled once for the same x and number."""
        gap = x.value - (other.value if isinstance(other, Jet) else other)
        if gap > 0:
            return True
        if gap <= 0:
            return False
        key = (id(x), str(other))
        if key not in self.known:
            n = len(self.taken)
            self.taken.append(self.given[n] if n < len(self.given) else True)
            self.known[key] = self.taken[-1]
            self.kept.append(x)
        return self.known[key]


class Jet:
    """A ball and its derivative by one variable; constants have the slope 0."""

    def __init__(self, way: Way, value: Any, slope: Any = 0) -> None:
        self.way, self.value, self.slope = way, value, slope

    def _of(self, other: Any) -> "Jet":
        return other if isinstance(other, Jet) else Jet(self.way, other)

    def _made(self, value: Any, slope: Any) -> "Jet":
        return Jet(self.way, value, slope)

    def __add__(self, other: Any) -> "Jet":
        o = self._of(other)
        return self._made(self.value + o.value, self.slope + o.slope)

    def __mul__(self, other: Any) -> "Jet":
        o = self._of(other)
        return self._made(self.value * o.value, self.value * o.slope + self.slope * o.value)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> "Jet":
        return self._made(-self.value, -self.slope)

    def __sub__(self, other: Any) -> "Jet":
        return self + -self._of(other)

    def __rsub__(self, other: Any) -> "Jet":
        return self._of(other) - self

    def __truediv__(self, other: Any) -> "Jet":
        o = self._of(other)
        quotient = self.value / o.value
        return self._made(quotient, (self.slope - quotient * o.slope) / o.value)

    def __rtruediv__(self, other: Any) -> "Jet":
        return self._of(other) / self

    def __pow__(self, n: int) -> "Jet":
        return self._made(self.value**n, n * self.value ** (n - 1) * self.slope)

    def __abs__(self) -> "Jet":
        return self if self > 0 else -self

    def sgn(self) -> "Jet":
        return self._made(arb(1 if self > 0 else -1), 0)

    def __gt__(self, other: Any) -> bool:
        return self.way.above(self, other)

    __ge__ = __gt__

    def __lt__(self, other: Any) -> bool:
        return not self.way.above(self, other)

    __le__ = __lt__

    def __getattr__(self, name: str) -> Callable[[], "Jet"]:
        if name not in SLOPES:
            raise AttributeError(f"{name} has no slope in mlp_torch/verify/derived/jets.py")
        value = getattr(self.value, name)()
        return lambda: self._made(value, SLOPES[name](self.value, value) * self.slope)


Both = tuple[Any, Any, Any]


def ways(pair: Callable[[Jet], Any], ball: Any) -> list[Both]:
    """f, f′ and f″ on a ball, of a truth that gives f and f′, along every way through it."""
    found: list[Both] = []
    waiting: list[tuple[bool, ...]] = [()]
    while waiting:
        way = Way(waiting.pop())
        f, d = (x if isinstance(x, Jet) else Jet(way, arb(x)) for x in pair(Jet(way, ball, arb(1))))
        found.append((f.value, d.value, d.slope))
        settled = len(way.given)
        waiting += [(*way.taken[:i], not way.taken[i]) for i in range(settled, len(way.taken))]
        if len(found) > MOST:
            raise ArithmeticError("too many ways through a truth")
    return found


def upper(ball: Any) -> float:
    """|ball| at most; infinite where nothing is known."""
    size = float(ball.abs_upper()) if hasattr(ball, "abs_upper") else float(abs(ball))
    return size * (1 + 2.0**-50) if size == size else float("inf")
