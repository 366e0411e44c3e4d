"""Hypotheses on f′: every derivative that people write at a layer in place of the true one."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from manual.catalogue.activations import softmax
from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS, jacobian
from mlp_torch.check.faults.claims import Claim, Claims, norm
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.formulas import formulas

Option = tuple[Claims, Array]


def options(c: Evidence, number: int, da: Array, unmasked: bool = False) -> list[Option]:
    """(claims, dz) of a layer for da, the gradient at its activation; the true one first.

    `unmasked`: da lives where dropout's mask is 0 too.
    """
    layer = c.problem.layers[number - 1]
    z, f = c.problem.z[number], c.problem.f[number]
    with np.errstate(all="ignore"):
        if layer.activation == "softmax":
            true, wrong = jacobian(da, f), list(_softmax(c, number, da, z, f))
        else:
            slope, others = slopes(c, number, unmasked)
            true, wrong = da * slope, [(claim, da * s) for claim, s in others]
            wrong += _of_upstream(c, number, da)
            words = "is f′(z) alone: the upstream gradient is not multiplied in"
            alone = _claim(c, number, "not_multiplied_by_upstream", "dz", words)
            wrong.append((alone, slope + 0 * da))
    kept: list[Option] = [((), true)]
    size = norm(true)
    for claim, dz in wrong:
        gap = norm(dz - true)
        if gap > 1e-10 * size and (gap < np.inf or np.isfinite(dz).all()):
            kept.append(((claim,), dz))
    return kept


def slopes(c: Evidence, number: int, unmasked: bool = False) -> tuple[Array, list[tuple[Claim, Array]]]:
    """f′ and all its slips at a layer, without those that cannot be told apart; worked out once.

    They are told apart where dropout left the layer alive, or everywhere if `unmasked`.
    """
    key = (number, unmasked)
    if key not in c.slopes:
        p = c.problem
        layer = p.layers[number - 1]
        z, f = p.z[number], p.f[number]
        from_z = FORMS[layer.activation].from_z
        assert from_z is not None
        slope = from_z(z, layer.constants)
        alive = np.broadcast_to(unmasked or layer.factor != 0, z.shape)
        weights = np.random.default_rng(7).uniform(1, 2, z.shape) * alive

        def print_of(values: Array) -> float:
            return float(f"{float((values * weights).sum()):.10e}")

        true, ones = print_of(slope), print_of(np.ones_like(z))
        seen: set[tuple[object, ...]] = set()
        kept = []
        for claim, value in _elementwise(c, number, z, f, slope):
            if not np.isfinite(value[alive]).all():
                continue
            mark = print_of(np.where(alive, value, 0.0))
            unit = claim.variant != "one" and layer.activation != "identity" and mark == ones
            if mark == true or unit or (claim.kind, mark) in seen:
                continue  # 1 everywhere is a missing derivative
            seen.add((claim.kind, mark))
            share = c.ratio(value[alive], slope[alive])
            if layer.activation == "identity" or (share is not None and c.name_constant(share)):
                claim = replace(claim, odd=1.5)  # a constant is its own slip, and identity has no formula
            kept.append((claim, np.where(alive, value, 0.0)))
        c.slopes[key] = (slope, kept)
    found: tuple[Array, list[tuple[Claim, Array]]] = c.slopes[key]
    return found


def _claim(c: Evidence, number: int, kind: str, variant: str, detail: str, odd: float = 1.0) -> Claim:
    return Claim(kind, variant, detail, number, line=c.names.delta(number), odd=odd)


def _softmax(c: Evidence, number: int, g: Array, z: Array, s: Array) -> Iterator[tuple[Claim, Array]]:
    kind = "wrong_softmax_jacobian"
    total = (g * s).sum(axis=1, keepdims=True)
    if (one := _one(c, number)) is not None:
        yield one, g
    yield (
        _claim(
            c,
            number,
            kind,
            "diagonal",
            "has the diagonal of softmax's Jacobian only, p(1 − p), with p = softmax(z)",
            0.8,
        ),
        g * s * (1 - s),
    )
    yield _claim(c, number, kind, "twice", "has softmax's Jacobian twice", 0.8), jacobian(jacobian(g, s), s)
    yield (
        _claim(
            c, number, kind, "diagonal twice", "has p(1 − p) beside softmax's Jacobian, with p = softmax(z)"
        ),
        jacobian(g, s) * s * (1 - s),
    )
    yield (
        _claim(c, number, kind, "s", "has p = softmax(z) in place of softmax's Jacobian: −p pᵀ is missing"),
        g * s,
    )
    yield (
        _claim(
            c,
            number,
            kind,
            "plus",
            "has diag(p) + p pᵀ for softmax's Jacobian diag(p) − p pᵀ, with p = softmax(z)",
        ),
        s * (g + total),
    )
    yield (
        _claim(
            c,
            number,
            kind,
            "outer",
            "has −p pᵀ alone for softmax's Jacobian diag(p) − p pᵀ, with p = softmax(z)",
        ),
        -s * total,
    )
    yield (
        _claim(c, number, kind, "samples", "sums softmax's Jacobian over the samples"),
        s * (g - (g * s).sum(axis=0)),
    )
    yield (
        _claim(c, number, kind, "no product", "has Σ da without p = softmax(z) in softmax's Jacobian"),
        s * (g - g.sum(axis=1, keepdims=True)),
    )
    yield (
        _claim(
            c,
            number,
            kind,
            "off diagonal",
            "has p(1 − p) off the diagonal of softmax's Jacobian too, with p = softmax(z)",
        ),
        g * s - s * (1 - s) * g.sum(axis=1, keepdims=True),
    )
    yield (
        _claim(
            c,
            number,
            "activation_derivative_at_wrong_array",
            "at a",
            "has softmax's Jacobian at softmax(a), not at z",
        ),
        jacobian(g, softmax(s)),
    )
    yield (
        _claim(c, number, "wrong_activation_derivative", "relu", "has relu's derivative for softmax's", 1.3),
        g * (z > 0),
    )
    yield (
        _claim(
            c,
            number,
            "wrong_activation_derivative",
            "tanh",
            "has tanh's derivative 1 − a² for softmax's",
            1.3,
        ),
        g * (1 - s * s),
    )


def _one(c: Evidence, number: int) -> Claim | None:
    name = c.problem.layers[number - 1].activation
    if name == "identity":
        return None
    return _claim(c, number, "missing_activation_derivative", "one", f"lacks the derivative of {name}", 0.5)


def _elementwise(c: Evidence, number: int, z: Array, f: Array, slope: Array) -> Iterator[tuple[Claim, Array]]:
    """(claim, f′ as written)."""
    problem = c.problem
    layer = problem.layers[number - 1]
    name, p = layer.activation, layer.constants
    form = FORMS[name]
    assert form.from_z is not None
    if (one := _one(c, number)) is not None:
        yield one, np.ones_like(z)
    at = "activation_derivative_at_wrong_array"
    if name != "identity":
        yield (
            _claim(c, number, at, "z-form at a", f"has the derivative of {name} at a, where z belongs", 0.6),
            form.from_z(f, p),
        )
        if form.from_a is not None:
            yield (
                _claim(c, number, at, "a-form at z", f"has {form.line} of {name} at z, where a belongs", 0.6),
                form.from_a(z, p),
            )
        if layer.mask is not None:
            dropped = problem.a[number]
            words = f"has the derivative of {name} after dropout, where it belongs before"
            if form.from_a is not None:
                yield _claim(c, number, at, "dropped", words, 0.7), form.from_a(dropped, p)
            yield _claim(c, number, at, "dropped z", words, 0.8), form.from_z(dropped, p)
        for j, other in enumerate(problem.a):
            for label, array in (("z", problem.z[j]), ("a", other)):
                if j == number or array.shape != z.shape or (j == 0 and label == "z"):
                    continue
                mark = c.names.mark(j) if j else ""
                where = "x" if j == 0 else f"{label}{mark}" if mark else f"{label} of {c.names.place(j)}"
                words = f"has the derivative of {name} at {where}, where {label} of its own layer belongs"
                claim = _claim(c, number, at, f"layer {j - number}", words, 1.1)
                yield claim, form.from_z(array, p)
                if form.from_a is not None:
                    yield claim, form.from_a(array, p)
    wrong = "wrong_activation_derivative"
    if name != "identity":
        yield _claim(c, number, wrong, "f", f"has {name} itself in place of its derivative", 0.7), f
        yield _claim(c, number, wrong, "twice", f"has the derivative of {name} twice", 0.9), slope * slope
        yield (
            _claim(c, number, wrong, "one minus", f"has 1 − f′ for the derivative of {name}", 1.2),
            1 - slope,
        )
        yield _claim(c, number, wrong, "z", f"has z in place of the derivative of {name}", 1.3), z
        yield (
            _claim(c, number, wrong, "f twice", f"has the derivative of {name} at f(f(z))", 1.4),
            form.from_z(form.f(f, p), p),
        )
        yield _claim(c, number, wrong, "inverse", f"divides by the derivative of {name}", 1.3), 1 / slope
        yield (
            _claim(c, number, wrong, "f times", f"multiplies the derivative of {name} by {name} itself", 1.2),
            slope * f,
        )
    for words, value in formulas(name, z, f, p):
        yield (
            _claim(c, number, wrong, words, f"has {words} for the derivative of {name}, {form.line}", 0.9),
            value,
        )
    for other_name, other_form in FORMS.items():
        if other_name in (name, "identity") or other_form.from_z is None:
            continue
        if other_name == "relu6" and max(z.max(initial=0), f.max(initial=0)) < 6:
            continue  # relu
        text = f"has the derivative of {other_name} for that of {name}"
        yield _claim(c, number, wrong, other_name, text, 1.0), other_form.from_z(z, other_form.defaults)
        if other_form.from_a is not None:
            yield _claim(c, number, wrong, other_name, text, 1.05), other_form.from_a(f, other_form.defaults)
            yield (
                _claim(c, number, wrong, f"{other_name} z", f"{text}, at z", 1.2),
                other_form.from_a(z, other_form.defaults),
            )
        yield (
            _claim(c, number, wrong, f"{other_name} a", f"{text}, at a", 1.2),
            other_form.from_z(f, other_form.defaults),
        )


def _of_upstream(c: Evidence, number: int, da: Array) -> list[tuple[Claim, Array]]:
    """The mask of the wrong tensor: f′ at the upstream gradient."""
    layer = c.problem.layers[number - 1]
    form = FORMS[layer.activation]
    if layer.activation == "identity":
        return []
    assert form.from_z is not None
    words = f"has the derivative of {layer.activation} at the upstream gradient, where z belongs"
    slope = form.from_z(c.problem.z[number], layer.constants)
    at_z = form.from_z(da, layer.constants)
    ways = [("upstream", words, da * at_z)]
    both = (
        f"has the derivative of {layer.activation} at the upstream gradient as well as at z, where it belongs"
    )
    ways.append(("upstream and z", both, da * slope * at_z))
    if form.from_a is not None:
        of_a = form.from_a(da, layer.constants)
        words = f"has {form.line} of {layer.activation} at the upstream gradient, where a belongs"
        ways.append(("upstream a", words, da * of_a))
    kind = "activation_derivative_at_wrong_array"
    return [(_claim(c, number, kind, variant, text), way) for variant, text, way in ways]
