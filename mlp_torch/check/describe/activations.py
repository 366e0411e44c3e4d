"""The activations, each with every form of derivative that people write: from z, and from a = f(z)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual import activations as lecture
from manual.catalogue import activations as hand
from manual.numbers import Array

ALIASES = {
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "swish": "silu",
    "lrelu": "leaky_relu",
    "leakyrelu": "leaky_relu",
}


@dataclass(frozen=True)
class Form:
    """f(z, p), f′ written in z, and f′ written in a where people write it so; p are its constants.

    `line` is f′ as the chain rule writes it, `from_z` a spelling of it that keeps its digits where f is
    saturated. `kinks`: where f′ jumps; torch takes the flatter side there. Softmax has no elementwise form.
    """

    f: Callable[[Array, Mapping[str, Any]], Array]
    from_z: Callable[[Array, Mapping[str, Any]], Array] | None
    from_a: Callable[[Array, Mapping[str, Any]], Array] | None
    line: str
    defaults: Mapping[str, Any]
    piecewise: bool = False
    kinks: tuple[float, ...] = ()


def _where(z: Array, above: Any, below: Any) -> Array:
    return np.where(z > 0, above, below)


def _exp(z: Array) -> Array:
    return np.exp(np.minimum(z, 0))


# 1 − tanh²z = 1/cosh²z = 4 e^(−2|z|) / (1 + e^(−2|z|))², which loses no digit where tanh z is ±1
def d_tanh(z: Array) -> Array:
    e = np.exp(-2 * np.abs(z))
    return 4 * e / (1 + e) ** 2


_erfc = np.frompyfunc(math.erfc, 1, 1)


# Φ(z) = ½ erfc(−z/√2); below 0 the usual ½(1 + erf(z/√2)) cancels
def normal(z: Array) -> Array:
    return np.asarray(_erfc(-z / np.sqrt(2))).astype(float) / 2


# f′ = Φ(z) + z φ(z)
def d_gelu(z: Array) -> Array:
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return normal(z) + z * density


# f′ = s(2u) + 2 z u′ s(2u) s(−2u), for ½(1 + tanh u) = s(2u) and 1 − tanh²u = 4 s(2u) s(−2u)
def d_gelu_tanh(z: Array) -> Array:
    root, c = np.sqrt(2 / np.pi), 0.044715
    s, rest = (lecture.sigmoid(sign * 2 * root * (z + c * z * z * z)) for sign in (1, -1))
    return s + 2 * z * root * (1 + 3 * c * z * z) * s * rest


# f′ = s(z)(1 + z s(−z))
def d_silu(z: Array) -> Array:
    return lecture.sigmoid(z) * (1 + z * lecture.sigmoid(-z))


FORMS: dict[str, Form] = {
    "identity": Form(lambda z, p: z, lambda z, p: np.ones_like(z), None, "1", {}),
    "sigmoid": Form(
        lambda z, p: lecture.sigmoid(z),
        lambda z, p: lecture.sigmoid(z) * lecture.sigmoid(-z),
        lambda a, p: a * (1 - a),
        "a (1 − a)",
        {},
    ),
    "tanh": Form(lambda z, p: np.tanh(z), lambda z, p: d_tanh(z), lambda a, p: 1 - a * a, "1 − a²", {}),
    "relu": Form(
        lambda z, p: np.maximum(z, 0),
        lambda z, p: _where(z, 1.0, 0.0),
        lambda a, p: _where(a, 1.0, 0.0),
        "[z > 0]",
        {},
        piecewise=True,
        kinks=(0.0,),
    ),
    "relu6": Form(
        lambda z, p: np.clip(z, 0, 6),
        lambda z, p: np.where((z > 0) & (z < 6), 1.0, 0.0),
        lambda a, p: np.where((a > 0) & (a < 6), 1.0, 0.0),
        "[0 < z < 6]",
        {},
        piecewise=True,
        kinks=(0.0, 6.0),
    ),
    "leaky_relu": Form(
        lambda z, p: _where(z, z, p["alpha"] * z),
        lambda z, p: _where(z, 1.0, p["alpha"]),
        lambda a, p: _where(a, 1.0, p["alpha"]),
        "1 for z > 0, else alpha",
        {"alpha": 0.01},
        piecewise=True,
        kinks=(0.0,),
    ),
    "prelu": Form(
        lambda z, p: _where(z, z, p["alpha"] * z),
        lambda z, p: _where(z, 1.0, p["alpha"]),
        lambda a, p: _where(a, 1.0, p["alpha"]),
        "1 for z > 0, else alpha",
        {"alpha": 0.25},
        piecewise=True,
        kinks=(0.0,),
    ),
    "elu": Form(
        lambda z, p: _where(z, z, p["alpha"] * np.expm1(np.minimum(z, 0))),
        lambda z, p: _where(z, 1.0, p["alpha"] * _exp(z)),
        lambda a, p: _where(a, 1.0, a + p["alpha"]),
        "1 for z > 0, else alpha·exp(z)",
        {"alpha": 1.0},
        piecewise=True,
        kinks=(0.0,),
    ),
    "selu": Form(
        lambda z, p: p["scale"] * _where(z, z, p["alpha"] * np.expm1(np.minimum(z, 0))),
        lambda z, p: p["scale"] * _where(z, 1.0, p["alpha"] * _exp(z)),
        lambda a, p: _where(a, p["scale"], a + p["scale"] * p["alpha"]),
        "scale for z > 0, else scale·alpha·exp(z)",
        {key: float(value) for key, value in hand.SELU_CONSTANTS.items()},
        piecewise=True,
        kinks=(0.0,),
    ),
    "softplus": Form(
        lambda z, p: np.logaddexp(0, z),
        lambda z, p: lecture.sigmoid(z),
        lambda a, p: -np.expm1(-a),
        "sigmoid(z)",
        {},
    ),
    "gelu": Form(lambda z, p: z * normal(z), lambda z, p: d_gelu(z), None, "Φ(z) + z φ(z)", {}),
    "gelu_tanh": Form(
        lambda z, p: hand.gelu_tanh(z),
        lambda z, p: d_gelu_tanh(z),
        None,
        "the derivative of gelu",
        {},
    ),
    "silu": Form(lambda z, p: hand.silu(z), lambda z, p: d_silu(z), None, "s(z)(1 + z(1 − s(z)))", {}),
    "hardtanh": Form(
        lambda z, p: np.clip(z, -1, 1),
        lambda z, p: np.where(np.abs(z) < 1, 1.0, 0.0),
        lambda a, p: np.where(np.abs(a) < 1, 1.0, 0.0),
        "[−1 < z < 1]",
        {},
        kinks=(-1.0, 1.0),
    ),
    "softmax": Form(lambda z, p: hand.softmax(z), None, None, "a (da − Σ da a), the Jacobian", {}),
}


# What one ε of a leaves of f′ as people write it from a: 1 − a², a(1 − a), a + α lose all digits at a
# saturated neuron, and da is huge there where the loss divides by p(1 − p); 1 + erf and 1 + tanh cancel too.
LOST: dict[str, Callable[[Array, Array, Mapping[str, Any]], Array]] = {
    "sigmoid": lambda z, a, p: a,
    "tanh": lambda z, a, p: a * a,
    "softplus": lambda z, a, p: np.exp(-a),
    "elu": lambda z, a, p: np.where(z > 0, 0.0, np.asarray(p["alpha"])),
    "selu": lambda z, a, p: np.where(z > 0, 0.0, np.asarray(p["alpha"]) * p["scale"]),
    "gelu": lambda z, a, p: np.ones_like(z),
    "gelu_tanh": lambda z, a, p: 1 + np.abs(z) + np.abs(z) ** 3 / 9,
    "silu": lambda z, a, p: np.abs(a),
}


# What one ε leaves of a as people write f: ½ z (1 + erf), e^z − 1, log(1 + e^z) and (e^z − e^−z)/(e^z + e^−z)
# cancel, down to exactly 0 where f is not.
LOST_VALUE: dict[str, Callable[[Array], Array]] = {
    "elu": np.ones_like,
    "selu": lambda z: np.full_like(z, 2.0),
    "tanh": np.ones_like,
    "softplus": np.ones_like,
    "gelu": np.abs,
    "gelu_tanh": np.abs,
}


def jacobian(da: Array, a: Array) -> Array:
    """dz = Jᵀda of softmax along each row: aⱼ (daⱼ − Σᵢ daᵢ aᵢ).

    Σ a = 1, so da may be counted from its value at the likeliest class: what is equal cancels exactly.
    """
    top = np.argmax(a, axis=-1)[..., None]
    finite = np.isfinite(np.take_along_axis(da, top, axis=-1))
    da = np.where(finite, da - np.take_along_axis(da, top, axis=-1), da)
    return hand.softmax_jacobian_product(da, a, a)


def chain(name: str, da: Array, z: Array, a: Array, constants: Mapping[str, Any]) -> Array:
    """dz = da · f′(z), or the product with softmax's Jacobian."""
    form = FORMS[name]
    if form.from_z is None:
        return jacobian(da, a)
    return da * form.from_z(z, constants)


def moved(name: str, z: Array, side: Array) -> Array:
    """z, with what `side` puts beside a kink (0, 1) moved there by the least there is, others onto it."""
    kinks = np.array(FORMS[name].kinks)
    at = kinks[np.argmin(np.abs(z[..., None] - kinks), axis=-1)]
    small = np.finfo(float).tiny
    beside = np.where(
        at == 0, np.where(side > 0.5, small, -small), np.nextafter(at, np.where(side > 0.5, 9e9, -9e9))
    )
    return np.where(np.isnan(side), z, np.where(np.isin(side, (0.0, 1.0)), beside, at))


def are_constants(given: Any) -> bool:
    """Names with numbers, arrays of them, or the name of a parameter."""
    if not isinstance(given, Mapping):
        return False
    for value in given.values():
        try:
            if not isinstance(value, str) and not np.isfinite(np.asarray(value, dtype=float)).all():
                return False
        except (TypeError, ValueError):
            return False
    return True
