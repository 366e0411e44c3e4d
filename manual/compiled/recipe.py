"""The rules of `manual.recipe` as compiled loops: weighted samples, penalties, clipping."""

import math
from typing import Any

from manual.compiled import losses
from manual.compiled.layout import DA, DH, DZ, INPUTS, LOSS, OUTPUTS, SCRATCH, SUM, WEIGHT, A, Y
from manual.compiled.losses import CROSS_ENTROPY, MULTI_MARGIN
from manual.compiled.memory import at, loops
from manual.recipe import EPSILON


@loops
def weighted_loss(
    spec: Any,
    layers: Any,
    numbers: Any,
    w: Any,
    y: Any,
    labels: Any,
    weights: Any,
    chosen: Any,
    rows: Any,
    begin: int,
    first: int,
    n: int,
    whole: int,
) -> float:
    """Σ wᵢ ℓᵢ / Σ w over the samples `first` … of a whole batch, and dloss; Σ w is that of the whole batch.

    Sample by sample: its column of the output lies in one piece in the last layer's da, its target at y and
    its gradient in dz, which are free at this moment.
    """
    T = w.dtype.type
    last = len(layers) - 1
    row, features = spec[LOSS], layers[last, OUTPUTS]
    o, d, one, slope = layers[last, A], layers[last, DH], layers[last, DA], layers[last, DZ]
    count = 1.0
    if numbers[SUM] == 0.0:
        count = 0.0
        for r in range(begin, begin + whole):
            count += weights[rows[r]]
        if row not in (CROSS_ENTROPY, MULTI_MARGIN):
            count *= features
    loss, unit = 0.0, T(1)
    for r in range(n):
        sample = rows[begin + first + r]
        share = weights[sample] / count
        for k in range(features):
            w[one + k] = w[o + k * n + r]
        if len(labels) > 0:
            chosen[0] = labels[sample]
            if row == MULTI_MARGIN:
                term = losses.multi_margin(w, one, chosen, slope, features, 1, unit)
            else:
                term = losses.cross_entropy(w, one, chosen, slope, features, 1, unit, spec[SCRATCH])
        else:
            source = at(y, sample * features, features)
            for k in range(features):
                w[spec[Y] + k] = source[k]
            if row == CROSS_ENTROPY:
                term = losses.soft_cross_entropy(w, one, spec[Y], slope, features, 1, unit, spec[SCRATCH])
            else:
                term = losses.elementwise(row, w, one, spec[Y], slope, features, unit)
        loss += share * term
        for k in range(features):
            w[d + k * n + r] = w[slope + k] * T(share)
    return loss


@loops
def penalize(layers: Any, l1: float, l2: float, p: Any, g: Any) -> float:
    """λ₁ Σ |w| + ½ λ₂ Σ w² over the weights; λ₁ sign w + λ₂ w is added to g. Biases are left alone."""
    T = p.dtype.type
    scale, decay, zero, total, squares = T(l1), T(l2), T(0), 0.0, 0.0
    for i in range(len(layers)):
        inputs = layers[i, INPUTS]
        for j in range(layers[i, OUTPUTS]):
            start = layers[i, WEIGHT] + j * (inputs + 1)
            weight, gradient = at(p, start, inputs), at(g, start, inputs)
            if l1 != 0.0:
                for k in range(inputs):
                    total += abs(weight[k])
                    gradient[k] += scale if weight[k] > zero else (-scale if weight[k] < zero else zero)
            if l2 != 0.0:
                for k in range(inputs):
                    squares += weight[k] * weight[k]
                    gradient[k] += decay * weight[k]
    return l1 * total + l2 / 2 * squares


@loops
def squares(g: Any) -> float:
    """Σ g²."""
    total = 0.0
    for i in range(len(g)):
        total += g[i] * g[i]
    return total


@loops
def clip(g: Any, norm: float, limit: float, value: float) -> None:
    """g · min(1, limit / (norm + ε)), or each entry within ±value; a limit of 0 is none."""
    T = g.dtype.type
    if limit != 0.0:
        scale = limit / (norm + EPSILON)
        if not scale > 1.0:  # NaN passes
            for i in range(len(g)):
                g[i] *= T(scale)
    if value != 0.0:
        top = T(value)
        for i in range(len(g)):
            g[i] = -top if g[i] < -top else (top if g[i] > top else g[i])


@loops
def norm_of(shares: Any, threads: int, slot: int) -> float:
    """The norm of the whole gradient from the threads' sums of squares."""
    total = 0.0
    for thread in range(threads):
        total += shares[thread * slot + 1]
    return math.sqrt(total)
