"""The constants of a record: the float64 nearest to each, from 60 decimal digits."""

import math
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from manual.recorded.record import Recorded

DIGITS = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
ELEMENTARY: dict[str, Callable[..., Decimal]] = {
    "add": Decimal.__add__,
    "sub": Decimal.__sub__,
    "mul": Decimal.__mul__,
    "div": Decimal.__truediv__,
    "neg": Decimal.__neg__,
    "abs": Decimal.__abs__,
    "min": min,
    "max": max,
    "sqrt": Decimal.sqrt,
    "exp": Decimal.exp,
    "log": Decimal.ln,
    "expm1": lambda x: x.exp() - 1,
    "log1p": lambda x: (1 + x).ln(),
    "tanh": lambda x: ((2 * x).exp() - 1) / ((2 * x).exp() + 1),
}


def decimal(node: Recorded) -> Decimal:
    """A constant's value. Raises ValueError for an operation that has no row here."""
    if node.op == "const":
        return Decimal(node.value.numerator) / Decimal(node.value.denominator)
    if node.op == "pi":
        return +PI
    if node.op not in ELEMENTARY:
        raise ValueError(f"a constant is made with {node.op}")
    return ELEMENTARY[node.op](*(decimal(a) for a in node.args))


def nearest(node: Recorded) -> float:
    """The float64 nearest to a constant; infinite beyond float64's range."""
    with localcontext(Context(prec=DIGITS)):
        exact = node.value if node.op == "const" else Fraction(decimal(node))
    try:
        return float(exact)
    except OverflowError:
        return math.copysign(math.inf, exact)
