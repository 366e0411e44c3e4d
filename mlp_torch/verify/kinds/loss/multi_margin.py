"""The multi-class hinge: ℓ = Σ_{j≠y} max(0, 1 − ŷ_y + ŷⱼ) / K."""

from typing import Any

import numpy as np
from flint import arb

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bits import RefusedError, Values, unit
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import Enclosure, balls, chosen, divided, exact, from_balls
from mlp_torch.verify.kinds.loss.family import Family, per_sample_moved
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import Rounding, up


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


def _terms(stage: Stage, c: Context) -> tuple[Enclosure, Array]:
    output, y = c.read(stage)
    rows, size = _margins(output, y)
    k = output.shape[1]
    flat = [v / k if v > 0 else arb(0) for row in rows for v in row]
    return from_balls(flat, output.shape), (c.r.gamma(3) + c.r.gamma(k + 3)) * size / k


def _terms_step(stage: Stage, b: Bounds) -> tuple[Array, Array]:
    output = b.values[stage.reads[0]]
    own = b.r.gamma(output.shape[1] + 6) * (1 + 2 * np.abs(output).max(axis=1, keepdims=True))
    return per_sample_moved(stage, b), np.broadcast_to(own, output.shape)


def _near(output: Array, y: Array, r: Rounding, error: Array | float = 0.0) -> Array:
    """Where 1 − ŷ_y + ŷⱼ may have either sign, if every ŷ errs by `error` as well."""
    index = (np.arange(len(y)), y.astype(int))
    margin = 1 - output[index][:, None] + output
    size = 1 + np.abs(output[index])[:, None] + np.abs(output)
    e = np.broadcast_to(error, output.shape)
    near = np.abs(margin) <= 2 * r.gamma(4) * size + e + e[index][:, None]
    near[index] = False
    return near


def _gradient(stage: Stage, c: Context, n: int) -> Local:
    output, y = c.read(stage)
    rows, _ = _margins(output, y)
    k, index = output.shape[1], (np.arange(len(y)), y.astype(int))
    active = np.array([[1.0 if v > 0 else 0.0 for v in row] for row in rows])
    near = _near(output, y, c.r)

    def gradient(a: Array) -> Array:
        g = a.copy()
        g[index] = -a.sum(axis=1)
        return g

    kink = near.copy()
    kink[index] = near.any(axis=1)
    truth = divided(exact(gradient(active)), n * k)
    sides = gradient(np.where(near, 1 - active, active))
    sides[index] = -np.where(near, 1, active).sum(axis=1)
    fewest = gradient(np.where(near, 0, active))
    truth = chosen(kink, divided(exact(fewest), n * k), truth)
    bound = up(c.r.gamma(k + 6) * np.maximum(np.abs(gradient(active)), kink * k) / (n * k) + c.r.tiny, k)
    other = divided(exact(np.where(kink & ~near, sides, 1 - fewest)), n * k)
    return Local(truth, bound, kink=kink, other=other)


def _gradient_step(stage: Stage, b: Bounds, gradient: Array) -> Array:
    output, y = b.read(stage)[:2]
    k = output.shape[1]
    near = _near(output, y, b.r, 2 * b.error(stage.reads[0]))
    if near.any():
        b.kinks[stage.reads[0]] = near
    index = (np.arange(len(y)), y.astype(int))
    jumps = (near & b.jumps).astype(float)
    jumps[index] = jumps.sum(axis=1)
    error: Array = (jumps + b.r.gamma(k + 6) * k) / k
    return error


def _units(stage: Stage, v: Values) -> tuple[Array, int]:
    output = v[stage.reads[0]]
    k = output.shape[1]
    if k & (k - 1):
        raise RefusedError(f"{stage.name}: a mean over {k} classes, which is no power of two, rounds")
    return 1 + 2 * np.abs(output).max(axis=1), max(unit(output), 0)


FAMILY = Family(_terms, _gradient, _terms_step, _gradient_step, _units)
