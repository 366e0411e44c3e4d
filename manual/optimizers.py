"""The update rules θ ← θ − η · (something made of ∇θ), with torch.optim's names, defaults and order.

Every rule works in place on a live dict of arrays, one name at a time, and keeps its moments in
`state[name]`. g is the gradient with the weight decay already in it, g = ∇θ + λθ. Source: the slides
"Gradient Descent" and, for momentum, the pseudo-code in torch's documentation. Further rules are in
`manual.catalogue.optimizers`, all of them by name in `manual.catalogue.OPTIMIZERS`.
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


ROWS: dict[str, type[Optimizer]] = {"sgd": SGD}
