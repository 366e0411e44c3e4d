"""Another description of the network under which the author's gradients are right, every array of them."""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.forward import Affine, Network, Penalties
from mlp_torch.check.describe.losses import LOSSES, REDUCTIONS
from mlp_torch.check.faults.claims import Claim, Claims, norm
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.loss import coded, weights_of


def makes_all(c: Evidence, p: Network) -> bool:
    """Whether the true gradients of `p` are the author's, looked at from the output down."""
    with np.errstate(all="ignore"):
        top, last = p.top(), p.layers[-1]
        for part in last.parts:
            h = c.h.get(part)
            if part.role != "slope" and (
                h is None or not c.same(h, p.leaf(part, top) + p.regulariser(part), part)
            ):
                return False
        true = p.true()
    unused = [h for q, h in c.h.items() if q not in true]  # a bias that is not added has a gradient of 0
    return all((h := c.h.get(q)) is not None and c.same(h, t, q) for q, t in true.items()) and not any(
        h is None or h.any() for h in unused
    )


def another_forward(c: Evidence) -> list[Claims]:
    """The forward passes near the one described whose gradients are the author's."""
    if c.output_known:
        return []
    found: list[Claims] = []
    seen: list[Array] = []
    for variant, words, p in _near(c):
        if c.expired():
            break
        if makes_all(c, p) and not any(np.allclose(p.output, other, rtol=1e-9, atol=0) for other in seen):
            seen.append(p.output)
            detail = f"is right for another forward pass than the one described: {words}"
            claims = [Claim("forward_mismatch", variant, detail, q.layer, q.name, odd=0.5) for q in c.h]
            found.append(tuple(claims))
    return found


def _near(c: Evidence) -> Iterator[tuple[str, str, Network]]:
    """(variant, words, network): what no option can describe; what one can is in `describe/readings.py`."""
    p, names = c.problem, c.names

    def changed(*layers: Affine) -> Network:
        return _rerun(p, {layer.index: layer for layer in layers})

    biased = [layer for layer in p.layers if layer.b is not None and layer.b.any()]
    for layer in biased:
        words = f"{names.place(layer.index)} adds no bias"
        for bare in _unbiased(layer):
            yield f"bias {layer.index}", words, changed(bare)
    if len(biased) > 1:
        for every in zip(*map(_unbiased, biased), strict=True):
            yield "bias", "no layer adds its bias", changed(*every)
    for layer in p.layers:
        if layer.mask is not None:
            continue
        for value in _multiples(c, layer):
            words = f"the output of {names.place(layer.index)} is multiplied by {value:.6g}"
            mask = np.full(p.a[layer.index].shape, value)
            yield f"times {layer.index}", words, changed(replace(layer, mask=mask, scaled=True))


def _unbiased(layer: Affine) -> tuple[Affine, Affine]:
    """The layer without its bias, whose gradient is handed over all the same, or is 0."""
    kept = replace(layer, b=np.zeros_like(layer.b))
    return kept, replace(kept, parts=tuple(q for q in layer.parts if q.role != "b" or q.fold))


def _rerun(p: Network, own: Mapping[int, Affine]) -> Network:
    """The forward pass with the layers `own`; what lies below the first of them is kept."""
    other, start = copy.copy(p), min(own)
    other.layers = [own.get(layer.index, layer) for layer in p.layers]
    other.z, other.f, other.a = p.z[:start], p.f[:start], p.a[:start]
    for layer in other.layers[start - 1 :]:
        was = p.layers[layer.index - 1]
        if layer.index == start and layer.b is was.b:
            z = p.z[start]
        else:
            z = other.a[-1] @ layer.W + (0.0 if layer.b is None else layer.b)
        f = FORMS[layer.activation].f(z, layer.constants)
        other.z.append(z)
        other.f.append(f)
        other.a.append(f * layer.factor)
    return other


def _multiples(c: Evidence, layer: Affine) -> Iterator[float]:
    """Constants that a layer's output may be multiplied with."""
    p, width = c.problem, layer.W.shape[0]
    if layer.index == len(p.layers) and p.loss in ("squared_error", "half_squared_error"):
        part = next(q for q in layer.parts if q.role == "W")
        h, w = c.h.get(part), p.weight
        if h is not None and layer.activation == "identity":
            # dW = k aᵀ(v² o − v y) of the error v o − y
            pair = c.fit(h - p.regulariser(part), p.leaf(part, w * p.output), p.leaf(part, w * p.y))
            if pair is not None and pair[1]:
                yield -float(pair[0] / pair[1])
    yield from dict.fromkeys((2.0, 0.5, 10.0, 0.1, -1.0, 1 / width, 1 / math.sqrt(width), math.sqrt(width)))


def another_loss(c: Evidence, value: float | None) -> str:
    """The options of other losses or reductions that make every array right, two at most, or nothing.

    `value`: what it multiplies dŷ by.
    """
    p, found = c.problem, list[str]()
    with np.errstate(all="ignore"):
        G = p.loss_gradient()
        for loss, row in LOSSES.items():
            y = p.y if loss == p.loss else coded(loss, p.y)
            if y is None or (loss == "cross_entropy" and p.output.shape[1] == 1):
                continue
            slope = row.derivative(p.output, y)
            for reduction in dict.fromkeys((p.reduction, *REDUCTIONS)):
                if (loss, reduction) == (p.loss, p.reduction):
                    continue
                weight = weights_of(c, reduction)
                if value is not None and not norm(weight * slope - value * G) <= 1e-7 * norm(value * G):
                    continue
                other = replace(p, loss=loss, reduction=reduction, y=y, weight=weight, z=[], f=[], a=[])
                if makes_all(c, other):
                    said = [f"loss={loss!r}"] if loss != p.loss else []
                    said += [f"reduction={reduction!r}"] if reduction != p.reduction else []
                    found.append(", ".join(said))
    return " or for ".join(sorted(found, key=lambda text: text.count("="))[:2])


def another_penalty(c: Evidence, claims: Claims) -> tuple[str, float | None]:
    """The penalty for which the author's gradients are right, how to describe it, and the loss with it."""
    p = c.problem
    if not claims or {x.kind for x in claims} != {"wrong_regulariser"} or any(not x.name for x in claims):
        return "", None
    label = "l1" if any("l1" in x.variant for x in claims) else "l2"
    if any(t.l1 if label == "l2" else t.l2 for t in p.penalties.values()):
        return "", None
    own = {(x.layer, x.name): x.value for x in claims}
    amounts: dict[str, set[str]] = {"W": set(), "b": set()}
    penalties = dict(p.penalties)
    for q in c.h:
        if q.role == "slope":
            continue
        given = p.penalties.get((q.layer, q.role), Penalties())
        v = own.get((q.layer, q.name), 2 * given.l2 + given.l1)
        penalties[q.layer, q.role] = Penalties(v / 2, 0) if label == "l2" else Penalties(0, v)
        if p.theta(q).any():
            amounts[q.role].add(f"{v:.9g}")
    if any(len(v) > 1 for v in amounts.values()) or not amounts["W"]:
        return "", None
    other = replace(p, penalties=penalties, z=[], f=[], a=[])
    if not makes_all(c, other):
        return "", None
    w, b = float(amounts["W"].pop()), float(amounts["b"].pop()) if amounts["b"] else 0.0
    if b not in (0.0, w):
        return "", None
    described = max((2 * t.l2 + t.l1 for (_, role), t in p.penalties.items() if role == "W"), default=0.0)
    if w == 0:
        return f"no penalty: leave {label}= out", other.loss_value()
    words, option = _penalty(label, w, described, p.samples)
    if b:
        words, option = (
            ("the penalty on biases too" if w == described else words),
            f"{option}, on_biases=True",
        )
    return f"{words}: {label}=Penalty({option})", other.loss_value()


def _penalty(label: str, amount: float, described: float, n: int) -> tuple[str, str]:
    """What the penalty is beside the one described, and the option whose gradient is amount · θ."""
    ratio, square = amount / described if described else 0.0, "Σθ²" if label == "l2" else "Σ|θ|"
    for wanted, words, option in (
        (2.0, f"the penalty λ{square}, where ½λ{square} is described", f"{amount / 2:.6g}, half=False"),
        (0.5, f"the penalty ½λ{square}, where λ{square} is described", f"{amount:.6g}"),
        (1 / n, "the penalty over N", f"{amount * n:.6g}, over_samples=True"),
        (float(n), "the penalty not over N", f"{amount:.6g}"),
    ):
        if abs(ratio - wanted) <= 1e-6 * wanted and (label == "l2" or wanted not in (2.0, 0.5)):
            return words, option
    return f"a penalty of {amount / (2 if label == 'l2' else 1):.6g}·{square}", f"{amount:.6g}"
