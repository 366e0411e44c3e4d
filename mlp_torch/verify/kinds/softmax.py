"""Softmax, a row at a time: a = e^z / Σ e^z, backward dz = a (da − Σ da a)."""

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import Enclosure, balls, exact, from_balls, total
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import ELEMENTARY, Rounding, up
from mlp_torch.verify.truth import log_softmax


def softmax_errors(z: Array, log_p: Array, r: Rounding) -> tuple[Array, Array]:
    """Errors of log softmax (absolute) and softmax (relative), row by row.

    z − max errs by u |z − max|, which exp turns into a relative error; the sum's relative error is
    the mean of its terms' plus γ_K; the logarithm turns that into an absolute one again.
    """
    k = z.shape[1]
    distance = np.abs(z - z.max(axis=1, keepdims=True))
    log_sum = np.abs(-log_p - distance)  # log Σ e^(z − max), at least 0
    p = np.exp(log_p)
    spread = (p * distance).sum(axis=1, keepdims=True)
    sum_error = r.gamma(1) * spread + r.gamma(ELEMENTARY + k + 1)
    log_error = (
        r.gamma(1) * distance
        + 2 * sum_error
        + r.gamma(ELEMENTARY) * log_sum
        + r.gamma(2) * (np.abs(log_p) + distance)
    )
    exponent = np.minimum(log_error, 1)
    relative = np.expm1(exponent) + r.gamma(ELEMENTARY + 3) + 2 * sum_error
    return log_error, relative


def enclosed_log_softmax(z: Array) -> tuple[Enclosure, Enclosure]:
    rows = [log_softmax(balls(row)) for row in z]
    flat = [v for row in rows for v in row]
    return from_balls(flat, z.shape), from_balls([v.exp() for v in flat], z.shape)


# a = e^z / Σ e^z, shifted by the largest entry
def rule(stage: Stage, c: Context) -> Local:
    (z,) = c.read(stage)
    log_p, p = enclosed_log_softmax(z)
    _, relative = softmax_errors(z, log_p.hi, c.r)
    return Local(p, up(relative * p.hi + c.r.tiny, z.shape[1]), 2 * np.abs(z).max())


def step(stage: Stage, b: Bounds) -> Array:
    (z,) = b.read(stage)
    a = np.abs(b.values[stage.name])
    _, relative = softmax_errors(z, np.log(np.maximum(a, 1e-300)), b.r)
    moved = np.expm1(np.minimum(2 * b.error(stage.reads[0]).max(axis=1, keepdims=True), 700))
    return up((a + b.r.tiny) * (moved + relative * (1 + moved)) * (1 + 1e-3) + b.r.tiny)


# dz = a (da − Σ da a), from the engine's own a: K products, a difference, a product
def _product_rule(stage: Stage, c: Context) -> Local:
    da, _, a = c.read(stage)
    inner = total(exact(da) * a, 1)
    shape = (len(da), 1)
    negative = Enclosure(*(np.broadcast_to(s * p.reshape(shape), da.shape) for s, p in _parts(inner)))
    truth = (exact(da) + negative) * a
    n = da.shape[1]
    sums = np.abs(da * a).sum(axis=1, keepdims=True)
    bound = np.abs(a) * (c.r.gamma(n + 3) * sums + c.r.gamma(4) * np.abs(da)) + n * c.r.tiny
    return Local(truth, up(bound, n), sums + 2 * np.abs(da))


def _parts(e: Enclosure) -> list[tuple[int, Array]]:
    return [(-1, e.hi), (-1, e.lo), (1, e.radius)]


# c = Σ da a: e_c is what it may err
def _product_step(stage: Stage, b: Bounds) -> Array:
    da, _, a = b.read(stage)
    e_da, e_a = b.error(stage.reads[0]), b.error(stage.reads[2])
    n = a.shape[1]
    size = (np.abs(da) * np.abs(a)).sum(axis=1, keepdims=True)
    e_c = (np.abs(da) * e_a + e_da * (np.abs(a) + e_a)).sum(axis=1, keepdims=True)
    inner = np.abs(da) + size + e_da + e_c
    moved = e_a * inner + np.abs(a) * (e_da + e_c)
    own = (np.abs(a) + e_a) * (b.r.gamma(n + 3) * (size + e_c) + b.r.gamma(4) * inner)
    return up(moved + own + n * b.r.tiny, n)


# The forward stage is an `activation`: its room asks `rule` and `step` for this row.
KINDS: dict[str, Kind] = {"jacobian_product": Kind(_product_rule, _product_step)}
