"""Matrix products: z = a Wᵀ + b and what goes back through it, da = dz W, dW = dzᵀ a, db = Σ dz."""

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify import bits
from mlp_torch.verify.bits import Values, unit
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import exact, product, total
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import up


def _dot(a: Array, b: Array, n: int, c: Context, more: Array | float = 0.0) -> tuple[Array, Array]:
    """γₙ (|a| |b| + more): how far a matrix product may stray, in any order; and |a| |b| + more."""
    size = np.abs(a) @ np.abs(b) + more
    return up(c.r.gamma(n) * size + n * c.r.tiny, a.shape[1]), size


# z = a Wᵀ + b: K products and K + 1 terms
def _linear_rule(stage: Stage, c: Context) -> Local:
    a, weight, bias = c.read(stage)
    n = a.shape[1] + 1
    truth = product(a, weight.T) + exact(np.broadcast_to(bias, (len(a), len(bias))))
    return Local(truth, *_dot(a, weight.T, n, c, np.abs(bias)))


# weights are leaves, so e_z = e_a |W|ᵀ
def _linear_step(stage: Stage, b: Bounds) -> Array:
    a, weight, bias = b.read(stage)
    n = a.shape[1] + 1
    gamma = b.r.gamma(n)
    # in units of γ, as below: γ |a| alone may underflow where W is huge
    error = gamma * ((b.error(stage.reads[0]) / gamma + np.abs(a)) @ np.abs(weight).T)
    return up(error + (gamma * np.abs(bias) + n * b.r.tiny), n)


def _linear_bits(stage: Stage, v: Values) -> int:
    a, weight, bias = (v[name] for name in stage.reads)
    q = max(unit(a) + unit(weight), unit(bias))
    return bits.bits(np.abs(a) @ np.abs(weight).T + np.abs(bias), q)


# da = dz W
def _input_rule(stage: Stage, c: Context) -> Local:
    dz, weight = c.read(stage)
    return Local(product(dz, weight), *_dot(dz, weight, dz.shape[1], c))


def _input_step(stage: Stage, b: Bounds) -> Array:
    dz, weight = b.read(stage)
    n = dz.shape[1]
    gamma = b.r.gamma(n)
    error = gamma * ((b.error(stage.reads[0]) / gamma + np.abs(dz)) @ np.abs(weight))
    return up(error + n * b.r.tiny, n)


def _input_bits(stage: Stage, v: Values) -> int:
    return bits.product(*(v[name] for name in stage.reads))


# dW = dzᵀ a: |dz|ᵀ e_a + e_dzᵀ (|a| + e_a)
def _weight_rule(stage: Stage, c: Context) -> Local:
    dz, a = c.read(stage)
    return Local(product(dz.T, a), *_dot(dz.T, a, len(dz), c))


def _weight_step(stage: Stage, b: Bounds) -> Array:
    dz, a = b.read(stage)
    e_dz, e_a = (b.error(name) for name in stage.reads)
    size = np.abs(a)
    n = len(a)
    gamma = b.r.gamma(n)
    error = gamma * (np.abs(dz).T @ (e_a / gamma + size)) + e_dz.T @ (size + e_a)
    return up(error + n * b.r.tiny, n)


def _weight_bits(stage: Stage, v: Values) -> int:
    dz, a = (v[name] for name in stage.reads)
    return bits.product(dz.T, a)


# db = Σ dz: n terms are n − 1 additions
def _bias_rule(stage: Stage, c: Context) -> Local:
    (dz,) = c.read(stage)
    n = len(dz)
    size = np.abs(dz).sum(axis=0)
    return Local(total(exact(dz), 0), up(c.r.gamma(n - 1) * size + n * c.r.tiny, n), size)


def _bias_step(stage: Stage, b: Bounds) -> Array:
    (dz,) = b.read(stage)
    n = len(dz)
    error = (b.error(stage.reads[0]) + b.r.gamma(n - 1) * np.abs(dz)).sum(axis=0)
    return up(error + n * b.r.tiny, n)


def _bias_bits(stage: Stage, v: Values) -> int:
    (dz,) = (v[name] for name in stage.reads)
    return bits.bits(np.abs(dz).sum(axis=0), unit(dz))


KINDS: dict[str, Kind] = {
    "linear": Kind(_linear_rule, _linear_step, _linear_bits),
    "linear_backward_input": Kind(_input_rule, _input_step, _input_bits),
    "linear_backward_weight": Kind(_weight_rule, _weight_step, _weight_bits),
    "backward_bias": Kind(_bias_rule, _bias_step, _bias_bits),
}
