"""The activations, each with every form of derivative that people write: from z, and from a = f(z)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual import activations as hand
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

    `line` is f′ as the chain rule writes it. Softmax has no elementwise form.
    """

    f: Callable[[Array, Mapping[str, Any]], Array]
    from_z: Callable[[Array, Mapping[str, Any]], Array] | None
    from_a: Callable[[Array, Mapping[str, Any]], Array] | None
    line: str
    defaults: Mapping[str, Any]
    piecewise: bool = False


def _where(z: Array, above: Any, below: Any) -> Array:
    return np.where(z > 0, above, below)


def _exp(z: Array) -> Array:
    return np.exp(np.minimum(z, 0))


FORMS: dict[str, Form] = {
    "identity": Form(lambda z, p: z, lambda z, p: np.ones_like(z), None, "1", {}),
    "sigmoid": Form(
        lambda z, p: hand.sigmoid(z),
        lambda z, p: hand.sigmoid(z) * hand.sigmoid(-z),
        lambda a, p: a * (1 - a),
        "a (1 − a)",
        {},
    ),
    "tanh": Form(
        lambda z, p: np.tanh(z), lambda z, p: 1 - np.tanh(z) ** 2, lambda a, p: 1 - a * a, "1 − a²", {}
    ),
    "relu": Form(
        lambda z, p: np.maximum(z, 0),
        lambda z, p: _where(z, 1.0, 0.0),
        lambda a, p: _where(a, 1.0, 0.0),
        "[z > 0]",
        {},
        piecewise=True,
    ),
    "relu6": Form(
        lambda z, p: np.clip(z, 0, 6),
        lambda z, p: np.where((z > 0) & (z < 6), 1.0, 0.0),
        lambda a, p: np.where((a > 0) & (a < 6), 1.0, 0.0),
        "[0 < z < 6]",
        {},
        piecewise=True,
    ),
    "leaky_relu": Form(
        lambda z, p: _where(z, z, p["alpha"] * z),
        lambda z, p: _where(z, 1.0, p["alpha"]),
        lambda a, p: _where(a, 1.0, p["alpha"]),
        "1 for z > 0, else alpha",
        {"alpha": 0.01},
        piecewise=True,
    ),
    "prelu": Form(
        lambda z, p: _where(z, z, p["alpha"] * z),
        lambda z, p: _where(z, 1.0, p["alpha"]),
        lambda a, p: _where(a, 1.0, p["alpha"]),
        "1 for z > 0, else alpha",
        {"alpha": 0.25},
        piecewise=True,
    ),
    "elu": Form(
        lambda z, p: _where(z, z, p["alpha"] * np.expm1(np.minimum(z, 0))),
        lambda z, p: _where(z, 1.0, p["alpha"] * _exp(z)),
        lambda a, p: _where(a, 1.0, a + p["alpha"]),
        "1 for z > 0, else alpha·exp(z)",
        {"alpha": 1.0},
        piecewise=True,
    ),
    "selu": Form(
        lambda z, p: p["scale"] * _where(z, z, p["alpha"] * np.expm1(np.minimum(z, 0))),
        lambda z, p: p["scale"] * _where(z, 1.0, p["alpha"] * _exp(z)),
        lambda a, p: _where(a, p["scale"], a + p["scale"] * p["alpha"]),
        "scale for z > 0, else scale·alpha·exp(z)",
        {key: float(value) for key, value in hand.SELU_CONSTANTS.items()},
        piecewise=True,
    ),
    "softplus": Form(
        lambda z, p: np.logaddexp(0, z),
        lambda z, p: hand.sigmoid(z),
        lambda a, p: -np.expm1(-a),
        "sigmoid(z)",
        {},
    ),
    "gelu": Form(lambda z, p: hand.gelu(z), lambda z, p: hand.d_gelu(z, z), None, "Φ(z) + z φ(z)", {}),
    "gelu_tanh": Form(
        lambda z, p: hand.gelu_tanh(z),
        lambda z, p: hand.d_gelu_tanh(z, z),
        None,
        "the derivative of gelu",
        {},
    ),
    "silu": Form(
        lambda z, p: hand.silu(z), lambda z, p: hand.d_silu(z, z), None, "s(z)(1 + z(1 − s(z)))", {}
    ),
    "hardtanh": Form(
        lambda z, p: np.clip(z, -1, 1),
        lambda z, p: np.where(np.abs(z) < 1, 1.0, 0.0),
        lambda a, p: np.where(np.abs(a) < 1, 1.0, 0.0),
        "[−1 < z < 1]",
        {},
    ),
    "softmax": Form(lambda z, p: hand.softmax(z), None, None, "a (da − Σ da a), the Jacobian", {}),
}


def jacobian(da: Array, a: Array) -> Array:
    """dz = Jᵀda of softmax along each row: aⱼ (daⱼ − Σᵢ daᵢ aᵢ)."""
    return hand.softmax_jacobian_product(da, a, a)


def chain(name: str, da: Array, z: Array, a: Array, constants: Mapping[str, Any]) -> Array:
    """dz = da · f′(z), or the product with softmax's Jacobian."""
    form = FORMS[name]
    if form.from_z is None:
        return jacobian(da, a)
    return da * form.from_z(z, constants)
