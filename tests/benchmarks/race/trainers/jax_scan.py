"""JAX without a trainer around it: all of training is one compiled scan of epochs, each a scan of batches.

Parameters and moments are donated; Adam is written by hand, as in torch, or is that of optax. Of the ways
tried (rows gathered a batch or an epoch at a time, arrays by layer or one flat one, a call an epoch or one
in all) this is the fastest: one call, rows a batch at a time, a flat array where the network is small.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from race.problems import BETAS, EPS, LR, Problem

BETA1, BETA2 = BETAS
SMALL = 10_000  # parameters up to which a flat array pays: 28 % on C, nothing on A, a loss of 6 % on D


def loss_of(loss: str) -> Any:
    """The mean loss of a batch as a function of the layers' (weight (in, out), bias)."""

    def value(layers: Any, x: Any, y: Any) -> Any:
        a = x
        for i, (weight, bias) in enumerate(layers):
            a = (jax.nn.relu(a) if i else a) @ weight + bias
        if loss == "cross_entropy":
            return -jnp.take_along_axis(jax.nn.log_softmax(a), y[:, None], axis=1).mean()
        return (jnp.logaddexp(0, a) - a * y).mean()

    return value


def by_hand() -> tuple[Any, Any]:
    """Adam in four lines: the moments of parameters, and (g, moments, parameters) → the next of both."""

    def init(parameters: Any) -> Any:
        m, v = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        return m, v, jnp.float32(0)

    def update(g: Any, moments: Any, parameters: Any) -> Any:
        m, v, t = moments
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        rate, correction = LR / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) / correction + EPS), parameters, m, v
        )
        return parameters, (m, v, t)

    return init, update


def by_optax() -> tuple[Any, Any]:
    """The same from optax, as its guide calls it."""
    import optax

    adam = optax.adam(LR, BETA1, BETA2, EPS)

    def update(g: Any, moments: Any, parameters: Any) -> Any:
        updates, moments = adam.update(g, moments, parameters)
        return optax.apply_updates(parameters, updates), moments

    return adam.init, update


RULES = {"hand": by_hand, "optax": by_optax}


class Scan:
    """The last, smaller batch of an epoch is one more step in the same function."""

    def __init__(self, problem: Problem, rule: str) -> None:
        spec, self.problem = problem.spec, problem
        self.x, self.y = jnp.asarray(problem.x), jnp.asarray(problem.y)
        n, full = len(problem.x), len(problem.x) // spec.batch * spec.batch
        flat, unravel = ravel_pytree(self.layers(0))
        if flat.size <= SMALL:
            self.pack, self.unpack = lambda layers: ravel_pytree(layers)[0], unravel
        else:
            self.pack = self.unpack = lambda layers: layers
        of_layers = loss_of(spec.loss)
        gradient = jax.value_and_grad(lambda packed, x, y: of_layers(self.unpack(packed), x, y))
        self.moments, update = RULES[rule]()

        def step(state: Any, x: Any, y: Any) -> Any:
            parameters, moments = state
            loss, g = gradient(parameters, x, y)
            return update(g, moments, parameters), loss

        @partial(jax.jit, donate_argnums=0)
        def training(state: Any, orders: Any, x: Any, y: Any) -> Any:
            def epoch(state: Any, order: Any) -> Any:
                batches = order[:full].reshape(-1, spec.batch)
                state, losses = jax.lax.scan(lambda s, rows: step(s, x[rows], y[rows]), state, batches)
                total = losses.sum() * spec.batch
                if full < n:
                    state, last = step(state, x[order[full:]], y[order[full:]])
                    total = total + last * (n - full)
                return state, total / n

            return jax.lax.scan(epoch, state, orders)

        self.training = training

    def layers(self, seed: int) -> Any:
        """The first weights (in, out) and biases on the device."""
        return [(jnp.array(w.T), jnp.array(b)) for w, b in self.problem.initial(seed)]

    def prepare(self, seed: int) -> None:
        parameters = self.pack(self.layers(seed))
        self.seed = seed
        self.state = jax.block_until_ready((parameters, self.moments(parameters)))

    def train(self) -> None:
        epochs = range(1, self.problem.spec.epochs + 1)
        orders = np.stack([self.problem.order(self.seed, epoch) for epoch in epochs]).astype(np.int32)
        self.state, losses = jax.block_until_ready(self.training(self.state, orders, self.x, self.y))
        self.losses = np.asarray(losses)

    def weights(self) -> list[tuple[Any, Any]]:
        return [(np.asarray(w).T, np.asarray(b)) for w, b in self.unpack(self.state[0])]
