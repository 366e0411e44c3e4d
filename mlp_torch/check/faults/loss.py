"""The loss: slips in its derivative and its target, other losses, labels, broadcasting, and its value."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from manual.activations import sigmoid
from manual.catalogue.activations import softmax
from manual.numbers import Array
from mlp_torch.check.describe.activations import chain
from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.losses import LOSSES, REDUCTIONS, recoded, slips
from mlp_torch.check.faults.claims import Claim
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.factors import common
from mlp_torch.check.faults.samples import broadcast
from mlp_torch.check.report import Fault

# the losses of ŷ − y, beside which Huber's may stand
OF_DISTANCE = ("squared_error", "half_squared_error", "absolute_error", "huber", "rmse")


def weights_of(c: Evidence, reduction: str) -> Array:
    p = c.problem
    per = {"sum": 1, "mean_over_samples": p.samples, "mean_over_all": p.output.size}
    return p.weight * per[p.reduction] / per[reduction]


def loss_gradients(c: Evidence) -> Iterator[tuple[Claim, Array]]:
    """(claim, G): derivatives of the loss by ŷ that are wrong, of other losses, other labels, broadcast."""
    p = c.problem
    L, o, y = len(p.layers), p.output, p.y
    line = f"dŷ = ∂L/∂ŷ = {LOSSES[p.loss].line}"
    slip = partial(Claim, layer=L, line=line)
    wrong = partial(slip, "wrong_loss_derivative")
    G = p.loss_gradient()
    for words, g in slips(p.loss, o, y):
        yield wrong(words, f"has {words}, for {LOSSES[p.loss].line}"), p.weight * g
    words = "lacks the loss's derivative: the upstream gradient is not multiplied in"
    yield slip("not_multiplied_by_upstream", "G", words), p.weight + 0 * G
    if p.sample_weight is not None:
        words = "lacks the sample weights"
        per = {"sum": 1, "mean_over_samples": p.samples, "mean_over_all": o.size}[p.reduction]
        w = np.full((p.samples, 1), 1 / per)
        yield wrong(words, words), w * LOSSES[p.loss].derivative(o, y)
        yield wrong("weights twice", "has the sample weights twice"), G * p.sample_weight.reshape(-1, 1)
    for loss, row in LOSSES.items():
        y2 = coded(loss, y)
        if loss == p.loss or y2 is None or (loss == "cross_entropy" and o.shape[1] == 1):
            continue
        if loss in ("bce", "cross_entropy") and not ((o > 0) & (o <= 1)).all():
            continue
        g = row.derivative(o, y2)
        if _proportional(g * p.weight, G):
            continue
        for reduction in dict.fromkeys((p.reduction, *REDUCTIONS)):
            if o.shape[1] == 1 and reduction == "mean_over_all" and p.reduction != reduction:
                continue
            odd = 0.4 if reduction == p.reduction else 0.7
            words = f"is right for {loss}, reduction {reduction}"
            claim = Claim("loss_mismatch", f"{loss} {reduction}", words, L, line=f"dŷ = {row.line}", odd=odd)
            yield claim, weights_of(c, reduction) * g
    yield from ((claim, G) for claim, G, _ in hubers(c))
    for words, y2 in recoded(LOSSES[p.loss].labels, y):
        yield slip("label_coding", words, f"takes {words}"), p.weight * LOSSES[p.loss].derivative(o, y2)
    if o.shape[1] == 1 and p.samples > 1:
        yield from broadcast(c, line)


def hubers(c: Evidence) -> Iterator[tuple[Claim, Array, float]]:
    """(claim, G, the loss's value): Huber's loss with another delta, which dW of the last layer shows.

    dŷ = clip(d, −δ, δ) with d = ŷ − y; smooth L1 has it over δ.
    """
    p = c.problem
    L, last, d = len(p.layers), p.layers[-1], p.output - p.y
    part = next(q for q in last.parts if q.role == "W")
    h = c.h.get(part)
    tied = sum(q.name == part.name and q.role == "W" for q in c.h) > 1
    if p.loss not in OF_DISTANCE or h is None or h.size < 3 or tied:
        return
    t = h - c.regulariser(part)
    back = chain(last.activation, p.a[L - 1] @ t, p.z[L], p.f[L], last.constants) * last.factor
    penalty = p.loss_value() - p.loss_value(penalty=False)
    beside = ", where loss='huber' has delta = 1" if p.loss == "huber" else ""
    for reduction in dict.fromkeys((p.reduction, *REDUCTIONS)):
        weight = weights_of(c, reduction)
        for delta, over in _deltas(d, weight * back, float(np.vdot(t, t)), c.rtol):
            G = weight * np.clip(d, -delta, delta) / over
            dz = chain(last.activation, G * last.factor, p.z[L], p.f[L], last.constants)
            if (p.loss == "huber" and abs(delta - 1) <= 1e-9) or not c.same(t, p.leaf(part, dz), part):
                continue
            number, smooth = f"{delta:.6g}", over != 1
            name = f"smooth L1 with beta = {number}" if smooth else f"huber with delta = {number}"
            line = f"dŷ = ŷ − y, cut to ±{number}{f', over {number}' if smooth else ''}"
            words, variant = f"is right for {name}{beside}, reduction {reduction}", name.replace(" ", "_")
            terms = np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2)) / over
            claim = Claim("loss_mismatch", f"{variant} {reduction}", words, L, line=line, odd=0.8)
            yield claim, G, float((terms * weight).sum()) + penalty


def _deltas(d: Array, share: Array, wanted: float, rtol: float) -> Iterator[tuple[float, float]]:
    """(δ, 1 or δ): the roots of Σ share · clip(d, −δ, δ) / (1 or δ) = wanted that cut some d and not others.

    Between neighbours of |d| the sum is below + δ · above, of the d that are not cut and of those that are.
    """
    order = np.argsort(np.abs(d), axis=None)
    d, share = d.ravel()[order], share.ravel()[order]
    size, turned = np.abs(d), share * np.sign(d)
    below, above = np.cumsum(share * d)[:-1], (turned.sum() - np.cumsum(turned))[:-1]
    with np.errstate(all="ignore"):
        roots = (wanted - below) / above, below / (wanted - above)
    for smooth, values in enumerate(roots):
        inside = (values >= size[:-1] * (1 - rtol)) & (values <= size[1:] * (1 + rtol)) & (values > 0)
        for delta in dict.fromkeys(float(f"{v:.12g}") for v in values[inside]):
            yield delta, delta if smooth else 1.0


def mismatched(c: Evidence) -> Iterator[tuple[tuple[Claim, Claim], Array]]:
    """Labels coded otherwise and broadcast; or another loss, of the same reduction, with one of these."""
    p = c.problem
    L, o = len(p.layers), p.output
    if o.shape[1] == 1 and p.samples > 1:
        line = f"dŷ = {LOSSES[p.loss].line}"
        for text, y2 in recoded(LOSSES[p.loss].labels, p.y):
            claim = Claim("label_coding", text, f"takes {text}", L, line=line)
            for wide, G in broadcast(c, line, labels=y2):
                yield (claim, replace(wide, odd=1.4)), G
    for loss, row in LOSSES.items():
        y = coded(loss, p.y)
        if loss == p.loss or y is None or (loss == "cross_entropy" and o.shape[1] == 1):
            continue
        if loss in ("bce", "cross_entropy") and not ((o > 0) & (o <= 1)).all():
            continue
        words, line = f"is right for {loss}, reduction {p.reduction}", f"dŷ = {row.line}"
        other = Claim("loss_mismatch", f"{loss} {p.reduction}", words, L, line=line, odd=0.4)
        for text, y2 in recoded(row.labels, p.y):
            claim = Claim("label_coding", text, f"takes {text}", L, line=line)
            yield (other, claim), p.weight * row.derivative(o, y2)
        if o.shape[1] == 1 and p.samples > 1:
            for claim, G in broadcast(c, line, loss):
                yield (other, claim), G


def _proportional(a: Array, b: Array) -> bool:
    square = float((b * b).sum())
    if not np.isfinite(a).all() or square == 0:
        return not np.isfinite(a).all()
    value = float((a * b).sum()) / square
    return float(np.linalg.norm(a - value * b)) <= 1e-12 * float(np.linalg.norm(a))


def coded(loss: str, y: Array) -> Array | None:
    """The same labels in another loss's coding, or None where they have no meaning there."""
    values = set(np.unique(y)[:3].tolist())
    binary, signed = values <= {0.0, 1.0}, values <= {-1.0, 1.0}
    kind = LOSSES[loss].labels
    one_hot = y.shape[1] > 1 and (binary or signed) and bool(((y == y.max()).sum(axis=1) == 1).all())
    if kind == "real":
        return y
    if kind == "sign":
        return y if signed else 2 * y - 1 if binary else None
    if kind == "binary":
        return y if binary or (y.min() >= 0 and y.max() <= 1) else (y + 1) / 2 if signed else None
    if loss == "multiclass_hinge":
        return None if not one_hot else (y + 1) / 2 if signed and not binary else y
    if y.min() < 0:
        return (y + 1) / 2 if one_hot and signed else None
    return y


def near(value: float, other: float, single: bool) -> bool:
    """Two values of a loss are the same."""
    slack = 1e-4 if single else 1e-7
    return abs(other - value) <= slack * max(abs(value), abs(other)) + 1e-12


def judge_loss(
    c: Evidence, value: float, chosen: list[Fault], verdict: str, notes: tuple[str, ...], single: bool
) -> tuple[list[Fault], str, tuple[str, ...]]:  # fmt: skip
    """The author's loss value against the described loss; a constant or another loss may explain both."""
    p = c.problem
    mine, is_it = p.loss_value(), partial(near, value, single=single)
    if not np.isfinite(mine):
        return (
            chosen,
            verdict,
            (*notes, "note: the described loss is infinite here; the loss value was not compared"),
        )

    if is_it(mine):
        return chosen, verdict, notes
    words = f"your loss is {value:.9g}, the described one {mine:.9g}"
    found = []
    for loss, reduction, total in _standard(p):
        if is_it(total):
            found.append(f"{loss}, reduction {reduction}")
    if is_it(p.loss_value(penalty=False)) and mine != p.loss_value(penalty=False):
        found.append(f"{p.loss} without its penalty")
    if found:
        words += f": that is {found[0]}"
    kinds = {f.kind for f in chosen}
    same = any(is_it(total) for claim, _, total in hubers(c) if any(claim.detail == f.detail for f in chosen))
    if verdict == "other_loss" and (same or any(chosen[0].detail.endswith(x) for x in found)):
        return chosen, verdict, (*notes, f"note: {words}")
    if "constant_factor" in kinds and is_it(
        mine * (common(c, {q: t for q, t in p.true().items() if q in c.h}) or np.nan)
    ):
        if found and verdict == "scaled":  # the loss and its gradients are another one's
            chosen = [replace(chosen[0], kind="loss_mismatch", detail=f"is right for {found[0]}")]
            return chosen, "other_loss", (*notes, f"note: {words}")
        return chosen, verdict, (*notes, f"note: {words}, by the same factor")
    if "broadcast" in kinds or kinds == {"forward_mismatch"}:
        return chosen, verdict, (*notes, f"note: {words}")
    n, k = p.output.shape
    if k == 1 and n > 1:
        y = np.broadcast_to(p.y.T, (n, n))
        with np.errstate(all="ignore"):
            terms = LOSSES[p.loss].terms(np.broadcast_to(p.output, (n, n)), np.ascontiguousarray(y))
        rest = mine - p.loss_value(penalty=False)
        if (
            is_it(float(terms.mean()) + rest)
            or is_it(float(terms.sum()) + rest)
            or is_it(float(terms.sum()) / n + rest)
        ):
            detail = f"(N,) against (N, 1) broadcasts to ({n}, {n}) in the loss"
            return [*chosen, Fault("broadcast", None, ("loss",), detail, words)], "wrong", notes
    fault = Fault(
        "wrong_loss_value", None, ("loss",), "the loss value is not that of the described loss", words
    )
    return [*chosen, fault], "wrong", notes


def _standard(p: Network) -> list[tuple[str, str, float]]:
    """Values of the standard losses on the same forward pass, with the penalties."""
    extra = p.loss_value() - p.loss_value(penalty=False)
    per = {"sum": 1, "mean_over_samples": p.samples, "mean_over_all": p.output.size}
    found = []
    for loss in LOSSES:
        y = p.y if loss == p.loss else coded(loss, p.y)
        if y is None:
            continue
        with np.errstate(all="ignore"):
            terms = float((LOSSES[loss].terms(p.output, y) * p.weight).sum())
        for reduction in REDUCTIONS:
            found.append((loss, reduction, terms * per[p.reduction] / per[reduction] + extra))
    return found


# The pairs of loss and activation whose dz is p − y
CANCELLING = (("cross_entropy", "softmax"), ("bce", "sigmoid"))


def of_target(c: Evidence) -> Iterator[tuple[Claim, Array, Array]]:
    """(claim, the gradient at the output, dz of the last layer)."""
    p = c.problem
    L, last, o, y = len(p.layers), p.layers[-1], p.output, p.y
    if (p.loss, last.activation) in CANCELLING and last.mask is None:
        for claim, value in _slips(L, f"dz{c.names.mark(L)} = p − y", "p", o, y, 1.0):
            yield claim, p.weight * value, p.weight * value
        return
    row = {
        "squared_error": ("ŷ", o, 2.0),
        "half_squared_error": ("ŷ", o, 1.0),
        "bce_with_logits": ("σ(ŷ)", sigmoid(o), 1.0),
        "cross_entropy_from_logits": ("softmax(ŷ)", softmax(o), 1.0),
    }.get(p.loss)
    if row is None:
        return
    what, value, times = row
    shown = "2" if times == 2 else ""
    line = f"dŷ = 2({what} − y)" if shown else f"dŷ = {what} − y"
    for claim, slip in _slips(L, line, what, value, y, times):
        G = p.weight * slip
        upstream = G * last.factor
        yield claim, upstream, chain(last.activation, upstream, p.z[L], p.f[L], last.constants)


def _slips(L: int, line: str, what: str, o: Array, y: Array, times: float) -> Iterator[tuple[Claim, Array]]:
    two = "2" if times == 2 else ""
    right = f"2({what} − y)" if two else f"{what} − y"
    kind = "wrong_loss_derivative"
    if not np.any(y):
        return
    words = f"has {two}{what} for {right}: y is forgotten"
    yield Claim(kind, "y forgotten", words, L, line=line, odd=0.2), times * o
    words = f"has {f'2({what} + y)' if two else f'{what} + y'} for {right}"
    yield Claim(kind, "y added", words, L, line=line, odd=0.2), times * (o + y)


def told_of_target(claim: Claim) -> bool:
    """Whether a claim is one of these."""
    return claim.kind == "wrong_loss_derivative" and claim.variant in ("y forgotten", "y added")
