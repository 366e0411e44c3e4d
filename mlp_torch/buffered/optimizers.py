"""The update rules on the one flat parameter, with torch.optim's names, defaults and formulas.

Where torch has a fused kernel that runs on every device (the one behind `torch.optim.X(fused=True)`) a
step is that one kernel, called without the Python around it; RMSprop and Adagrad have none, and are
written out. A row takes θ, ∇θ and the options, makes its moments, and returns an `Update`, whose step takes
the learning rate as a tensor without dimensions, so that a recorded step can learn at another rate.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

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
def sgd(
    theta: Tensor,
    gradient: Tensor,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> Update:
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError("nesterov needs a momentum above 0 and no dampening")
    buffers = [torch.zeros_like(theta)] if momentum else []
    state: dict[str, bool] = {"is_first_step": True}
    options: dict[str, Any] = {"weight_decay": weight_decay, "momentum": momentum, "dampening": dampening}
    options |= {"nesterov": nesterov, "maximize": False}

    def update(lr: Tensor) -> None:
        first = state["is_first_step"]
        torch._fused_sgd_([theta], [gradient], buffers, lr=lr, is_first_step=first, **options)
        state["is_first_step"] = False

    kept = {"momentum_buffer": buffers[0]} if momentum else {}
    return Update(lambda lr: [partial(update, lr)], kept, state)


# v ← α v + (1 − α) g², θ ← θ − η g / (√v + ε); momentum: b ← μ b + g / (√v + ε), θ ← θ − η b
def rmsprop(
    theta: Tensor,
    gradient: Tensor,
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
) -> Update:
    v, direction = torch.zeros_like(theta), torch.zeros_like(theta)
    b = torch.zeros_like(theta) if momentum else direction
    kept, added, carried = (_number(value, theta) for value in (alpha, eps, momentum))

    g, decay = _decayed(theta, gradient, weight_decay)

    def step(lr: Tensor) -> list[Op]:
        return [
            *decay,
            partial(v.mul_, kept),
            partial(v.addcmul_, g, g, value=1 - alpha),
            partial(torch.sqrt, v, out=direction),
            partial(direction.add_, added),
            partial(torch.div, g, direction, out=direction),
            *([partial(b.mul_, carried), partial(b.add_, direction)] if momentum else []),
            partial(torch.mul, b, lr, out=direction),
            partial(theta.sub_, direction),
        ]

    return Update(step, {"square_avg": v} | ({"momentum_buffer": b} if momentum else {}))


# s ← s + g², θ ← θ − η / (1 + (t − 1) decay) · g / (√s + ε)
def adagrad(
    theta: Tensor,
    gradient: Tensor,
    *,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    eps: float = 1e-10,
) -> Update:
    s, direction = torch.zeros_like(theta), torch.zeros_like(theta)
    added = _number(eps, theta)
    # 1 + (t − 1) decay, moved on by decay after every step
    divisor = torch.ones((), dtype=torch.float64, device=theta.device)
    moved = _number(lr_decay, divisor)
    g, decay = _decayed(theta, gradient, weight_decay)

    def step(lr: Tensor) -> list[Op]:
        return [
            *decay,
            partial(s.addcmul_, g, g),
            partial(torch.sqrt, s, out=direction),
            partial(direction.add_, added),
            partial(torch.div, g, direction, out=direction),
            partial(direction.mul_, lr),
            *([partial(direction.div_, divisor), partial(divisor.add_, moved)] if lr_decay else []),
            partial(theta.sub_, direction),
        ]

    return Update(step, {"sum": s, "divisor": divisor})


def _decayed(theta: Tensor, gradient: Tensor, weight_decay: float) -> tuple[Tensor, list[Op]]:
    """g = ∇θ + λθ, apart from ∇θ, which stays what the step found."""
    if not weight_decay:
        return gradient, []
    g = torch.empty_like(gradient)
    return g, [partial(torch.add, gradient, theta, alpha=weight_decay, out=g)]


# m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
def _adam(kernel: str, default_decay: float) -> Callable[..., Update]:
    def adam(
        theta: Tensor,
        gradient: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = default_decay,
    ) -> Update:
        m, v = torch.zeros_like(theta), torch.zeros_like(theta)
        steps = torch.zeros((), dtype=torch.float32, device=theta.device)
        one = torch.ones_like(steps)
        beta1, beta2 = betas
        options = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        fused = getattr(torch, kernel)
        lists: Any = [theta], [gradient], [m], [v], [], [steps]

        def step(lr: Tensor) -> list[Op]:
            return [
                partial(steps.add_, one),
                partial(fused, *lists, lr=lr, amsgrad=False, maximize=False, **options),
            ]

        return Update(step, {"exp_avg": m, "exp_avg_sq": v, "step": steps})

    return adam


OPTIMIZERS: dict[str, Any] = {
    "sgd": sgd,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adam": _adam("_fused_adam_", 0.0),
    "adamw": _adam("_fused_adamw_", 0.01),  # whose decay leaves the moments alone: θ ← (1 − η λ) θ first
}
