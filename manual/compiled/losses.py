"""The losses with their gradients as compiled loops; formulas and kinks as in `manual.losses`.

The output and its gradient are (features, n) in the buffer; so are the targets, unless they are labels.
Each sample's term is summed over the features in their order and left in `terms` (n,), in float64; the
gradients are divided by `count`.
"""

from typing import Any

from manual.compiled.activations import exponentials
from manual.compiled.elementary import exp, log, log1p
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
def elementwise(
    row: int, w: Any, o_at: int, y_at: int, d_at: int, features: int, n: int, count: Any, terms: Any
) -> None:
    """The losses whose terms are Σₖ ℓ(ŷₖ, yₖ); ℓ takes the place of y."""
    T, size = w.dtype.type, features * n
    o, y, d = at(w, o_at, size), at(w, y_at, size), at(w, d_at, size)
    zero, one, half, two = T(0), T(1), T(0.5), T(2)
    if row in (MSE, HALF_SQUARED_ERROR):
        scale, slope = (one, two) if row == MSE else (half, one)
        for i in range(size):
            e = o[i] - y[i]
            y[i] = scale * (e * e)
            d[i] = slope * e / count
    elif row == L1:
        for i in range(size):
            e = o[i] - y[i]
            y[i] = abs(e)
            d[i] = (one if e > zero else (-one if e < zero else zero)) / count
    elif row == SMOOTH_L1:
        for i in range(size):
            e = o[i] - y[i]
            y[i] = e * e * half if abs(e) < one else (two * abs(e) - one) * half
            d[i] = (-one if e < -one else (one if e > one else e)) / count
    elif row == HINGE:
        for i in range(size):
            margin = one - y[i] * o[i]
            d[i] = (zero if margin <= zero else -y[i]) / count
            y[i] = zero if margin <= zero else margin
    elif row == BCE_WITH_LOGITS:
        for i in range(size):
            e = exp(-abs(o[i]))
            d[i] = ((e if o[i] < zero else one) / (one + e) - y[i]) / count
            y[i] = (zero if o[i] <= zero else o[i]) - y[i] * o[i] + log1p(e)
    for r in range(n):
        terms[r] = y[r]
    for j in range(1, features):
        for r in range(n):
            terms[r] += y[j * n + r]


# ℓ = Σ_{j≠y} max(0, 1 − ŷ_y + ŷⱼ) / K
@loops
def multi_margin(
    w: Any, o_at: int, labels: Any, d_at: int, features: int, n: int, count: Any, terms: Any
) -> None:
    T = w.dtype.type
    zero, one, k = T(0), T(1), T(features)
    o, d = at(w, o_at, features * n), at(w, d_at, features * n)
    for r in range(n):
        label, active, term = labels[r], zero, zero
        own = o[label * n + r]
        for j in range(features):
            margin = one - own + o[j * n + r]
            margin = zero * margin if j == label else margin
            term += zero if margin <= zero else margin
            step = one if margin > zero else zero
            active += step
            d[j * n + r] = step / k / count
        d[label * n + r] = -active / k / count
        terms[r] = term / k


# ℓ = log Σₖ e^(ŷₖ − top) + (top − ŷ_y), where top = max ŷ: two terms that are not below 0, so that no digit
# of a small loss is lost to large logits; and ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ − [j = y]
@loops
def cross_entropy(
    w: Any, o_at: int, labels: Any, d_at: int, features: int, n: int, count: Any, scratch: int, terms: Any
) -> None:
    T = w.dtype.type
    exponentials(w, o_at, d_at, features, n, scratch)
    top, sums = at(w, scratch, n), at(w, scratch + n, n)
    o, d = at(w, o_at, features * n), at(w, d_at, features * n)
    for r in range(n):
        terms[r] = log(sums[r]) + (top[r] - o[labels[r] * n + r])
        sums[r] *= count
    for j in range(features):
        row = at(w, d_at + j * n, n)
        for r in range(n):
            row[r] = row[r] / sums[r]
    for r in range(n):
        d[labels[r] * n + r] -= T(1) / count


# ℓ = −Σₖ yₖ log softmax(ŷ)ₖ, and ∂ℓ/∂ŷⱼ = softmax(ŷ)ⱼ Σₖ yₖ − yⱼ
@loops
def soft_cross_entropy(
    w: Any, o_at: int, y_at: int, d_at: int, features: int, n: int, count: Any, scratch: int, terms: Any
) -> None:
    """The same with a row of probabilities y for each sample."""
    exponentials(w, o_at, d_at, features, n, scratch)
    top, sums = at(w, scratch, n), at(w, scratch + n, n)
    logs, weight = at(w, scratch + 2 * n, n), at(w, scratch + 3 * n, n)
    for r in range(n):
        logs[r], weight[r], terms[r] = log(sums[r]), w.dtype.type(0), 0.0
    for j in range(features):
        o, y = at(w, o_at + j * n, n), at(w, y_at + j * n, n)
        for r in range(n):
            terms[r] -= y[r] * ((o[r] - top[r]) - logs[r])
            weight[r] += y[r]
    for j in range(features):
        d, y = at(w, d_at + j * n, n), at(w, y_at + j * n, n)
        for r in range(n):
            d[r] = (d[r] / sums[r] * weight[r] - y[r]) / count
