"""f′ with free coefficients, fitted to an author's dW: a slip in one number of a formula."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.faults import activation
from mlp_torch.check.faults.claims import Claim, Claims, cost, norm
from mlp_torch.check.faults.evidence import Evidence


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
