"""Slips in the formula of one derivative: a table of what people write."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from manual.activations import sigmoid
from manual.numbers import Array
from mlp_torch.check.describe.activations import chain


def formulas(name: str, z: Array, a: Array, p: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """Slips in the formula of one activation."""
    above = z > 0
    if name == "sigmoid":
        yield from [("1 − a", 1 - a), ("a(1 + a)", a * (1 + a)), ("a²", a * a), ("(1 − a)²", (1 - a) ** 2)]
        yield from [("1 − a²", 1 - a * a), ("a²(1 − a)", a * a * (1 - a)), ("a(1 − a)²", a * (1 - a) ** 2)]
        yield from [
            ("a(a − 1)²", a * (a - 1) ** 2),
            ("exp(−z)", np.exp(-z)),
            ("exp(−z)/(1 + exp(−z))", sigmoid(-z)),
        ]
        yield from [("a(1 − z)", a * (1 - z)), ("z(1 − a)", z * (1 - a)), ("1/(1 + exp(−z))²·…", a * a)]
    if name == "tanh":
        yield from [("1 − a", 1 - a), ("1 + a²", 1 + a * a), ("a²", a * a), ("(1 − a)²", (1 - a) ** 2)]
        yield from [
            ("a(1 − a)", a * (1 - a)),
            ("1 − z²", 1 - z * z),
            ("1/cosh z", 1 / np.cosh(z)),
            ("1 − |a|", 1 - np.abs(a)),
        ]
        yield from [
            ("1 + a", 1 + a),
            ("(1 + a)(1 − z)", (1 + a) * (1 - z)),
            ("½(1 − a²)", (1 - a * a) / 2),
            ("1/(1 + z²)", 1 / (1 + z * z)),
        ]
    if name in ("relu", "leaky_relu", "prelu", "elu", "selu"):
        low = p["alpha"] if name != "relu" else 0.0
        if (z == 0).any():
            top = p["scale"] if name == "selu" else 1.0
            below = chain(name, np.ones_like(z), z, a, p)
            yield "≥ for > at z = 0", np.where(z >= 0, top, below)
        yield from [
            ("[z < 0], the mask turned round", (~above).astype(float)),
            ("a step of ±1", np.where(above, 1.0, -1.0)),
        ]
        for slope in (0.0, 0.01, 0.001, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0, -1.0):
            yield f"slope {slope:g} below 0", np.where(above, 1.0, slope)
        if name != "relu":
            yield "alpha above 0 and 1 below", np.where(above, low, 1.0)
            yield "alpha below 0 with the wrong sign", np.where(above, 1.0, -low)
            yield "alpha everywhere", np.broadcast_to(low, z.shape).astype(float)
            yield "alpha below 0", np.where(above, 1.0, low)
            yield "alpha·z below 0", np.where(above, 1.0, low * z)
            yield "z above 0", np.where(above, z, low)
            yield "0 above 0", np.where(above, 0.0, low)
    if name in ("elu", "selu"):
        alpha, scale = p["alpha"], p["scale"] if name == "selu" else 1.0
        e = np.exp(np.minimum(z, 0))
        for top, words in ((scale, ""), (1.0, ", 1 above")) if name == "selu" else ((1.0, ""),):
            for text, low in (
                ("exp(z) below 0", e), ("alpha·exp(z) below 0", alpha * e),
                ("scale·exp(z) below 0", scale * e),
                ("scale·alpha·exp(z) below 0", scale * alpha * e), ("f(z) below 0", a),
                ("alpha·(exp(z) − 1) below 0", alpha * (e - 1)),
                ("exp(z) − 1 below 0", e - 1), ("f(z) + 1 below 0", a + 1),
                ("f(z) + alpha below 0", a + alpha), ("alpha·f(z) below 0", alpha * a),
                ("alpha + z below 0", alpha + z), ("scale·alpha below 0", scale * alpha + 0 * z),
                ("alpha below 0", alpha + 0 * z), ("−alpha·exp(z) below 0", -alpha * e),
                ("exp(−z) below 0", np.exp(-np.minimum(z, 0))),
                ("alpha·exp(f(z)) below 0", alpha * np.exp(np.minimum(a, 0))),
            ):  # fmt: skip
                yield text + words, np.where(above, top, low)
    if name == "softplus":
        s = sigmoid(z)
        yield from [
            ("1 − sigmoid(z)", 1 - s),
            ("sigmoid′(z)", s * (1 - s)),
            ("exp(z)", np.exp(z)),
            ("exp(a)", np.exp(a)),
            ("1/(1 + exp(z))", 1 - s),
            ("1 − exp(−z)", -np.expm1(-z)),
            ("sigmoid(a)", sigmoid(a)),
        ]
        yield from [("[z > 0]", above.astype(float)), ("1/(1 + a)", 1 / (1 + a)), ("exp(−a)", np.exp(-a))]
    if name == "silu":
        s = sigmoid(z)
        yield from [
            ("sigmoid(z)", s),
            ("sigmoid′(z)", s * (1 - s)),
            ("z·sigmoid′(z)", z * s * (1 - s)),
            ("s + z(1 − s)", s + z * (1 - s)),
            ("a + s", a + s),
            ("a(1 − s)", a * (1 - s)),
        ]
    if name == "gelu":
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        yield from [
            ("Φ(z)", chain(name, np.ones_like(z), z, a, p) - z * density),
            ("z φ(z)", z * density),
            ("φ(z)", density),
        ]
