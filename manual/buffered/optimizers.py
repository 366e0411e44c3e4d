"""The update rules of `manual.optimizers` in buffers, on flat arrays; one row of `UPDATE_RULES` a rule.

`rows(do, o, p, g, state, s, rate)` writes the calls for one block of the flat arrays: p parameters, g
gradients (which stay as they are), `state` the moments, s scratch. What changes from step to step stands
in `rate`, arrays of no dimension that `Update.prepare` fills before each step.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.buffered.program import Call, Program, Workspace, borrows
from manual.catalogue.optimizers import Adagrad, Adam, AdamW, RMSprop
from manual.numbers import Array
from manual.optimizers import SGD, Optimizer

BLOCK_BYTES = 2**17  # of one array: five of them lie in a core's second cache
Rates = dict[str, float]


# b ← μ b + (1 − τ) g (b = g at first), θ ← θ − η b; Nesterov: θ ← θ − η (g + μ b)
def sgd(
    do: Program, o: SGD, p: Array, g: Array, state: list[Array], s: Array, rate: dict[str, Array]
) -> None:
    step = g
    if o.momentum:
        b = state[0]
        do(np.multiply, b, o.momentum, out=b)
        do(np.multiply, g, rate["fresh"], out=s)
        do(np.add, b, s, out=b)
        step = b
        if o.nesterov:
            do(np.multiply, b, o.momentum, out=s)
            step = do(np.add, s, g, out=s)
    do(np.multiply, step, rate["lr"], out=s)
    do(np.subtract, p, s, out=p)


def sgd_rates(o: SGD, step: int, lr: float) -> Rates:
    return {"lr": lr, "fresh": 1.0 if step == 1 else 1 - o.dampening}


# v ← α v + (1 − α) g², θ ← θ − η g / (√v + ε); momentum: b ← μ b + g / (√v + ε), θ ← θ − η b
def rmsprop(
    do: Program, o: RMSprop, p: Array, g: Array, state: list[Array], s: Array, rate: dict[str, Array]
) -> None:
    v = state[0]
    do(np.multiply, g, g, out=s)
    do(np.multiply, s, 1 - o.alpha, out=s)
    do(np.multiply, v, o.alpha, out=v)
    do(np.add, v, s, out=v)
    do(np.sqrt, v, out=s)
    do(np.add, s, o.eps, out=s)
    do(np.divide, g, s, out=s)
    if o.momentum:
        b = state[1]
        do(np.multiply, b, o.momentum, out=b)
        do(np.add, b, s, out=b)
        do.copy(b, s)
    do(np.multiply, s, rate["lr"], out=s)
    do(np.subtract, p, s, out=p)


def plain_rates(o: Optimizer, step: int, lr: float) -> Rates:
    return {"lr": lr}


# v ← v + g², θ ← θ − η / (1 + (t − 1) decay) · g / (√v + ε)
def adagrad(
    do: Program, o: Adagrad, p: Array, g: Array, state: list[Array], s: Array, rate: dict[str, Array]
) -> None:
    v = state[0]
    do(np.multiply, g, g, out=s)
    do(np.add, v, s, out=v)
    do(np.sqrt, v, out=s)
    do(np.add, s, o.eps, out=s)
    do(np.divide, g, s, out=s)
    do(np.multiply, s, rate["lr"], out=s)
    do(np.subtract, p, s, out=p)


def adagrad_rates(o: Adagrad, step: int, lr: float) -> Rates:
    return {"lr": lr / (1 + (step - 1) * o.lr_decay)}


# M ← β₁ M + g, V ← β₂ V + g²: m = (1 − β₁) M and v = (1 − β₂) V, whose factors go into two numbers a step,
# θ ← θ − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) = θ − c M / (√V + e)
def adam(
    do: Program, o: Adam, p: Array, g: Array, state: list[Array], s: Array, rate: dict[str, Array]
) -> None:
    m, v = state
    do(np.multiply, m, o.betas[0], out=m)
    do(np.add, m, g, out=m)
    do(np.multiply, g, g, out=s)
    do(np.multiply, v, o.betas[1], out=v)
    do(np.add, v, s, out=v)
    do(np.sqrt, v, out=s)
    do(np.add, s, rate["e"], out=s)
    do(np.divide, m, s, out=s)
    do(np.multiply, s, rate["c"], out=s)
    do(np.subtract, p, s, out=p)


# k = √((1 − β₂) / (1 − β₂ᵗ)): √(v / (1 − β₂ᵗ)) = k √V, so e = ε / k and c = η (1 − β₁) / (1 − β₁ᵗ) / k
def adam_rates(o: Adam, step: int, lr: float) -> Rates:
    k = ((1 - o.betas[1]) / (1 - o.betas[1] ** step)) ** 0.5
    return {"e": o.eps / k, "c": lr * (1 - o.betas[0]) / (1 - o.betas[0] ** step) / k}


# θ ← (1 − η λ) θ before the step
def adamw(
    do: Program, o: AdamW, p: Array, g: Array, state: list[Array], s: Array, rate: dict[str, Array]
) -> None:
    do(np.multiply, p, rate["shrink"], out=p)
    adam(do, o, p, g, state, s, rate)


def adamw_rates(o: AdamW, step: int, lr: float) -> Rates:
    return {**adam_rates(o, step, lr), "shrink": 1 - lr * o.weight_decay}


@dataclass(frozen=True)
class UpdateRule:
    """One row: the calls, the numbers of a step, and the moments it keeps by torch's names.

    `scale(o)` are the factors that turn what is kept into torch's moments.
    """

    rows: Callable[..., None]
    rates: Callable[..., Rates]
    moments: Callable[[Any], tuple[str, ...]] = lambda o: ()
    scale: Callable[[Any], tuple[float, ...]] | None = None
    decays_gradient: bool = True


def _adams_scale(o: Adam) -> tuple[float, ...]:
    return 1 - o.betas[0], 1 - o.betas[1]


def _adams_moments(o: Adam) -> tuple[str, ...]:
    return "exp_avg", "exp_avg_sq"


UPDATE_RULES: dict[type[Optimizer], UpdateRule] = {
    SGD: UpdateRule(sgd, sgd_rates, lambda o: ("momentum_buffer",) if o.momentum else ()),
    RMSprop: UpdateRule(
        rmsprop, plain_rates, lambda o: ("square_avg", "momentum_buffer") if o.momentum else ("square_avg",)
    ),
    Adagrad: UpdateRule(adagrad, adagrad_rates, lambda o: ("sum",)),
    Adam: UpdateRule(adam, adam_rates, _adams_moments, _adams_scale),
    AdamW: UpdateRule(adamw, adamw_rates, _adams_moments, _adams_scale, decays_gradient=False),
}


class Update:
    """One update of a flat array of parameters: `prepare(lr)`, then run `calls`."""

    def __init__(self, optimizer: Optimizer, parameters: Array, gradients: Array) -> None:
        self.optimizer, self.rule = optimizer, UPDATE_RULES[type(optimizer)]
        workspace = Workspace(parameters.dtype)
        names = self.rule.moments(optimizer)
        self.moments = {name: workspace.new(parameters.size) for name in names}
        self.rate = {name: workspace.new() for name in self.rule.rates(optimizer, 1, 0.0)}
        do = Program(workspace)
        blocks = -(-parameters.nbytes // BLOCK_BYTES)
        for i in range(blocks):
            block = slice(i * parameters.size // blocks, (i + 1) * parameters.size // blocks)
            self._write(do, parameters[block], gradients[block], [m[block] for m in self.moments.values()])
        self.calls: list[Call] = do.calls

    @borrows
    def _write(self, do: Program, p: Array, g: Array, state: list[Array]) -> None:
        o = self.optimizer
        if o.weight_decay and self.rule.decays_gradient:  # g = ∇θ + λ θ
            decayed = do.scratch(p)
            do(np.multiply, p, o.weight_decay, out=decayed)
            g = do(np.add, decayed, g, out=decayed)
        self.rule.rows(do, o, p, g, state, do.scratch(p), self.rate)

    def prepare(self, lr: float) -> None:
        """The numbers of the next step, whose learning rate is `lr`."""
        self.optimizer.steps += 1
        for name, value in self.rule.rates(self.optimizer, self.optimizer.steps, lr).items():
            self.rate[name][()] = value

    def torchs_moments(self) -> Iterable[tuple[str, Array]]:
        """The moments by torch's names and in its meaning: flat copies."""
        scale = self.rule.scale(self.optimizer) if self.rule.scale else (1.0,) * len(self.moments)
        for (name, kept), factor in zip(self.moments.items(), scale, strict=True):
            yield name, kept * kept.dtype.type(factor)
