"""MLX as its examples do: `nn.value_and_grad`, its Adam, one compiled step a batch; on the CPU."""

from functools import partial
from itertools import pairwise
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers
import numpy as np

from race.problems import BETAS, EPS, LR, Problem

mx.set_default_device(mx.cpu)


class MLP(nn.Module):
    """Linear layers with relu between them."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = nn.relu(layer(x))
        return self.layers[-1](x)


def loss_of(loss: str) -> Any:
    """The mean loss of a batch as a function of model, x and y."""
    if loss == "cross_entropy":
        return lambda model, x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")
    return lambda model, x, y: nn.losses.binary_cross_entropy(model(x), y, with_logits=True, reduction="mean")


class Mlx:
    """One model, its state captured by the compiled step; a run sets weights and moments anew."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.x, self.y = mx.array(problem.x), mx.array(problem.y)
        self.model = MLP(problem.spec.sizes)
        self.optimizer = mlx.optimizers.Adam(LR, list(BETAS), EPS, bias_correction=True)
        gradient = nn.value_and_grad(self.model, loss_of(problem.spec.loss))
        state = [self.model.state, self.optimizer.state]

        @partial(mx.compile, inputs=state, outputs=state)
        def step(x: Any, y: Any) -> Any:
            loss, gradients = gradient(self.model, x, y)
            self.optimizer.update(self.model, gradients)
            return loss

        self.step = step

    def prepare(self, seed: int) -> None:
        self.seed = seed
        for layer, (weight, bias) in zip(self.model.layers, self.problem.initial(seed), strict=True):
            layer.weight, layer.bias = mx.array(weight), mx.array(bias)
        self.optimizer.init(self.model.parameters())  # what is there already it leaves alone
        state = self.optimizer.state
        state["step"] = mx.array(0, mx.uint64)
        for moments in (parameter for layer in state["layers"] for parameter in layer.values()):
            moments.update({name: mx.zeros_like(array) for name, array in moments.items()})
        mx.eval(self.model.state, self.optimizer.state)

    def train(self) -> None:
        spec = self.problem.spec
        for epoch in range(1, spec.epochs + 1):
            order = mx.array(self.problem.order(self.seed, epoch).astype(np.int32))
            for start in range(0, len(self.problem.x), spec.batch):
                rows = order[start : start + spec.batch]
                loss = self.step(self.x[rows], self.y[rows])
                mx.eval(loss, self.model.state, self.optimizer.state)

    def weights(self) -> list[tuple[Any, Any]]:
        return [(np.array(layer.weight), np.array(layer.bias)) for layer in self.model.layers]
