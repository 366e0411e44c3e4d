"""Flax NNX as its guide does: a module, `nnx.Optimizer` around optax.adam, one jitted step a batch.

The data lies on the device, rows are taken within the step, and `cached_partial` spares NNX the walk
through its graph in every step, as its guide on performance advises.
"""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from race.problems import BETAS, EPS, LR, Problem


class MLP(nnx.Module):
    """Linear layers with relu between them."""

    def __init__(self, sizes: tuple[int, ...], rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


def loss_of(loss: str) -> Any:
    """The mean loss of a batch as a function of model, x and y."""
    if loss == "cross_entropy":
        return lambda model, x, y: optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()
    return lambda model, x, y: optax.sigmoid_binary_cross_entropy(model(x), y).mean()


class Nnx:
    """One jitted step for every run; the last, smaller batch is compiled once more."""

    def __init__(self, problem: Problem) -> None:
        self.problem, of_model = problem, loss_of(problem.spec.loss)
        self.x, self.y = jnp.asarray(problem.x), jnp.asarray(problem.y)
        self.adam = optax.adam(LR, *BETAS, eps=EPS)  # one object: another one would be compiled anew

        @nnx.jit
        def step(model: Any, optimizer: Any, x: Any, y: Any, rows: Any) -> Any:
            loss, gradient = nnx.value_and_grad(of_model)(model, x[rows], y[rows])
            optimizer.update(model, gradient)
            return loss

        self.step = step

    def prepare(self, seed: int) -> None:
        self.seed, self.model = seed, MLP(self.problem.spec.sizes, nnx.Rngs(0))
        for layer, (weight, bias) in zip(self.model.layers, self.problem.initial(seed), strict=True):
            layer.kernel[...], layer.bias[...] = jnp.array(weight.T), jnp.array(bias)
        self.optimizer = nnx.Optimizer(self.model, self.adam, wrt=nnx.Param)

    def train(self) -> None:
        spec = self.problem.spec
        step = nnx.cached_partial(self.step, self.model, self.optimizer, self.x, self.y)
        for epoch in range(1, spec.epochs + 1):
            order = self.problem.order(self.seed, epoch).astype(np.int32)
            total = jnp.zeros(())
            for start in range(0, len(order), spec.batch):
                rows = order[start : start + spec.batch]
                total = total + step(rows) * len(rows)
            jax.block_until_ready(total)

    def weights(self) -> list[tuple[Any, Any]]:
        return [(np.asarray(m.kernel[...]).T, np.asarray(m.bias[...])) for m in self.model.layers]
