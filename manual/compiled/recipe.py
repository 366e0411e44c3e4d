"""The rules of `manual.training.recipe` as compiled loops: weighted samples, penalties, clipping.

What is summed over parameters is summed row by row of a layer, and then over the rows: each thread has
rows of its own, and how many threads there are does not show.
"""

from typing import Any

from manual.compiled import layout as col
from manual.compiled.losses import CROSS_ENTROPY, MULTI_MARGIN
from manual.compiled.memory import at, loops, pointer
from manual.compiled.sums import sum_of_absolutes, sum_of_squares
from manual.training.recipe import EPSILON


@loops
def divisor(spec: Any, layers: Any, numbers: Any, weights: Any, rows: Any, begin: int, whole: int) -> float:
    """What the sum of a batch's terms is divided by: its samples' weights, and the features of each."""
    if numbers[col.SUM] != 0.0:
        return 1.0
    count = float(whole)
    if len(weights) > 0:
        count = 0.0
        for r in range(begin, begin + whole):
            count += weights[rows[r]]
    features = 1 if spec[col.LOSS] in (CROSS_ENTROPY, MULTI_MARGIN) else layers[len(layers) - 1, col.OUTPUTS]
    return count * features


@loops
def weigh(
    w: Any, d_at: int, features: int, n: int, terms: Any, weights: Any, rows: Any, start: int, count: float,
    shares: Any,
) -> None:  # fmt: skip
    """Each sample's term and gradient by its weight, the gradient's over `count`."""
    for r in range(n):
        weight = weights[rows[start + r]]
        terms[r] *= weight
        shares[r] = weight / count
    for k in range(features):
        d = at(w, d_at + k * n, n)
        for r in range(n):
            d[r] *= shares[r]


@loops
def penalties(
    layers: Any, i: int, l1: float, l2: float, p: Any, low: int, high: int, found: Any, lanes: Any
) -> None:
    """λ₁ Σ |w| + ½ λ₂ Σ w² of some of a layer's rows, each by itself. Biases are left alone."""
    inputs = layers[i, col.INPUTS]
    for j in range(low, high):
        weight, value = pointer(p, layers[i, col.WEIGHT] + j * (inputs + 1)), 0.0
        if l1 != 0.0:
            value += l1 * sum_of_absolutes(pointer(lanes, 0), weight, inputs, False)
        if l2 != 0.0:
            value += l2 / 2 * sum_of_squares(pointer(lanes, 0), weight, inputs, False)
        found[j] = value


@loops
def penalize(layers: Any, i: int, l1: float, l2: float, p: Any, g: Any, low: int, high: int) -> None:
    """λ₁ sign w + λ₂ w is added to the gradient of some of a layer's rows."""
    T = p.dtype.type
    scale, decay, zero, inputs = T(l1), T(l2), T(0), layers[i, col.INPUTS]
    for j in range(low, high):
        start = layers[i, col.WEIGHT] + j * (inputs + 1)
        weight, gradient = at(p, start, inputs), at(g, start, inputs)
        if l1 != 0.0:
            for k in range(inputs):
                gradient[k] += scale if weight[k] > zero else (-scale if weight[k] < zero else zero)
        if l2 != 0.0:
            for k in range(inputs):
                gradient[k] += decay * weight[k]


@loops
def squares(layers: Any, i: int, g: Any, low: int, high: int, found: Any, lanes: Any) -> None:
    """Σ g² of some of a layer's rows, each by itself."""
    k = layers[i, col.INPUTS] + 1
    for j in range(low, high):
        found[j] = sum_of_squares(pointer(lanes, 0), pointer(g, layers[i, col.WEIGHT] + j * k), k, False)


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
