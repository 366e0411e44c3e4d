"""Further update rules in the form of `manual.optimizers`, with torch.optim's names and defaults.

Source of each formula: the pseudo-code in torch's documentation of the class of the same name; of Lion,
which torch has not, the paper "Symbolic Discovery of Optimization Algorithms".
"""

from collections.abc import Mapping, MutableMapping

import numpy as np

from manual.numbers import Array, sign
from manual.optimizers import Optimizer


class RMSprop(Optimizer):
    """v ← α v + (1 − α) g², θ ← θ − η g / (√v + ε); momentum: b ← μ b + g / (√v + ε), θ ← θ − η b."""

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.alpha, self.eps, self.momentum = alpha, eps, momentum

    def update(self, parameter: Array, g: Array, state: MutableMapping[str, Array]) -> None:
        v = self.moment("square_avg", parameter, state)
        v *= self.alpha
        v += (1 - self.alpha) * g * g
        direction = g / (np.sqrt(v) + self.eps)
        if self.momentum:
            buffer = self.moment("momentum_buffer", parameter, state)
            buffer *= self.momentum
            buffer += direction
            direction = buffer
        parameter -= self.lr * direction


class Adagrad(Optimizer):
    """s ← s + g², θ ← θ − η / (1 + (t − 1) decay) · g / (√s + ε)."""

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-2,
        *,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.lr_decay, self.eps = lr_decay, eps

    def update(self, parameter: Array, g: Array, state: MutableMapping[str, Array]) -> None:
        s = self.moment("sum", parameter, state)
        s += g * g
        lr = self.lr / (1 + (self.steps - 1) * self.lr_decay)
        parameter -= lr * g / (np.sqrt(s) + self.eps)


class Adam(Optimizer):
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)."""

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas, self.eps = betas, eps

    def update(self, parameter: Array, g: Array, state: MutableMapping[str, Array]) -> None:
        beta1, beta2 = self.betas
        m = self.moment("exp_avg", parameter, state)
        v = self.moment("exp_avg_sq", parameter, state)
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        corrected = np.sqrt(v) / (1 - beta2**self.steps) ** 0.5 + self.eps
        parameter -= self.lr / (1 - beta1**self.steps) * m / corrected


class AdamW(Adam):
    """Adam whose decay leaves the moments alone: θ ← (1 − η λ) θ before the step."""

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def decay(self, parameter: Array, g: Array) -> Array:
        parameter *= 1 - self.lr * self.weight_decay
        return g


class Lion(Optimizer):
    """θ ← θ − η (sign(β₁ m + (1 − β₁) g) + λ θ), then m ← β₂ m + (1 − β₂) g (Chen et al. 2023)."""

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-4,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas = betas

    def decay(self, parameter: Array, g: Array) -> Array:
        parameter *= 1 - self.lr * self.weight_decay
        return g

    def update(self, parameter: Array, g: Array, state: MutableMapping[str, Array]) -> None:
        beta1, beta2 = self.betas
        m = self.moment("exp_avg", parameter, state)
        parameter -= self.lr * sign(beta1 * m + (1 - beta1) * g)
        m *= beta2
        m += (1 - beta2) * g


ROWS: dict[str, type[Optimizer]] = {
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
    "lion": Lion,
}
