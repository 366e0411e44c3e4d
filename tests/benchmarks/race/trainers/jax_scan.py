"""JAX: an epoch is one compiled function that scans over its batches, parameters and moments donated."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BETA1, BETA2, EPS, LR = 0.9, 0.999, 1e-8, 1e-3


def loss_of(loss: str) -> Any:
    def value(parameters: Any, x: Any, y: Any) -> Any:
        a = x
        for i, (weight, bias) in enumerate(parameters):
            a = (jax.nn.relu(a) if i else a) @ weight + bias
        if loss == "cross_entropy":
            return -jnp.take_along_axis(jax.nn.log_softmax(a), y[:, None], axis=1).mean()
        return (jnp.logaddexp(0, a) - a * y).mean()

    return value


class Scan:
    """Adam by hand, as in torch; the last, smaller batch is one more step in the same function."""

    def __init__(self, problem: Any) -> None:
        spec, self.problem = problem.spec, problem
        self.x, self.y = jnp.asarray(problem.x), jnp.asarray(problem.y)
        gradient = jax.value_and_grad(loss_of(spec.loss))
        full = len(problem.x) // spec.batch * spec.batch

        def step(state: Any, rows: Any, x: Any, y: Any) -> Any:
            parameters, m, v, t = state
            value, g = gradient(parameters, x[rows], y[rows])
            t = t + 1
            m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
            v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
            rate, correction = LR / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
            parameters = jax.tree.map(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) / correction + EPS), parameters, m, v
            )
            return (parameters, m, v, t), value

        @partial(jax.jit, donate_argnums=0)
        def epoch(state: Any, order: Any, x: Any, y: Any) -> Any:
            batches = order[:full].reshape(-1, spec.batch)
            state, losses = jax.lax.scan(lambda s, rows: step(s, rows, x, y), state, batches)
            total = losses.sum() * spec.batch
            if full < len(order):
                state, last = step(state, order[full:], x, y)
                total = total + last * (len(order) - full)
            return state, total / len(order)

        self.epoch = epoch

    def prepare(self, seed: int) -> None:
        parameters = [(jnp.array(w.T), jnp.array(b)) for w, b in self.problem.initial(seed)]
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.seed = seed
        self.state = jax.block_until_ready((parameters, zeros(parameters), zeros(parameters), jnp.float32(0)))

    def train(self) -> None:
        losses = []
        for epoch in range(1, self.problem.spec.epochs + 1):
            order = self.problem.order(self.seed, epoch).astype(np.int32)
            self.state, loss = self.epoch(self.state, order, self.x, self.y)
            losses.append(loss)
        jax.block_until_ready((self.state, losses))

    def weights(self) -> list[tuple[Any, Any]]:
        return [(np.asarray(w).T, np.asarray(b)) for w, b in self.state[0]]
