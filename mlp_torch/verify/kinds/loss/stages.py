"""The stages of a loss, whatever its family: the value L and its gradient ∂L/∂ŷ, weighted or not."""

from dataclasses import replace

import numpy as np

from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bits import RefusedError, Values, bits, unit
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import divided, times, total, widened
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.kinds.loss import cross_entropy, entries, multi_margin
from mlp_torch.verify.kinds.loss.family import (
    Family,
    count,
    float_shares,
    native,
    share_rounding,
    shares,
)
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import up

FAMILIES: dict[str, Family] = {"cross_entropy": cross_entropy.FAMILY, "multi_margin": multi_margin.FAMILY}


def family(stage: Stage) -> Family:
    """Of a row with a family of its own that one, else that of the losses which sum over entries."""
    return FAMILIES.get(stage.row, entries.FAMILY)


# L = Σ ℓ / n, or Σ ℓᵢ shareᵢ
def _rule(stage: Stage, c: Context) -> Local:
    output, y, *w = c.read(stage)
    n = 1 if w else count(stage, output)
    stage = replace(stage, reads=stage.reads[:2])
    terms, errors = family(stage).terms(stage, c)
    largest = _size(stage, output, y)
    if w:
        share = shares(stage, output, w[0])
        rounding, flushed = share_rounding(w[0], np.abs(terms.hi), output.shape[1], c.r)
        terms = times(terms, widened(share, terms))
        errors = errors * (1 + rounding) * np.abs(share.hi) + rounding * np.abs(terms.hi) + flushed
        largest = largest * np.maximum(1, w[0].max()) + w[0].sum()
    size = terms.hi.size + 4
    bound = (errors.sum() + c.r.gamma(size) * (np.abs(terms.hi) + errors).sum()) / n
    return Local(divided(total(terms), n), np.asarray(up(bound + size * c.r.tiny, size)), largest.sum())


def _size(stage: Stage, output: Array, y: Array) -> Array:
    """What the terms of a loss are made of, entry by entry, at most."""
    top = np.abs(output) if LOSSES[stage.row].target != "label" else np.abs(output).max(axis=1, keepdims=True)
    factor = 1 + (np.abs(y) if y.shape == output.shape else 1)
    size = 4 * (1 + top) * factor
    if family(stage).squared(stage.row):
        size = size + (np.abs(output) + np.abs(y)) ** 2
    return np.broadcast_to(size, output.shape)


# |L − L*| ≤ Σ (|ℓ′| + sup|ℓ″| e + jump) e / n, plus the value's own rounding
def _step(stage: Stage, b: Bounds) -> Array:
    output, y, *w = b.read(stage)
    moved, own = family(stage).terms_step(stage, b)
    size = output.size + 4
    terms = np.abs(LOSSES[stage.row].terms(output, native(stage, y), **stage.constants)).reshape(
        len(output), -1
    )
    if w:
        share, rounding, flushed = float_shares(stage, output, w[0], terms, b)
        moved, own = (
            moved * share,
            own * share + np.broadcast_to(rounding * terms * share + flushed, own.shape),
        )
        terms = terms * share
    whole = terms.sum()
    n = 1 if w else count(stage, output)
    return np.asarray(up((moved + own).sum() / n + b.r.gamma(size) * (whole + (moved + own).sum()) / n, size))


def _whole_power(stage: Stage, output: Array) -> None:
    n = count(stage, output)
    if n & (n - 1):
        raise RefusedError(f"{stage.name}: a mean over {n}, which is no power of two, rounds")


def _weigh(stage: Stage, v: Values, terms: Array) -> tuple[Array, int]:
    """Terms (N, …) times the samples' weights, whose sum is to be the number of samples; and their unit."""
    if len(stage.reads) < 3:
        return terms, 0
    w = v[stage.reads[2]]
    if stage.options["reduction"] == "mean" and w.sum() != len(w):
        raise RefusedError(f"{stage.name}: a mean over weights that sum to {w.sum():g} rounds")
    return terms * w.reshape(-1, *[1] * (terms.ndim - 1)), max(unit(w), 0)


def _bits(stage: Stage, v: Values) -> int:
    terms, q = family(stage).units(stage, v)
    _whole_power(stage, v[stage.reads[0]])
    if family(stage).squared(stage.row):
        terms, more = _weigh(stage, v, terms * terms)
        return bits(terms.sum(), 2 * q + 1 + more)
    terms, more = _weigh(stage, v, terms)
    return bits(terms.sum(), q + more + int(v[stage.reads[0]].shape[1]).bit_length())


# ∂L/∂ŷ = ∂ℓ/∂ŷ / n, or times the sample's share
def _gradient_rule(stage: Stage, c: Context) -> Local:
    if len(stage.reads) > 2:
        return _weighted_gradient(stage, c)
    output, y = c.read(stage)
    local = family(stage).gradient(stage, c, count(stage, output))
    factor = 1 + (np.abs(y).max() if y.shape == output.shape else 1)  # squares occur in the value alone
    return replace(local, size=4 * (1 + np.abs(output).max()) * factor * output.shape[1])


# the rule of a sum, each sample's term times its share
def _weighted_gradient(stage: Stage, c: Context) -> Local:
    output, _, w = c.read(stage)
    one = replace(stage, reads=stage.reads[:2], options={"reduction": "sum"})
    local, share = _gradient_rule(one, c), shares(stage, output, w)
    truth = times(local.truth, widened(share, local.truth))
    rounding, flushed = share_rounding(w, np.abs(local.truth.hi), output.shape[1], c.r)
    allowed = local.bound * np.abs(share.hi) * (1 + rounding) + rounding * np.abs(truth.hi) + flushed
    other = None
    if local.other is not None and local.kink is not None:
        other = times(local.other, widened(share, local.other))
        allowed = np.maximum(allowed, np.where(local.kink, rounding * np.abs(other.hi) + allowed, 0))
    largest = np.maximum(local.size * np.maximum(1, w.max()), w.sum() * output.shape[1])
    return Local(truth, up(allowed, len(w)), largest, local.kink, other)


def _gradient_step(stage: Stage, b: Bounds) -> Array:
    output, y, *w = b.read(stage)
    n = 1 if w else count(stage, output)
    gradient = np.abs(b.values[stage.name]) * n
    if w:
        gradient = np.abs(LOSSES[stage.row].derivative(output, native(stage, y), **stage.constants))
    error = family(stage).gradient_step(stage, b, gradient)
    if w:
        share, rounding, flushed = float_shares(stage, output, w[0], gradient, b)
        error = (error + rounding * (gradient + error)) * share + flushed
    return up(error / n + b.r.tiny, output.shape[1])


def _gradient_bits(stage: Stage, v: Values) -> int:
    terms, q = family(stage).units(stage, v)
    _whole_power(stage, v[stage.reads[0]])
    terms, more = _weigh(stage, v, terms)
    return bits(2 * terms, q + 1 + more)


KINDS: dict[str, Kind] = {
    "loss": Kind(_rule, _step, _bits),
    "loss_gradient": Kind(_gradient_rule, _gradient_step, _gradient_bits),
}
