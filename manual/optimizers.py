"""The update rules θ ← θ − η · (something made of ∇θ), with torch.optim's names, defaults and order.

Every rule works in place on a live dict of arrays, one name at a time, and keeps its moments in
`state[name]`. g is the gradient with the weight decay already in it, g = ∇θ + λθ. Source of each
formula: the pseudo-code in torch's documentation of the class of the same name.
"""

from collections.abc import Mapping, MutableMapping

import numpy as np

from manual.numbers import Array


class Optimizer:
    """`step(gradients)` moves every parameter; `lr` may be set anew before each step."""

    def __init__(self, parameters: Mapping[str, Array], lr: float, weight_decay: float = 0.0) -> None:
        self.parameters = parameters
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.state: dict[str, MutableMapping[str, Array]] = {name: {} for name in parameters}

    def step(self, gradients: Mapping[str, Array]) -> None:
        """θ ← θ − η · …, in place; `gradients` has an array of the same shape for every parameter."""
        self.steps += 1
        for name, parameter in self.parameters.items():
            g = gradients[name]
            if g.shape != parameter.shape:
                raise ValueError(f"{name} has shape {parameter.shape}, its gradient {g.shape}")
            if self.weight_decay:
                g = self.decay(parameter, g)
            self.update(parameter, g, self.state[name])

    def decay(self, parameter: Array, g: Array) -> Array:
        """g = ∇θ + λθ, the gradient of the penalty ½λΣθ²."""
        return g + self.weight_decay * parameter

    def update(self, parameter: Array, g: Array, state: MutableMapping[str, Array]) -> None:
        raise NotImplementedError

    def moment(self, name: str, like: Array, state: MutableMapping[str, Array]) -> Array:
        """The moment of that name, zeros at the start."""
        if name not in state:
            state[name] = np.zeros_like(like)
        return state[name]


class SGD(Optimizer):
    """b ← μ b + (1 − τ) g (b = g at first), θ ← θ − η b; Nesterov: θ ← θ − η (g + μ b)."""

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and no dampening")
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    def update(self, parameter: Array, g: Array, state: MutableMapping[str, Array]) -> None:
        if self.momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = g.copy()
            else:
                state["momentum_buffer"] *= self.momentum
                state["momentum_buffer"] += (1 - self.dampening) * g
            buffer = state["momentum_buffer"]
            g = g + self.momentum * buffer if self.nesterov else buffer
        parameter -= self.lr * g


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


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
}
