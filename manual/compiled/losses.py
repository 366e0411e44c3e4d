"""The losses with their gradients as compiled loops, those that couple a sample's entries by hand.

The output and its gradient are (features, n) in the buffer; so are the targets, unless they are labels.
Each sample's term is summed over the features in their order and left in `terms` (n,), in float64; the
gradients are divided by `count`.
"""

from typing import Any

from manual.compiled import elementwise
from manual.compiled.coupled import exponentials
from manual.compiled.elementary import log
from manual.compiled.memory import at, loops

ROWS = (*elementwise.ROWS, "multi_margin", "cross_entropy")
MULTI_MARGIN, CROSS_ENTROPY = len(ROWS) - 2, len(ROWS) - 1


@loops
def of_entries(
    row: int, w: Any, o_at: int, y_at: int, d_at: int, features: int, n: int, count: Any, options: Any,
    terms: Any,
) -> None:  # fmt: skip
    """The losses whose terms are Σₖ ℓ(ŷₖ, yₖ); ℓ takes the place of y."""
    elementwise.elementwise(row, w, o_at, y_at, d_at, features * n, count, options)
    y = at(w, y_at, features * n)
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
