"""Slips in the formula of one derivative, by a table and by coefficients fitted to dW."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from manual.activations import sigmoid
from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS, chain
from mlp_torch.check.faults import activation
from mlp_torch.check.faults.claims import Claim, Claims, cost, norm
from mlp_torch.check.faults.evidence import Evidence


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


def fitted(
    c: Evidence, number: int, u: Array | None, so_far: Claims, budget: int, shared: Mapping[str, int]
) -> Iterator[tuple[Claims, Array, Array]]:
    """f′ with free coefficients, fitted to dW of this layer: a slip in one number of the formula."""
    p = c.problem
    layer = p.layers[number - 1]
    part = next((x for x in layer.parts if x.role == "W"), None)
    h = None if part is None else c.h.get(part)
    if part is None or h is None or part.name in shared:
        return
    with np.errstate(all="ignore"):
        da = p.loss_gradient() * layer.factor if u is None else u * layer.factor
    if not np.isfinite(da).all():
        return
    R = p.regulariser(part)
    true = p.top() if u is None else p.down(number, u)
    for family, basis in families(c, number):
        if h.size < len(basis) + 4:
            continue
        terms = [p.leaf(part, da * b) for b in basis]
        beta = c.fit(h - R, *terms)
        if beta is None:
            continue
        dz = da * sum(float(b) * v for b, v in zip(beta, basis, strict=True))
        if norm(dz) <= 1e-9 * norm(da):
            continue  # nothing comes through: no formula shows that
        known = [true, da, *(da * s for _, s in activation.slopes(c, number)[1])]
        if any(c.ratio(dz, other) is not None for other in known):
            continue  # a formula that people write, times a constant: two slips, not one odd formula
        nice = np.round(beta * 4) / 4
        odd = 1.1 if np.allclose(beta, nice, atol=1e-6) else 1.4
        form = FORMS[layer.activation]
        if family == "a":
            text = polynomial(beta, ("1", "a", "a²"))
        else:
            text = f"{beta[0]:.6g} times it above 0 and {beta[1]:.6g} times below"
        claim = Claim(
            "wrong_activation_derivative", "fitted",
            f"has {text} for the derivative of {layer.activation}, {form.line}",
            number, line=c.names.delta(number), odd=odd,
        )  # fmt: skip
        now = (*so_far, claim)
        if cost(now) <= budget:
            yield now, da, dz


def polynomial(coefficients: Array, powers: Sequence[str]) -> str:
    """1 − 2a², as it is written by hand."""
    text = ""
    for b, power in zip(coefficients, powers, strict=True):
        if abs(b) <= 1e-7:
            continue
        number = f"{abs(b):.4g}"
        term = number if power == "1" else power if number == "1" else f"{number}{power}"
        sign = ("−" if b < 0 else "") if not text else (" − " if b < 0 else " + ")
        text += sign + term
    return text or "0"


def families(c: Evidence, number: int) -> list[tuple[str, list[Array]]]:
    """Formulas with free numbers, dz = da · Σ βᵢ basisᵢ: what a slip in one coefficient looks like."""
    layer = c.problem.layers[number - 1]
    z, a = c.problem.z[number], c.problem.f[number]
    form = FORMS[layer.activation]
    if layer.activation in ("sigmoid", "tanh"):
        return [("a", [np.ones_like(a), a, a * a])]
    if form.piecewise and form.from_z is not None:
        slope = form.from_z(z, layer.constants)
        up, down = np.where(z > 0, slope, 0.0), np.where(z > 0, 0.0, slope)
        flat = np.where(z > 0, 0.0, 1.0)
        return [("sides", [up, b]) for b in (down, flat) if up.any() and b.any()]
    return []
