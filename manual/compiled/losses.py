"""The losses with their gradients as compiled loops; formulas and kinks as in `manual.losses`.

The output and its gradient are (features, n) in the buffer; so are the targets, unless they are labels.
"""

import math
from typing import Any

from manual.compiled.activations import exponentials
from manual.compiled.elementary import exp, log1p
from manual.compiled.memory import at, loops

ROWS = (
    "half_squared_error",
    "mse",
    "l1",
    "smooth_l1",
    "hinge",
    "multi_margin",
    "bce_with_logits",
    "cross_entropy",
)
HALF_SQUARED_ERROR, MSE, L1, SMOOTH_L1, HINGE, MULTI_MARGIN, BCE_WITH_LOGITS, CROSS_ENTROPY = range(len(ROWS))


@loops
def elementwise(row: int, w: Any, o_at: int, y_at: int, d_at: int, size: int, count: Any) -> float:
    """The sum of the terms ℓ(ŷ, y); d = ∂ℓ/∂ŷ over `count`."""
    T = w.dtype.type
    o, y, d = at(w, o_at, size), at(w, y_at, size), at(w, d_at, size)
    zero, one, half, two = T(0), T(1), T(0.5), T(2)
    total = 0.0
    if row in (MSE, HALF_SQUARED_ERROR):
        scale, slope = (one, two) if row == MSE else (half, one)
        for i in range(size):
            e = o[i] - y[i]
            total += scale * (e * e)
            d[i] = slope * e / count
    elif row == L1:
        for i in range(size):
            e = o[i] - y[i]
            total += abs(e)
            d[i] = (one if e > zero else (-one if e < zero else zero)) / count
    elif row == SMOOTH_L1:
        for i in range(size):
            e = o[i] - y[i]
            total += e * e * half if abs(e) < one else (two * abs(e) - one) * half
            d[i] = (-one if e < -one else (one if e > one else e)) / count
    elif row == HINGE:
        for i in range(size):
            margin = one - y[i] * o[i]
            total += zero if margin <= zero else margin
            d[i] = (zero if margin <= zero else -y[i]) / count
    elif row == BCE_WITH_LOGITS:
        for i in range(size):
            e = exp(-abs(o[i]))
            total += (zero if o[i] <= zero else o[i]) - y[i] * o[i] + log1p(e)
            d[i] = ((e if o[i] < zero else one) / (one + e) - y[i]) / count
    return total


# ℓ = Σ_{j≠y} max(0, 1 − ŷ_y + ŷⱼ) / K
@loops
def multi_margin(w: Any, o_at: int, labels: Any, d_at: int, features: int, n: int, count: Any) -> float:
    """The sum of the terms, and their gradients over `count`; `labels` (n,)."""
    T = w.dtype.type
    zero, one, k = T(0), T(1), T(features)
    o, d = at(w, o_at, features * n), at(w, d_at, features * n)
    total = 0.0
    for r in range(n):
        label, active, terms = labels[r], zero, zero
        own = o[label * n + r]
        for j in range(features):
            margin = one - own + o[j * n + r]
            margin = zero * margin if j == label else margin
            terms += zero if margin <= zero else margin
            step = one if margin > zero else zero
            active += step
            d[j * n + r] = step / k / count
        d[label * n + r] = -active / k / count
        total += terms / k
    return total


# ℓ = log Σₖ e^ŷₖ − ŷ_y, and ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ − [j = y]
@loops
def cross_entropy(
    w: Any, o_at: int, labels: Any, d_at: int, features: int, n: int, count: Any, scratch: int
) -> float:
    """The sum of the terms, and their gradients over `count`; `labels` (n,)."""
    T = w.dtype.type
    exponentials(w, o_at, d_at, features, n, scratch)
    top, sums = at(w, scratch, n), at(w, scratch + n, n)
    o, d = at(w, o_at, features * n), at(w, d_at, features * n)
    total = 0.0
    for r in range(n):
        total += math.log(sums[r]) - (o[labels[r] * n + r] - top[r])
        sums[r] *= count
    for j in range(features):
        row = at(w, d_at + j * n, n)
        for r in range(n):
            row[r] = row[r] / sums[r]
    for r in range(n):
        d[labels[r] * n + r] -= T(1) / count
    return total


# ℓ = −Σₖ yₖ log softmax(ŷ)ₖ, and ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ Σₖ yₖ − yⱼ
@loops
def soft_cross_entropy(
    w: Any, o_at: int, y_at: int, d_at: int, features: int, n: int, count: Any, scratch: int
) -> float:
    """The same with a row of probabilities y for each sample."""
    T = w.dtype.type
    exponentials(w, o_at, d_at, features, n, scratch)
    top, sums = at(w, scratch, n), at(w, scratch + n, n)
    total = 0.0
    for r in range(n):
        weight, log_sum, y = T(0), math.log(sums[r]), at(w, y_at + r, features * n)
        o, d = at(w, o_at + r, features * n), at(w, d_at + r, features * n)
        for j in range(features):
            total -= y[j * n] * ((o[j * n] - top[r]) - log_sum)
            weight += y[j * n]
        for j in range(features):
            d[j * n] = (d[j * n] / sums[r] * weight - y[j * n]) / count
    return total
