"""The elementwise losses as compiled loops, written by `python -m manual.recorded.compiled`: not by hand."""

from typing import Any

from manual.compiled.elementary import exp, log1p
from manual.compiled.memory import at, loops

ROWS = (
    "half_squared_error",
    "mse",
    "l1",
    "hinge",
    "smooth_l1",
    "bce_with_logits",
    "huber",
)
(
    HALF_SQUARED_ERROR,
    MSE,
    L1,
    HINGE,
    SMOOTH_L1,
    BCE_WITH_LOGITS,
    HUBER,
) = range(len(ROWS))


@loops
def elementwise(
    row: int, w: Any, o_at: int, y_at: int, d_at: int, size: int, count: Any, options: Any
) -> None:
    """d = ∂ℓ(ŷ, y)/∂ŷ over `count`, and ℓ in the place of y, at `size` places; a loss has its `options`."""
    T = w.dtype.type
    o, y, d = at(w, o_at, size), at(w, y_at, size), at(w, d_at, size)
    if row == HALF_SQUARED_ERROR:
        for i in range(size):
            t1 = o[i] - y[i]
            d[i] = t1 / count
            y[i] = t1 * t1 * T(0.5)
    elif row == MSE:
        for i in range(size):
            t1 = o[i] - y[i]
            d[i] = t1 * T(2) / count
            y[i] = t1 * t1
    elif row == L1:
        for i in range(size):
            t1 = o[i] - y[i]
            t2 = (T(1) if t1 > T(0) else T(0)) - (T(1) if t1 < T(0) else T(0))
            d[i] = t2 / count
            y[i] = abs(t1)
    elif row == HINGE:
        for i in range(size):
            t1 = T(1) - o[i] * y[i]
            d[i] = (T(0) if t1 <= T(0) else -y[i]) / count
            y[i] = T(0) if t1 <= T(0) else t1
    elif row == SMOOTH_L1:
        for i in range(size):
            t1 = o[i] - y[i]
            t2 = T(-1) if t1 <= T(-1) else t1
            t3 = abs(t1)
            d[i] = (T(1) if t2 >= T(1) else t2) / count
            y[i] = t1 * t1 * T(0.5) if t3 < T(1) else (t3 * T(2) - T(1)) * T(0.5)
    elif row == BCE_WITH_LOGITS:
        for i in range(size):
            t1 = exp(-abs(o[i]))
            d[i] = ((t1 if o[i] < T(0) else T(1)) / (t1 + T(1)) - y[i]) / count
            y[i] = (T(0) if o[i] <= T(0) else o[i]) - o[i] * y[i] + log1p(t1)
    elif row == HUBER:
        delta = T(options[0])
        for i in range(size):
            t1 = o[i] - y[i]
            t2 = -delta
            t3 = t2 if t1 <= t2 else t1
            t4 = abs(t1)
            d[i] = (delta if t3 >= delta else t3) / count
            y[i] = t4 * t4 * T(0.5) if t4 <= delta else delta * (t4 - delta * T(0.5))
