"""Cross-entropy over logits: ℓ = −Σₖ yₖ log softmax(ŷ)ₖ, of labels or of rows of weights y."""

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import Enclosure, divided, exact, total
from mlp_torch.verify.kinds.loss.family import Family, per_sample_moved
from mlp_torch.verify.kinds.loss.logits import logits_units
from mlp_torch.verify.kinds.softmax import enclosed_log_softmax, softmax_errors
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import up


def _weights(output: Array, y: Array) -> Array:
    """The rows of probabilities that labels stand for."""
    if y.ndim == 2:
        return y
    rows = np.zeros(output.shape)
    rows[np.arange(len(y)), y.astype(int)] = 1
    return rows


def _terms(stage: Stage, c: Context) -> tuple[Enclosure, Array]:
    output, y = c.read(stage)
    log_p, _ = enclosed_log_softmax(output)
    log_error, _ = softmax_errors(output, log_p.hi, c.r)
    weights = _weights(output, y)
    errors = np.abs(weights) * (log_error + c.r.gamma(output.shape[1] + 2) * np.abs(log_p.hi))
    return log_p * -weights, errors


def _log_softmax(name: str, b: Bounds) -> tuple[Array, Array, Array]:
    """softmax of the logits, and the errors of log softmax (absolute) and softmax (relative)."""
    if ("softmax", name) not in b.memo:
        z = b.values[name]
        shifted = z - z.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        b.memo["softmax", name] = np.exp(log_p), *softmax_errors(z, log_p, b.r)
    found: tuple[Array, Array, Array] = b.memo["softmax", name]
    return found


def _terms_step(stage: Stage, b: Bounds) -> tuple[Array, Array]:
    output, y = b.read(stage)[:2]
    _, log_error, _ = _log_softmax(stage.reads[0], b)
    weight = np.abs(y) if y.ndim == 2 else 1.0
    own = weight * (log_error + b.r.gamma(output.shape[1] + 2) * (np.abs(output).max() * 2 + 40))
    return per_sample_moved(stage, b), np.broadcast_to(own, output.shape)


# (softmax(ŷ) Σ y − y) / N
def _gradient(stage: Stage, c: Context, n: int) -> Local:
    output, y = c.read(stage)
    log_p, p = enclosed_log_softmax(output)
    _, relative = softmax_errors(output, log_p.hi, c.r)
    weights = _weights(output, y)
    weight_sum = total(exact(weights), 1)
    k = output.shape[1]
    spread = np.abs(weights).sum(axis=1, keepdims=True)
    hi, lo, radius = (
        np.broadcast_to(part.reshape(-1, 1), p.hi.shape)
        for part in (weight_sum.hi, weight_sum.lo, weight_sum.radius)
    )
    small = Enclosure(p.hi * lo, np.zeros_like(p.hi), radius + 2.0**-104 * np.abs(p.hi * hi))
    truth = divided(p * hi + small + exact(-weights), n)
    bound = p.hi * spread * (relative + c.r.gamma(k + 4)) + c.r.gamma(k + 5) * np.abs(weights)
    return Local(truth, up(bound / n + c.r.tiny, k))


def _gradient_step(stage: Stage, b: Bounds, gradient: Array) -> Array:
    output, y = b.read(stage)[:2]
    e, k = b.error(stage.reads[0]), output.shape[1]
    p, _, relative = _log_softmax(stage.reads[0], b)
    moved = np.expm1(np.minimum(2 * e.max(axis=1, keepdims=True), 700))
    weights = np.abs(y) if y.ndim == 2 else np.ones((1, 1))
    spread = weights.sum(axis=1, keepdims=True)
    own = p * (1 + 1e-3) * spread * (relative + b.r.gamma(k + 4)) + b.r.gamma(k + 5) * weights
    error: Array = p * (1 + 1e-9) * spread * moved + own * (1 + moved)
    return error


FAMILY = Family(_terms, _gradient, _terms_step, _gradient_step, logits_units)
