"""The update rules as compiled loops over flat arrays; formulas as in `manual.optimizers`.

p are the parameters, g their gradients, m and v the moments. What is the same for all entries of a step
(rates, bias corrections) is computed once, in float64.
"""

from typing import Any

from manual.catalogue.optimizers import Adagrad, Adam, AdamW, RMSprop
from manual.compiled.elementary import power
from manual.compiled.memory import fma, loops, root
from manual.optimizers import SGD, Optimizer

# What `update` reads of each rule, by the names of its options; the weight decay comes after them.
OPTIONS: dict[type[Optimizer], tuple[str, ...]] = {
    SGD: ("momentum", "dampening", "nesterov"),
    RMSprop: ("momentum", "alpha", "eps"),
    Adagrad: ("lr_decay", "eps"),
    Adam: ("betas", "eps"),
    AdamW: ("betas", "eps"),
}
ROWS = tuple(OPTIONS)
SGD_ROW, RMSPROP_ROW, ADAGRAD_ROW, ADAM_ROW, ADAMW_ROW = range(len(ROWS))
HYPERPARAMETERS = 4


def hyperparameters(optimizer: Optimizer) -> list[float]:
    """What `update` reads, in the order of its row; the last is the weight decay."""
    row: list[float] = []
    for name in OPTIONS[type(optimizer)]:
        value = getattr(optimizer, name)
        row += value if isinstance(value, tuple) else [value]
    return [*row, *[0.0] * (HYPERPARAMETERS - 1 - len(row)), optimizer.weight_decay]


@loops
def update(row: int, h: Any, rate: float, step: int, fresh: bool, p: Any, g: Any, m: Any, v: Any) -> None:
    """θ ← θ − η · …, in place; `step` counts from 1, `fresh` says that no momentum is there yet."""
    T = p.dtype.type
    size = len(p)
    decay = T(h[3])
    if row == SGD_ROW:
        eta = T(rate)
        if h[0] == 0.0:
            for i in range(size):
                p[i] = fma(-eta, fma(decay, p[i], g[i]), p[i])
            return
        keep, gain = (T(0), T(1)) if fresh else (T(h[0]), T(1 - h[1]))
        straight, ahead = (T(1), T(h[0])) if h[2] != 0.0 else (T(0), T(1))
        for i in range(size):
            d = fma(decay, p[i], g[i])
            m[i] = fma(keep, m[i], gain * d)
            p[i] = fma(-eta, fma(straight, d, ahead * m[i]), p[i])
    elif row == RMSPROP_ROW:
        eta, mu, alpha, beta, eps = T(rate), T(h[0]), T(h[1]), T(1 - h[1]), T(h[2])
        for i in range(size):
            d = fma(decay, p[i], g[i])
            v[i] = fma(alpha, v[i], beta * d * d)
            m[i] = fma(mu, m[i], d / (root(v[i]) + eps))
            p[i] = fma(-eta, m[i], p[i])
    elif row == ADAGRAD_ROW:
        eta, eps = T(rate / (1 + (step - 1) * h[0])), T(h[1])
        for i in range(size):
            d = fma(decay, p[i], g[i])
            v[i] = fma(d, d, v[i])
            p[i] -= eta * d / (root(v[i]) + eps)
    else:
        beta1, gain1, beta2, gain2, eps = T(h[0]), T(1 - h[0]), T(h[1]), T(1 - h[1]), T(h[2])
        eta = T(rate / (1 - power(h[0], step)))
        scale = T(1 / root(1 - power(h[1], step)))
        shrink = T(1)
        if row == ADAMW_ROW:
            shrink, decay = T(1 - rate * h[3]), T(0)
        for i in range(size):
            d = fma(decay, p[i], g[i])
            m[i] = fma(beta1, m[i], gain1 * d)
            v[i] = fma(beta2, v[i], gain2 * d * d)
            p[i] = fma(shrink, p[i], -eta * m[i] / fma(root(v[i]), scale, eps))
