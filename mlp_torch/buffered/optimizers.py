"""The update rules on the one flat parameter, by torch's formulas; options and defaults are the rule's own.

Where torch has a fused kernel that runs on every device (the one behind `torch.optim.X(fused=True)`) a
step is that one kernel, called without the Python around it; RMSprop and Adagrad have none, and are
written out. A row of `OPTIMIZERS` takes the rule with its options, θ and ∇θ, makes its moments, and returns
an `Update`, whose step takes the learning rate as a tensor without dimensions, so that a recorded step can
learn at another rate.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from manual.catalogue.optimizers import Adagrad, Adam, AdamW, RMSprop
from manual.optimizers import SGD, Optimizer
from mlp_torch.buffered.buffers import Op


@dataclass(frozen=True)
class Update:
    """A step's kernels for a learning rate, and all that the rule keeps from one step to the next."""

    ops: Callable[[Tensor], list[Op]]
    moments: dict[str, Tensor] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)

    def __call__(self, lr: Tensor) -> list[Op]:
        return self.ops(lr)


def _number(value: float, like: Tensor) -> Tensor:
    """A number in a tensor without dimensions, which a kernel takes without making one."""
    return torch.full((), value, dtype=like.dtype, device=like.device)


# b ← μ b + (1 − τ) g (b = g at first), θ ← θ − η b; Nesterov: θ ← θ − η (g + μ b); g = ∇θ + λθ
def sgd(o: SGD, theta: Tensor, gradient: Tensor) -> Update:
    moments = {"momentum_buffer": torch.zeros_like(theta)} if o.momentum else {}
    buffers, flags = list(moments.values()), {"is_first_step": True}
    options: dict[str, Any] = {"weight_decay": o.weight_decay, "momentum": o.momentum, "maximize": False}
    options |= {"dampening": o.dampening, "nesterov": o.nesterov}

    def update(lr: Tensor) -> None:
        first = flags["is_first_step"]
        torch._fused_sgd_([theta], [gradient], buffers, lr=lr, is_first_step=first, **options)
        flags["is_first_step"] = False

    return Update(lambda lr: [partial(update, lr)], moments, flags)


# v ← α v + (1 − α) g², θ ← θ − η g / (√v + ε); momentum: b ← μ b + g / (√v + ε), θ ← θ − η b
def rmsprop(o: RMSprop, theta: Tensor, gradient: Tensor) -> Update:
    v, direction = torch.zeros_like(theta), torch.zeros_like(theta)
    b = torch.zeros_like(theta) if o.momentum else direction
    kept, added, carried = (_number(value, theta) for value in (o.alpha, o.eps, o.momentum))
    g, decay = _decayed(o, theta, gradient)

    def step(lr: Tensor) -> list[Op]:
        return [
            *decay,
            partial(v.mul_, kept),
            partial(v.addcmul_, g, g, value=1 - o.alpha),
            *_over_root(g, v, added, direction),
            *([partial(b.mul_, carried), partial(b.add_, direction)] if o.momentum else []),
            partial(torch.mul, b, lr, out=direction),
            partial(theta.sub_, direction),
        ]

    return Update(step, {"square_avg": v} | ({"momentum_buffer": b} if o.momentum else {}))


# s ← s + g², θ ← θ − η / (1 + (t − 1) decay) · g / (√s + ε)
def adagrad(o: Adagrad, theta: Tensor, gradient: Tensor) -> Update:
    s, direction, added = torch.zeros_like(theta), torch.zeros_like(theta), _number(o.eps, theta)
    # 1 + (t − 1) decay, moved on by decay after every step
    divisor = torch.ones((), dtype=torch.float64, device=theta.device)
    moved = _number(o.lr_decay, divisor)
    g, decay = _decayed(o, theta, gradient)

    def step(lr: Tensor) -> list[Op]:
        return [
            *decay,
            partial(s.addcmul_, g, g),
            *_over_root(g, s, added, direction),
            partial(direction.mul_, lr),
            *([partial(direction.div_, divisor), partial(divisor.add_, moved)] if o.lr_decay else []),
            partial(theta.sub_, direction),
        ]

    return Update(step, {"sum": s, "divisor": divisor})


def _over_root(g: Tensor, v: Tensor, eps: Tensor, out: Tensor) -> list[Op]:
    """g / (√v + ε)."""
    return [partial(torch.sqrt, v, out=out), partial(out.add_, eps), partial(torch.div, g, out, out=out)]


def _decayed(o: Optimizer, theta: Tensor, gradient: Tensor) -> tuple[Tensor, list[Op]]:
    """g = ∇θ + λθ, apart from ∇θ, which stays what the step found."""
    if not o.weight_decay:
        return gradient, []
    g = torch.empty_like(gradient)
    return g, [partial(torch.add, gradient, theta, alpha=o.weight_decay, out=g)]


# m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
def adam(o: Adam, theta: Tensor, gradient: Tensor) -> Update:
    """AdamW's decay leaves the moments alone: θ ← (1 − η λ) θ first."""
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    steps = torch.zeros((), dtype=torch.float32, device=theta.device)
    one = torch.ones_like(steps)
    fused: Any = torch._fused_adamw_ if isinstance(o, AdamW) else torch._fused_adam_
    options: Any = {"beta1": o.betas[0], "beta2": o.betas[1], "eps": o.eps, "weight_decay": o.weight_decay}
    lists: Any = [theta], [gradient], [m], [v], [], [steps]

    def step(lr: Tensor) -> list[Op]:
        return [
            partial(steps.add_, one),
            partial(fused, *lists, lr=lr, amsgrad=False, maximize=False, **options),
        ]

    return Update(step, {"exp_avg": m, "exp_avg_sq": v, "step": steps})


OPTIMIZERS: dict[type[Optimizer], Callable[..., Update]] = {
    SGD: sgd,
    RMSprop: rmsprop,
    Adagrad: adagrad,
    Adam: adam,
    AdamW: adam,
}
