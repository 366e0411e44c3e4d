"""The local certificate's rules for the losses and their gradients: true values and rounding bounds."""

from dataclasses import replace
from typing import Any

import numpy as np
from flint import arb

from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify import elementwise
from mlp_torch.verify.enclosure import UNDERFLOW, Enclosure, balls, exact, from_balls, total
from mlp_torch.verify.local import Context, Local, Rule, enclosed_log_softmax
from mlp_torch.verify.rounding import Rounding, softmax_errors, up


def _count(stage: Stage, output: Array) -> int:
    return LOSSES[stage.row].count(output) if stage.options["reduction"] == "mean" else 1


# The term's own rounding, in units of γ, of each elementwise loss: value and derivative
def term_errors(row: str, o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
    if row in ("mse", "half_squared_error"):
        return r.gamma(5) * (o - y) ** 2, r.gamma(4) * np.abs(d)
    if row == "l1":
        return r.gamma(3) * np.abs(o - y), r.gamma(3) * np.abs(d)
    if row == "smooth_l1":
        return r.gamma(5) * (np.abs(o - y) + 1) * np.minimum(np.abs(o - y), 1), r.gamma(5) * np.abs(d)
    if row == "hinge":
        return r.gamma(4) * (1 + 2 * np.abs(y * o)), r.gamma(3) * np.abs(d)
    s = 1 / (1 + np.exp(-np.clip(o, -700, 700)))
    size = 1 + np.abs(y) + np.abs(1 - y)
    value = r.gamma(24) * np.log1p(np.exp(-np.abs(o))) + r.gamma(6) * np.abs(o) * size
    return value, r.gamma(24) * s + r.gamma(30) * size


def _elementwise(stage: Stage, c: Context) -> tuple[Enclosure, Enclosure, Array, Array]:
    output, y = c.read(stage)
    key = ("loss", stage.reads)
    if key not in c.memo:
        c.memo[key] = elementwise.term(stage.row, output, y)
    values, derivatives = c.memo[key]
    return values, derivatives, *term_errors(stage.row, output, y, derivatives.hi, c.r)


def _divided(e: Enclosure, n: int) -> Enclosure:
    """e / n, enclosed."""
    reciprocal = arb(1) / n
    hi = float(reciprocal)
    return _times_pair(e, hi, float(reciprocal - hi))


def _times_pair(e: Enclosure, hi: float, lo: float) -> Enclosure:
    first = e * np.asarray(hi)
    # |lo| ≤ 2⁻⁵³ |hi|: left out are lo · lo, the rounding of hi · lo and of lo itself
    slack = 2.0**-104 * np.abs(e.hi * hi) + 2.0**-52 * np.abs(e.lo * hi) + UNDERFLOW
    lo_part = Enclosure(e.hi * lo, np.zeros_like(e.hi), slack)
    return first + lo_part


# What a term of each sample counts where samples are weighted, (N, 1): wᵢ / (Σ w · terms a sample), or wᵢ
def _shares(stage: Stage, output: Array, w: Array) -> Enclosure:
    if stage.options["reduction"] == "sum":
        return exact(w[:, None])
    whole = sum(balls(w), arb(0)) * (1 if LOSSES[stage.row].per_sample else output.shape[1])
    return from_balls([v / whole for v in balls(w)], (len(w), 1))


def share_rounding(w: Array, size: Array, per: int, r: Rounding) -> tuple[float, Array]:
    """How far a term times its share may stray: of itself, and by underflow where terms are of that size.

    A sum of N weights, two products and a quotient; nothing is claimed where the weights themselves vanish.
    1/Σw may underflow, and is then multiplied by both the weight and the term.
    """
    whole = w.sum() * per
    flushed = r.tiny * (1 + w.max() + size + 1 / whole) + r.least * w.max() * size
    return r.gamma(len(w) + 4), np.where(whole * r.u > r.tiny, flushed, np.inf)


def _widened(e: Enclosure, like: Enclosure) -> Enclosure:
    return Enclosure(*(np.broadcast_to(part, like.hi.shape) for part in (e.hi, e.lo, e.radius)))


# the rule of a sum, each sample's term times its share
def _weighted_gradient(stage: Stage, c: Context) -> Local:
    output, _, w = c.read(stage)
    one = replace(stage, reads=stage.reads[:2], options={"reduction": "sum"})
    local, shares = _loss_gradient(one, c), _shares(stage, output, w)
    truth = elementwise.times(local.truth, _widened(shares, local.truth))
    rounding, flushed = share_rounding(w, np.abs(local.truth.hi), output.shape[1], c.r)
    allowed = local.bound * np.abs(shares.hi) * (1 + rounding) + rounding * np.abs(truth.hi) + flushed
    other = None
    if local.other is not None and local.kink is not None:
        other = elementwise.times(local.other, _widened(shares, local.other))
        allowed = np.maximum(allowed, np.where(local.kink, rounding * np.abs(other.hi) + allowed, 0))
    largest = np.maximum(local.size * np.maximum(1, w.max()), w.sum() * output.shape[1])
    return Local(truth, up(allowed, len(w)), largest, local.kink, other)


def _loss(stage: Stage, c: Context) -> Local:
    output, y, *w = c.read(stage)
    n = 1 if w else _count(stage, output)
    stage = replace(stage, reads=stage.reads[:2])
    if stage.row == "cross_entropy":
        terms, errors = _cross_entropy_terms(output, y, c.r)
    elif stage.row == "multi_margin":
        terms, errors = _margin_terms(output, y, c.r)
    else:
        terms, _, errors, _ = _elementwise(stage, c)
    largest = _loss_size(stage, output, y)
    if w:
        shares = _shares(stage, output, w[0])
        rounding, flushed = share_rounding(w[0], np.abs(terms.hi), output.shape[1], c.r)
        terms = elementwise.times(terms, _widened(shares, terms))
        errors = errors * (1 + rounding) * np.abs(shares.hi) + rounding * np.abs(terms.hi) + flushed
        largest = largest * np.maximum(1, w[0].max()) + w[0].sum()
    size = terms.hi.size + 4
    bound = (errors.sum() + c.r.gamma(size) * (np.abs(terms.hi) + errors).sum()) / n
    return Local(_divided(total(terms), n), np.asarray(up(bound + size * c.r.tiny, size)), largest.sum())


def _loss_size(stage: Stage, output: Array, y: Array) -> Array:
    """What the terms of a loss are made of, entry by entry, at most."""
    top = np.abs(output) if LOSSES[stage.row].target != "label" else np.abs(output).max(axis=1, keepdims=True)
    factor = 1 + (np.abs(y) if y.shape == output.shape else 1)
    size = 4 * (1 + top) * factor
    if stage.row in ("mse", "half_squared_error", "smooth_l1"):
        size = size + (np.abs(output) + np.abs(y)) ** 2
    return np.broadcast_to(size, output.shape)


def _sized(local: Local, stage: Stage, output: Array, y: Array) -> Local:
    """The gradient of a loss: squares occur in the value alone."""
    factor = 1 + (np.abs(y).max() if y.shape == output.shape else 1)
    return replace(local, size=4 * (1 + np.abs(output).max()) * factor * output.shape[1])


def _loss_gradient(stage: Stage, c: Context) -> Local:
    if len(stage.reads) > 2:
        return _weighted_gradient(stage, c)
    output, y = c.read(stage)
    return _sized(_loss_gradient_rule(stage, c), stage, output, y)


def _loss_gradient_rule(stage: Stage, c: Context) -> Local:
    output, y = c.read(stage)
    n = _count(stage, output)
    if stage.row == "cross_entropy":
        return _cross_entropy_gradient(output, y, n, c.r)
    if stage.row == "multi_margin":
        return _margin_gradient(output, y, n, c.r)
    _, derivative, _, error = _elementwise(stage, c)
    truth = _divided(derivative, n)
    bound = up((error + c.r.gamma(4) * np.abs(derivative.hi)) / n + c.r.tiny)
    if stage.row != "hinge":
        return Local(truth, bound)
    # 1 − y ŷ is exact for y = ±1; else its sign is open within the rounding of the product
    kink = (np.abs(1 - y * output) <= 4 * c.r.u * (1 + np.abs(y * output))) & (np.abs(y) != 1)
    other = _divided(exact(np.where(derivative.hi == 0, -y, 0)), n)
    return Local(truth, up(bound + c.r.gamma(4) * np.abs(y) / n), kink=kink, other=other)


def _weights(output: Array, y: Array) -> Array:
    """The rows of probabilities that labels stand for."""
    if y.ndim == 2:
        return y
    rows = np.zeros(output.shape)
    rows[np.arange(len(y)), y.astype(int)] = 1
    return rows


def _cross_entropy_terms(output: Array, y: Array, r: Rounding) -> tuple[Enclosure, Array]:
    log_p, _ = enclosed_log_softmax(output)
    log_error, _ = softmax_errors(output, log_p.hi, r)
    weights = _weights(output, y)
    errors = np.abs(weights) * (log_error + r.gamma(output.shape[1] + 2) * np.abs(log_p.hi))
    return log_p * -weights, errors


# (softmax(ŷ) Σ y − y) / N
def _cross_entropy_gradient(output: Array, y: Array, n: int, r: Rounding) -> Local:
    log_p, p = enclosed_log_softmax(output)
    _, relative = softmax_errors(output, log_p.hi, r)
    weights = _weights(output, y)
    weight_sum = total(exact(weights), 1)
    k = output.shape[1]
    spread = np.abs(weights).sum(axis=1, keepdims=True)
    hi, lo, radius = (
        np.broadcast_to(part.reshape(-1, 1), p.hi.shape)
        for part in (weight_sum.hi, weight_sum.lo, weight_sum.radius)
    )
    small = Enclosure(p.hi * lo, np.zeros_like(p.hi), radius + 2.0**-104 * np.abs(p.hi * hi))
    truth = _divided(p * hi + small + exact(-weights), n)
    bound = p.hi * spread * (relative + r.gamma(k + 4)) + r.gamma(k + 5) * np.abs(weights)
    return Local(truth, up(bound / n + r.tiny, k))


def _margins(output: Array, y: Array) -> tuple[list[list[Any]], Array]:
    """1 − ŷ_y + ŷⱼ in balls, and the size that their rounding goes by."""
    labels = y.astype(int)
    rows = []
    for row, label in zip(output, labels, strict=True):
        cells = balls(row)
        rows.append([arb(0) if j == label else 1 - cells[label] + cells[j] for j in range(len(cells))])
    size = 1 + np.abs(output[np.arange(len(labels)), labels])[:, None] + np.abs(output)
    size[np.arange(len(labels)), labels] = 0
    return rows, size


def _margin_terms(output: Array, y: Array, r: Rounding) -> tuple[Enclosure, Array]:
    rows, size = _margins(output, y)
    k = output.shape[1]
    flat = [v / k if v > 0 else arb(0) for row in rows for v in row]
    return from_balls(flat, output.shape), (r.gamma(3) + r.gamma(k + 3)) * size / k


def near_margins(output: Array, y: Array, r: Rounding, error: Array | float = 0.0) -> Array:
    """Where 1 − ŷ_y + ŷⱼ may have either sign, if every ŷ errs by `error` as well."""
    index = (np.arange(len(y)), y.astype(int))
    margin = 1 - output[index][:, None] + output
    size = 1 + np.abs(output[index])[:, None] + np.abs(output)
    e = np.broadcast_to(error, output.shape)
    near = np.abs(margin) <= 2 * r.gamma(4) * size + e + e[index][:, None]
    near[index] = False
    return near


def _margin_gradient(output: Array, y: Array, n: int, r: Rounding) -> Local:
    rows, _ = _margins(output, y)
    k, index = output.shape[1], (np.arange(len(y)), y.astype(int))
    active = np.array([[1.0 if v > 0 else 0.0 for v in row] for row in rows])
    near = near_margins(output, y, r)

    def gradient(a: Array) -> Array:
        g = a.copy()
        g[index] = -a.sum(axis=1)
        return g

    kink = near.copy()
    kink[index] = near.any(axis=1)
    truth = _divided(exact(gradient(active)), n * k)
    sides = gradient(np.where(near, 1 - active, active))
    sides[index] = -np.where(near, 1, active).sum(axis=1)
    fewest = gradient(np.where(near, 0, active))
    truth = _chosen(kink, _divided(exact(fewest), n * k), truth)
    bound = up(r.gamma(k + 6) * np.maximum(np.abs(gradient(active)), kink * k) / (n * k) + r.tiny, k)
    other = _divided(exact(np.where(kink & ~near, sides, 1 - fewest)), n * k)
    return Local(truth, bound, kink=kink, other=other)


def _chosen(mask: Array, a: Enclosure, b: Enclosure) -> Enclosure:
    pairs = ((a.hi, b.hi), (a.lo, b.lo), (a.radius, b.radius))
    return Enclosure(*(np.where(mask, first, second) for first, second in pairs))


RULES: dict[str, Rule] = {"loss": _loss, "loss_gradient": _loss_gradient}
