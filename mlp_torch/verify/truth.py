"""The definitions that both engines are held against, in ball arithmetic and apart from `manual`.

One row of `FUNCTIONS` an activation: f and f′ of one exact number, with torch's side at a kink. One row
of `TERMS` a loss: the term and its derivative for one output and one target. The tests hold every f′
against arb_series, which differentiates f by itself. Nothing here is shared with the formulas that are
judged: a fault planted in `manual` cannot hide in the truth.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from flint import arb, ctx

Pair = tuple[Any, Any]


@cache
def _decimal(text: str, precision: int) -> Any:
    return arb(text)


def _constant(text: str) -> Any:
    """A decimal as a ball of the precision at hand: one kept from a lower precision would be wide."""
    return _decimal(text, ctx.prec)


def _sigmoid(z: Any) -> Pair:
    e = (-abs(z)).exp()
    s = 1 / (1 + e)
    return (s if z >= 0 else e * s), e * s * s


def _tanh(z: Any) -> Pair:
    e = (-2 * abs(z)).exp()  # 1/cosh² z = 4 e/(1 + e)²: cosh itself has no ball where z is huge
    return z.tanh(), 4 * e / (1 + e) ** 2


def _elu(z: Any, alpha: Any = 1, scale: Any = 1) -> Pair:
    if z > 0:
        return scale * z, arb(scale)
    return scale * alpha * z.expm1(), scale * alpha * z.exp()


def _gelu(z: Any) -> Pair:
    distribution = (-z / arb(2).sqrt()).erfc() / 2
    density = (-z * z / 2).exp() / (2 * arb.pi()).sqrt()
    return z * distribution, distribution + z * density


def _gelu_tanh(z: Any) -> Pair:
    root, c = (2 / arb.pi()).sqrt(), _constant("0.044715")
    u = root * (z + c * z**3)
    s, ds = _sigmoid(2 * u)  # ½ (1 + tanh u)
    return z * s, s + 2 * z * ds * root * (1 + 3 * c * z * z)


def _silu(z: Any) -> Pair:
    s, ds = _sigmoid(z)
    return z * s, s + z * ds


# t = tanh(log(1 + e^z)) = n/(n + 2), n = e^z (e^z + 2); for z > 0 written with e^−z, which has a ball
def _mish(z: Any) -> Pair:
    s, _ = _sigmoid(z)
    if z > 0:
        e = (-z).exp()
        t = (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
        rest = 4 * e * e * (1 + 2 * e + e * e) / (1 + 2 * e + 2 * e * e) ** 2  # 1 − t²
    else:
        e = z.exp()
        n = e * (e + 2)
        t = n / (n + 2)
        rest = 4 * (n + 1) / (n + 2) ** 2
    return z * t, t + z * rest * s


def _softplus(z: Any) -> Pair:
    if z > 20:
        return z, arb(1)
    return z.exp().log1p(), _sigmoid(z)[0]


def _hardtanh(z: Any) -> Pair:
    return (z, arb(1)) if -1 < z < 1 else (arb(1 if z > 0 else -1), arb(0))


def _piecewise(z: Any, slope: Any) -> Pair:
    return (z, arb(1)) if z > 0 else (slope * z, arb(slope))


FUNCTIONS: dict[str, Callable[..., Pair]] = {
    "identity": lambda z: (z, arb(1)),
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": lambda z: _piecewise(z, 0),
    "leaky_relu": _piecewise,
    "prelu": _piecewise,
    "elu": _elu,
    "selu": lambda z: _elu(
        z, _constant("1.6732632423543772848170429916717"), _constant("1.0507009873554804934193349852946")
    ),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "softplus": _softplus,
    "hardtanh": _hardtanh,
}


def _smooth_l1(output: Any, y: Any) -> Pair:
    d = output - y
    return (d * d / 2, d) if abs(d) < 1 else (abs(d) - arb(1) / 2, d.sgn())


def _huber(output: Any, y: Any, delta: Any) -> Pair:
    d = output - y
    return (d * d / 2, d) if abs(d) < delta else (delta * (abs(d) - delta / 2), delta * d.sgn())


def _hinge(output: Any, y: Any) -> Pair:
    margin = 1 - y * output
    return (margin, -y) if margin > 0 else (arb(0), arb(0))


def _bce_with_logits(output: Any, y: Any) -> Pair:
    positive = output if output > 0 else arb(0)
    return positive - y * output + (-abs(output)).exp().log1p(), _sigmoid(output)[0] - y


# A constant of the row arrives as a ball, under the name that it has in `manual`.
TERMS: dict[str, Callable[..., Pair]] = {
    "half_squared_error": lambda output, y: ((output - y) ** 2 / 2, output - y),
    "mse": lambda output, y: ((output - y) ** 2, 2 * (output - y)),
    "l1": lambda output, y: (abs(output - y), (output - y).sgn()),
    "smooth_l1": _smooth_l1,
    "huber": _huber,
    "hinge": _hinge,
    "bce_with_logits": _bce_with_logits,
}


def log_softmax(row: list[Any]) -> list[Any]:
    """log(e^zᵢ / Σ e^zⱼ), shifted by the largest entry, which changes nothing."""
    top = max(row, key=float)
    log_sum = sum((z - top).exp() for z in row).log()
    return [z - top - log_sum for z in row]
