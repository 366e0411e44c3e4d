"""The table of hypotheses on the chain: the loss's derivative, f′ by its slips or fitted, dropout."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from manual.catalogue.activations import softmax
from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS, chain, jacobian
from mlp_torch.check.describe.losses import LOSSES, fused
from mlp_torch.check.faults import activation, dropout
from mlp_torch.check.faults.claims import Claim, Claims, cost, norm
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.loss import loss_gradients, mismatched, of_target, weights_of

# (claims, da before f′, dz)
ChainStep = tuple[Claims, Array, Array]


def top(c: Evidence, budget: int) -> Iterator[ChainStep]:
    """Every dz of the last layer within `budget` mistakes, the true one first."""
    p = c.problem
    L = len(p.layers)
    last = p.layers[-1]
    true = p.top()
    with np.errstate(all="ignore"):
        da = p.loss_gradient() * last.factor
        yield (), da, true
        if budget == 0:
            return
        for claim, upstream, dz in of_target(c):
            yield (claim,), upstream, dz
        for claims, dz in activation.options(c, L, da)[1:]:
            yield claims, da, dz
        yield from _doubled(c, da, true)
        yield from _other_axis(c)
        if budget == 0:
            return
        for claim, G in loss_gradients(c):
            upstream = G * last.factor
            short = _fused(c, claim)
            through = chain(last.activation, upstream, p.z[L], p.f[L], last.constants)
            dz = through if short is None else short
            if claim.kind == "loss_mismatch" and c.ratio(dz, true) is not None:
                continue  # bce over two softmax outputs is twice cross_entropy: a constant
            yield (claim,), upstream, dz
            if budget >= 2 and (claim.kind != "loss_mismatch" or claim.variant.endswith(f" {p.reduction}")):
                for more, other in activation.options(c, L, upstream)[1:]:
                    yield (claim, *more), upstream, other
        if budget >= 2:
            for claims, G in mismatched(c):
                upstream = G * last.factor
                yield claims, upstream, chain(last.activation, upstream, p.z[L], p.f[L], last.constants)
        if last.mask is not None:
            for claim, upstream in dropout.slips(c, L, p.loss_gradient()):
                ways = activation.options(c, L, upstream, unmasked=True)
                for more, dz in ways[: None if budget > 1 else 1]:
                    yield (claim, *more), upstream, dz


def _fused(c: Evidence, claim: Claim) -> Array | None:
    """dz of another loss whose derivative cancels with the activation's."""
    p = c.problem
    if claim.kind != "loss_mismatch" or p.layers[-1].mask is not None:
        return None
    loss, reduction = claim.variant.split(" ")
    short = fused(loss, p.layers[-1].activation, p.output, p.y, p.z[-1])
    return None if short is None else short * weights_of(c, reduction)


def _other_axis(c: Evidence) -> Iterator[ChainStep]:
    """Softmax over the samples: in the backward pass alone, or in the forward pass that it belongs to."""
    p = c.problem
    L, last = len(p.layers), p.layers[-1]
    if last.activation != "softmax" or last.mask is not None or p.samples == 1:
        return
    s = softmax(p.z[L].T).T
    da = p.weight * LOSSES[p.loss].derivative(s, p.y)
    ways = [s * (da - (da * s).sum(axis=0))]
    if p.loss == "cross_entropy":
        ways.append(p.weight * (s - p.y))
    line = c.names.delta(L)
    words = "has softmax over the samples in the backward pass, where it is over the outputs"
    claims = [Claim("wrong_softmax_jacobian", "axis", words, L, line=line, odd=0.9)]
    if not c.output_known:
        words = "has softmax over the samples; the network described has it over the outputs"
        claims.append(Claim("forward_mismatch", "axis", words, L, line=line, odd=0.7))
    for claim in claims:
        for dz in ways:
            yield (claim,), da, dz


def _doubled(c: Evidence, da: Array, true: Array) -> Iterator[ChainStep]:
    """The pair loss and softmax or sigmoid cancels to p − y; people then multiply by f′ once more."""
    p = c.problem
    L, last = len(p.layers), p.layers[-1]
    kind, line = "wrong_softmax_jacobian", f"dz{c.names.mark(L)} = p − y"
    if last.activation == "softmax" and p.loss == "cross_entropy" and last.mask is None:
        s = p.output
        yield (
            (
                Claim(
                    kind,
                    "twice",
                    "has softmax's Jacobian twice: p − y holds it already",
                    L,
                    line=line,
                    odd=0.4,
                ),
            ),
            da,
            jacobian(true, s),
        )
        yield (
            (
                Claim(
                    kind,
                    "diagonal twice",
                    "has p(1 − p) beside p − y, which holds the Jacobian already",
                    L,
                    line=line,
                    odd=0.6,
                ),
            ),
            da,
            true * s * (1 - s),
        )
        yield (
            (Claim(kind, "s twice", "has p beside p − y, which holds the Jacobian already", L, line=line),),
            da,
            true * s,
        )
    if p.loss == "cross_entropy_from_logits" and last.mask is None:
        o = p.output
        s = LOSSES["cross_entropy_from_logits"].derivative(o, np.zeros_like(o)) + np.exp(
            o - np.logaddexp.reduce(o, axis=1, keepdims=True)
        )
        G = p.loss_gradient()
        for variant, words, g in (
            ("twice", "has softmax's Jacobian twice: p − y holds it already", jacobian(G, s)),
            (
                "diagonal twice",
                "has p(1 − p) beside p − y, which holds the Jacobian already",
                G * s * (1 - s),
            ),
            ("diagonal", "has the diagonal of softmax's Jacobian only, p(1 − p)", -p.weight * p.y * (1 - s)),
        ):
            claim = Claim(kind, variant, words, L, line="dŷ = softmax(ŷ) − y", odd=0.6)
            yield (claim,), g, chain(last.activation, g, p.z[L], p.f[L], last.constants)


def hidden(c: Evidence, number: int, u: Array, budget: int) -> Iterator[ChainStep]:
    """Every dz of hidden layer number from the gradient at its output, the true one first."""
    layer = c.problem.layers[number - 1]
    da = u * layer.factor
    if budget == 0:
        yield (), da, c.problem.down(number, u)
        return
    with np.errstate(all="ignore"):
        for claims, dz in activation.options(c, number, da):
            yield claims, da, dz
        if budget > 1 and layer.activation != "softmax":
            yield from _alone(c, number, da)
        for claim, other in dropout.slips(c, number, u):
            ways = activation.options(c, number, other, unmasked=True)
            for claims, dz in ways[: None if budget > 1 else 1]:
                yield (claim, *claims), other, dz


def _alone(c: Evidence, number: int, da: Array) -> Iterator[ChainStep]:
    """A wrong f′ that is not multiplied by the upstream gradient either."""
    words = "is f′(z) alone: the upstream gradient is not multiplied in"
    plain = Claim("not_multiplied_by_upstream", "dz", words, number, line=c.names.delta(number))
    for claim, slope in activation.slopes(c, number)[1]:
        yield (claim, plain), da, slope


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
