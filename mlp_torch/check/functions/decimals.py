"""The author's own formula in longer numbers: np.longdouble, then decimals of hundreds of digits."""

import decimal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.calling.calls import fresh, gradients_of, nested, seed
from mlp_torch.check.functions.eager.run import FINE, Run
from mlp_torch.check.functions.floors import MUCH
from mlp_torch.check.functions.tracing import TracedLoss
from mlp_torch.check.report import length

LONGER = 2.0**-6  # of what float64 rounds: amply what np.longdouble leaves (2⁻¹¹ on average)
STAGES = ((60, 4096), (400, 512))  # digits, and the most entries that are worth their time
NOTHING = 1e-6  # of a slope: decimals leave less
CONSTANTS = 4.0  # what the rounding of constants may leave, in terms of that of the operations
CONTEXT = decimal.Context(
    prec=STAGES[0][0],
    Emax=decimal.MAX_EMAX,
    Emin=decimal.MIN_EMIN,
    traps=[],
    rounding=decimal.ROUND_HALF_EVEN,
)


def _number(value: Any) -> Decimal:
    return value.value if isinstance(value, Wide) else Decimal(float(value))


def _arithmetic(name: str) -> Callable[[Any, Any], Any]:
    def operator(self: "Wide", other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Wide(getattr(CONTEXT, name)(self.value, _number(other)))

    return operator


def _turned(name: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: Wide(getattr(CONTEXT, name)(_number(other), self.value))


def _comparison(name: str) -> Callable[[Any, Any], bool]:
    return lambda self, other: bool(getattr(self.value, name)(_number(other)))


class Wide:
    """One number of many digits. NumPy's functions of object arrays call the methods of their entries."""

    __slots__ = ("value",)
    __add__, __radd__ = _arithmetic("add"), _turned("add")
    __sub__, __rsub__ = _arithmetic("subtract"), _turned("subtract")
    __mul__, __rmul__ = _arithmetic("multiply"), _turned("multiply")
    __truediv__, __rtruediv__ = _arithmetic("divide"), _turned("divide")
    __pow__, __rpow__ = _arithmetic("power"), _turned("power")
    __lt__, __le__ = _comparison("__lt__"), _comparison("__le__")
    __gt__, __ge__ = _comparison("__gt__"), _comparison("__ge__")
    __eq__, __ne__ = _comparison("__eq__"), _comparison("__ne__")

    def __init__(self, value: Decimal) -> None:
        self.value = value

    @classmethod
    def of(cls, value: float) -> "Wide":
        return cls(Decimal(float(value)))

    def __hash__(self) -> int:
        return hash(self.value)

    def __neg__(self) -> "Wide":
        return Wide(CONTEXT.minus(self.value))

    def __pos__(self) -> "Wide":
        return self

    def __abs__(self) -> "Wide":
        return Wide(CONTEXT.abs(self.value))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def conjugate(self) -> "Wide":
        return self

    def exp(self) -> "Wide":
        return Wide(CONTEXT.exp(self.value))

    def exp2(self) -> "Wide":
        return Wide(CONTEXT.power(Decimal(2), self.value))

    def expm1(self) -> "Wide":
        return self.exp() - 1

    def log(self) -> "Wide":
        return Wide(CONTEXT.ln(self.value))

    def log2(self) -> "Wide":
        return self.log() / Wide(CONTEXT.ln(Decimal(2)))

    def log10(self) -> "Wide":
        return Wide(CONTEXT.log10(self.value))

    def log1p(self) -> "Wide":
        return (self + 1).log()

    def sqrt(self) -> "Wide":
        return Wide(CONTEXT.sqrt(self.value))

    def sinh(self) -> "Wide":
        return (self.exp() - (-self).exp()) / 2

    def cosh(self) -> "Wide":
        return (self.exp() + (-self).exp()) / 2

    def tanh(self) -> "Wide":
        e = (abs(self) * -2).exp()
        size = (1 - e) / (1 + e)
        return -size if self < 0 else size


@dataclass(frozen=True)
class Formula:
    """The author's own formula of the gradient at `values`, which may be computed in other numbers."""

    call: Callable[..., Any]
    kept: Any
    names: Mapping[str, Any]
    values: Mapping[str, Array]
    traced: TracedLoss | None

    @cached_property
    def rounding(self) -> dict[str, Array] | None:
        """|rounding| by entry, as an error put on every result of the formula shows it; None if untraced."""
        first, second = self._glimpse, self._errors(1) if self._glimpse is not None else None
        if first is None or second is None:
            return None
        return {n: np.maximum(v, second[n]) for n, v in first.items()}

    @cached_property
    def _glimpse(self) -> dict[str, Array] | None:
        """What one run shows of it."""
        return self._errors(0)

    def _errors(self, seed_: int) -> dict[str, Array] | None:
        traced = self.traced
        if traced is None or traced.again is None or not traced.hand:
            return None
        try:
            other = traced.again(Run(noise=FINE, follow=traced.run.decisions, seed=seed_)).hand
        except Exception:  # the code went another way: nothing is known
            return None
        if any(n not in other or other[n].shape != h.shape for n, h in traced.hand.items()):
            return None
        return {n: np.abs(other[n] - h) for n, h in traced.hand.items()}

    def may_round(self, n: str, gap: Array, whole: bool = True) -> bool:
        """Whether rounding may be as large as the gap: of the whole array, or of each of its entries."""
        seen = self._glimpse
        if seen is not None and length(gap) > 1e3 * MUCH * length(seen[n]):
            return False  # another run would leave no thousand times as much
        if self.rounding is None:
            return True
        own = self.rounding[n].reshape(gap.shape)
        return bool(length(gap) <= MUCH * length(own) if whole else (gap <= MUCH * own).all())

    def longer(self) -> Iterator[dict[str, Array]]:
        """The gradient by name in longer and longer numbers, where the code keeps these."""
        ways = [_long, *([_decimals(*s) for s in STAGES] if self.rounding is not None else [])]
        for make in ways:
            parameters, *data = fresh(self.kept)
            wide = make(self.values, data)
            if wide is None:
                continue
            seed()
            try:
                gradients = self.call(nested(parameters, wide), *data)[1]
                found = gradients_of(self.names, gradients, self.values)
            except (Exception, SystemExit):  # not all of NumPy takes longer numbers
                continue
            yield {n: g for n, g in found.items() if g.dtype in (np.longdouble, object)}

    def contradicted(self, n: str, size: float) -> str:
        """Whether in decimals the loss has another slope along n than its gradient says: "wrong"; else "".

        `size` is the gradient's: a millionth of it is none. "unsure" where the constants' own rounding may
        leave as much of terms that cancel (1/7 seven times is not 1).
        """
        if self.traced is None or self.traced.sites or self.rounding is None:
            return ""
        found, constants = "", CONSTANTS * length(self.rounding[n])
        for digits, most in STAGES:
            slopes = self._slopes(n, _decimals(digits, most), Decimal(10) ** (-digits // 3))
            if slopes is None:
                break
            own, true = slopes
            if abs(own - true) <= NOTHING * max(size, abs(own)):
                return ""
            found = "wrong" if abs(own - true) > constants else "unsure"
        return found

    def _slopes(self, n: str, make: "Numbers", step: Decimal) -> tuple[float, float] | None:
        """(Σ gradient · way, the loss's central difference along it) of one way to move the array n."""
        way = np.random.default_rng(5).normal(size=self.values[n].shape)

        def at(t: Decimal) -> tuple[Any, Any]:
            parameters, *data = fresh(self.kept)
            wide = make(self.values, data)
            if wide is None:
                raise OverflowError("too many numbers")
            seed()
            loss, gradients, *_ = self.call(nested(parameters, {**wide, n: wide[n] + way * Wide(t)}), *data)
            return np.ravel(loss)[0], gradients

        try:
            gradient = gradients_of(self.names, at(Decimal(0))[1], self.values)[n]
            ends = [at(t)[0] for t in (step, -step)]
            if gradient.dtype != object or not all(isinstance(e, Wide) for e in ends):
                return None
            own = np.sum(gradient.reshape(way.shape) * way)
            return float(own), float((ends[0] - ends[1]) / Wide(2 * step))
        except (Exception, SystemExit):  # not all of NumPy takes longer numbers
            return None


Numbers = Callable[[Mapping[str, Array], list[Any]], dict[str, Array] | None]


def _long(values: Mapping[str, Array], data: list[Any]) -> dict[str, Array]:
    data[:] = [
        d.astype(np.longdouble) if isinstance(d, np.ndarray) and d.dtype == np.float64 else d for d in data
    ]
    return {n: v.astype(np.longdouble) if v.dtype.kind == "f" else v for n, v in values.items()}


def _decimals(digits: int, most: int) -> Numbers:
    def make(values: Mapping[str, Array], data: list[Any]) -> dict[str, Array] | None:
        if sum(v.size for v in (*values.values(), *data) if isinstance(v, np.ndarray)) > most:
            return None
        CONTEXT.prec = digits
        return {n: np.vectorize(Wide.of, otypes=[object])(v) for n, v in values.items()}

    return make


def lost(h: Array, wide: Array | None, t: Array, allowed: float) -> float:
    """‖rounding‖ of h as its own formula in longer numbers shows it, where nothing else parts h from t."""
    if wide is None or h.shape != t.shape or wide.shape != t.shape or h.dtype != np.float64:
        return 0.0
    own = length((wide - h).astype(float))
    return own if length((wide - t).astype(float)) <= allowed + LONGER * own else 0.0
