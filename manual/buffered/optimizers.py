"""The update rules of `manual.optimizers` in buffers, on flat arrays; one row of `UPDATE_RULES` a rule.

`rows(do, o, p, g, state, s, rate)` writes the calls for one block of the flat arrays: p parameters, g
gradients (which stay as they are), `state` the moments by name, s scratch. What changes from step to step
stands in `rate`, arrays of no dimension that `prepare` fills before each step. A rule without a row is
the plain one (`PlainUpdate`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.buffered.program import Call, Program, Workspace, borrows
from manual.catalogue.optimizers import Adagrad, Adam, AdamW, RMSprop
from manual.numbers import Array
from manual.optimizers import SGD, Optimizer
from manual.steps.flat import FlatArray
from manual.steps.moments import kept
from manual.structure.architecture import Architecture

BLOCK_BYTES = 2**17  # of one array: five of them lie in a core's second cache
Arrays = Mapping[str, Array]
Rates = dict[str, float]


# b ← μ b + (1 − τ) g (b = g at first), θ ← θ − η b; Nesterov: θ ← θ − η (g + μ b)
def sgd(do: Program, o: SGD, p: Array, g: Array, state: Arrays, s: Array, rate: Arrays) -> None:
    if o.momentum:
        b = state["momentum_buffer"]
        do(np.multiply, b, o.momentum, out=b)
        do(np.multiply, g, rate["fresh"], out=s)
        do(np.add, b, s, out=b)
        if o.nesterov:
            do(np.multiply, b, o.momentum, out=s)
            g = do(np.add, s, g, out=s)
        else:
            g = b
    _move(do, g, s, rate["lr"], p)


def sgd_rates(o: SGD, step: int, lr: float) -> Rates:
    return {"lr": lr, "fresh": 1.0 if step == 1 else 1 - o.dampening}


# v ← α v + (1 − α) g², θ ← θ − η g / (√v + ε); momentum: b ← μ b + g / (√v + ε), θ ← θ − η b
def rmsprop(do: Program, o: RMSprop, p: Array, g: Array, state: Arrays, s: Array, rate: Arrays) -> None:
    v = state["square_avg"]
    do(np.multiply, g, g, out=s)
    do(np.multiply, s, 1 - o.alpha, out=s)
    do(np.multiply, v, o.alpha, out=v)
    do(np.add, v, s, out=v)
    _over_root(do, g, v, o.eps, s)
    if o.momentum:
        b = state["momentum_buffer"]
        do(np.multiply, b, o.momentum, out=b)
        do(np.add, b, s, out=b)
        do.copy(b, s)
    _move(do, s, s, rate["lr"], p)


# v ← v + g², θ ← θ − η / (1 + (t − 1) decay) · g / (√v + ε)
def adagrad(do: Program, o: Adagrad, p: Array, g: Array, state: Arrays, s: Array, rate: Arrays) -> None:
    v = state["sum"]
    do(np.multiply, g, g, out=s)
    do(np.add, v, s, out=v)
    _over_root(do, g, v, o.eps, s)
    _move(do, s, s, rate["lr"], p)


def adagrad_rates(o: Adagrad, step: int, lr: float) -> Rates:
    return {"lr": lr / (1 + (step - 1) * o.lr_decay)}


# M ← β₁ M + g, V ← β₂ V + g²: m = (1 − β₁) M and v = (1 − β₂) V, whose factors go into two numbers a step,
# θ ← θ − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) = θ − c M / (√V + e); AdamW: θ ← (1 − η λ) θ before it
def adam(do: Program, o: Adam, p: Array, g: Array, state: Arrays, s: Array, rate: Arrays) -> None:
    m, v = state["exp_avg"], state["exp_avg_sq"]
    if "shrink" in rate:
        do(np.multiply, p, rate["shrink"], out=p)
    do(np.multiply, m, o.betas[0], out=m)
    do(np.add, m, g, out=m)
    do(np.multiply, g, g, out=s)
    do(np.multiply, v, o.betas[1], out=v)
    do(np.add, v, s, out=v)
    _over_root(do, m, v, rate["e"], s)
    _move(do, s, s, rate["c"], p)


# k = √((1 − β₂) / (1 − β₂ᵗ)): √(v / (1 − β₂ᵗ)) = k √V, so e = ε / k and c = η (1 − β₁) / (1 − β₁ᵗ) / k
def adam_rates(o: Adam, step: int, lr: float) -> Rates:
    k = ((1 - o.betas[1]) / (1 - o.betas[1] ** step)) ** 0.5
    return {"e": o.eps / k, "c": lr * (1 - o.betas[0]) / (1 - o.betas[0] ** step) / k}


def _over_root(do: Program, a: Array, v: Array, eps: Any, s: Array) -> None:
    """s ← a / (√v + ε)."""
    do(np.sqrt, v, out=s)
    do(np.add, s, eps, out=s)
    do(np.divide, a, s, out=s)


def _move(do: Program, direction: Array, s: Array, rate: Array, p: Array) -> None:
    """θ ← θ − rate · direction."""
    do(np.multiply, direction, rate, out=s)
    do(np.subtract, p, s, out=p)


@dataclass(frozen=True)
class UpdateRule:
    """One row: the calls, the numbers of a step, and what turns the moments that are kept into torch's."""

    rows: Callable[..., None]
    rates: Callable[..., Rates] = lambda o, step, lr: {"lr": lr}
    scale: Callable[[Any], dict[str, float]] = lambda o: {}
    decays_gradient: bool = True


def _scale(o: Adam) -> dict[str, float]:
    return {"exp_avg": 1 - o.betas[0], "exp_avg_sq": 1 - o.betas[1]}


def _adamw_rates(o: AdamW, step: int, lr: float) -> Rates:
    return {**adam_rates(o, step, lr), "shrink": 1 - lr * o.weight_decay}


UPDATE_RULES: dict[type[Optimizer], UpdateRule] = {
    SGD: UpdateRule(sgd, sgd_rates),
    RMSprop: UpdateRule(rmsprop),
    Adagrad: UpdateRule(adagrad, adagrad_rates),
    Adam: UpdateRule(adam, adam_rates, _scale),
    AdamW: UpdateRule(adam, _adamw_rates, _scale, decays_gradient=False),
}


class Update:
    """One update of the flat parameters: `prepare(lr)`, then run `calls`; `moments` are flat too, by name."""

    def __init__(self, optimizer: Optimizer, parameters: FlatArray, gradients: FlatArray) -> None:
        self.optimizer, self.rule = optimizer, UPDATE_RULES[type(optimizer)]
        p, g = parameters.array, gradients.array
        workspace = Workspace(p.dtype)
        self.moments = {name: workspace.new(p.size) for name in kept(optimizer) if name is not None}
        self.rate = {name: workspace.new() for name in self.rule.rates(optimizer, 1, 0.0)}
        do = Program(workspace)
        blocks = -(-p.nbytes // BLOCK_BYTES)
        for i in range(blocks):
            block = slice(i * p.size // blocks, (i + 1) * p.size // blocks)
            self._write(do, p[block], g[block], {name: m[block] for name, m in self.moments.items()})
        self.calls: list[Call] = do.calls

    @borrows
    def _write(self, do: Program, p: Array, g: Array, state: Arrays) -> None:
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

    def shown(self, architecture: Architecture) -> dict[str, dict[str, Array]]:
        """The moments by torch's names and in its meaning, then by parameter: copies."""
        scale = self.rule.scale(self.optimizer)
        torchs = {name: m * m.dtype.type(scale.get(name, 1.0)) for name, m in self.moments.items()}
        return {name: FlatArray(architecture, array).views for name, array in torchs.items()}


class PlainUpdate:
    """The same for a rule that has no row: the plain formula, whose moments are in `optimizer.state`."""

    moments: dict[str, Array] | None = None

    def __init__(self, optimizer: Optimizer, gradients: FlatArray) -> None:
        self.optimizer = optimizer
        self.calls: list[Call] = [lambda: optimizer.step(gradients.views)]

    def prepare(self, lr: float) -> None:
        self.optimizer.lr = lr

    def shown(self, architecture: Architecture) -> dict[str, dict[str, Array]]:
        state = self.optimizer.state
        names = {name for moments in state.values() for name in moments}
        return {name: {of: moments[name].copy() for of, moments in state.items()} for name in names}
