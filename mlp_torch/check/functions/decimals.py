"""The author's own formula in longer numbers: np.longdouble, then decimals of hundreds of digits."""

import decimal
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.calling.calls import fresh, gradients_of, nested, seed
from mlp_torch.check.report import length

LONGER = 2.0**-6  # of what float64 rounds: amply what np.longdouble leaves (2⁻¹¹ on average)
DIGITS = 400  # more than lie between 1 and the least number of float64
MOST = 4096  # entries of parameters and data: decimals take a thousand times as long as floats
CONTEXT = decimal.Context(
    prec=DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[], rounding=decimal.ROUND_HALF_EVEN
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
    """One number of DIGITS digits. NumPy's functions of object arrays call the methods of their entries."""

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


def longer(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array]
) -> Iterator[dict[str, Array]]:
    """The author's gradient by name in longer and longer numbers, where their code keeps these."""
    for make in (_long, _decimals):
        parameters, *data = fresh(kept)
        wide = make(values, data)
        if wide is None:
            continue
        seed()
        try:
            gradients = call(nested(parameters, wide), *data)[1]
            found = gradients_of(names, gradients, values)
        except (Exception, SystemExit):  # not all of NumPy takes longer numbers
            continue
        yield {n: g for n, g in found.items() if g.dtype in (np.longdouble, object)}


def _long(values: Mapping[str, Array], data: list[Any]) -> dict[str, Array]:
    data[:] = [
        d.astype(np.longdouble) if isinstance(d, np.ndarray) and d.dtype == np.float64 else d for d in data
    ]
    return {n: v.astype(np.longdouble) if v.dtype.kind == "f" else v for n, v in values.items()}


def _decimals(values: Mapping[str, Array], data: list[Any]) -> dict[str, Array] | None:
    if sum(v.size for v in (*values.values(), *data) if isinstance(v, np.ndarray)) > MOST:
        return None
    return {n: np.vectorize(Wide.of, otypes=[object])(v) for n, v in values.items()}


def lost(h: Array, wide: Array | None, t: Array, allowed: float) -> float:
    """‖rounding‖ of h as its own formula in longer numbers shows it, where nothing else parts h from t."""
    if wide is None or h.shape != t.shape or wide.shape != t.shape or h.dtype != np.float64:
        return 0.0
    own = length((wide - h).astype(float))
    return own if length((wide - t).astype(float)) <= allowed + LONGER * own else 0.0
