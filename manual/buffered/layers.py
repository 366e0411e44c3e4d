"""The layers of `manual.layers` in buffers: forward and backward as a pair.

Samples are columns: z and a are (features, N). A layer's weight and bias are one block (out, in + 1), the
bias its last column, and what comes in has a last row of ones, so that one product does both.
"""

import numpy as np

from manual.buffered.program import Program, borrows
from manual.catalogue.layers import NORMALIZATION_EPS
from manual.numbers import Array


# z = W a + b
def linear(do: Program, a1: Array, block: Array, z: Array) -> None:
    """z (out, N) from a1 (in + 1, N), whose last row is 1."""
    do(np.dot, block, a1, out=z)


# z = W a + b, so dW = dz aᵀ and db = dz 1ᵀ
def linear_backward_weight(do: Program, dz: Array, a1: Array, dblock: Array) -> None:
    do(np.dot, a1, dz.T, out=dblock.T)


# z = W a + b, so da = Wᵀ dz
def linear_backward_input(do: Program, dz: Array, block: Array, da: Array) -> None:
    do(np.dot, block[:, :-1].T, dz, out=da)


class Normalization:
    """n = γ x̂ + β, x̂ = (z − μ) / √(σ² + ε): over the samples (batch_norm) or the features (layer_norm).

    γ, β and their gradients are (features,), views of the flat arrays.
    """

    def __init__(self, do: Program, name: str, z: Array) -> None:
        self.axis, self.count = (1, z.shape[1]) if name == "batch_norm" else (0, z.shape[0])
        self.x = do.workspace.new(*z.shape)
        shape = (z.shape[0], 1) if self.axis == 1 else (1, z.shape[1])
        self.deviation, self.mean, self.variance = (do.workspace.new(*shape) for _ in range(3))

    def forward(self, do: Program, z: Array, gamma: Array, beta: Array, n: Array) -> None:
        self._mean(do, z, self.mean)
        do(np.subtract, z, do.broadcast(self.mean, z), out=self.x)
        do(np.multiply, self.x, self.x, out=n)
        self._mean(do, n, self.variance)
        do(np.add, self.variance, NORMALIZATION_EPS, out=self.deviation)
        do(np.sqrt, self.deviation, out=self.deviation)
        do(np.divide, self.x, do.broadcast(self.deviation, z), out=self.x)
        do(np.multiply, self.x, do.broadcast(gamma[:, None], n), out=n)
        do(np.add, n, do.broadcast(beta[:, None], n), out=n)

    # n = γ x̂ + β, so dγ = Σ dn x̂ and dβ = Σ dn over the samples
    @borrows
    def backward_parameters(self, do: Program, dn: Array, dgamma: Array, dbeta: Array) -> None:
        s = do.scratch(dn)
        do(np.multiply, dn, self.x, out=s)
        do(np.add.reduce, s, axis=1, out=dgamma)
        do(np.add.reduce, dn, axis=1, out=dbeta)

    # dz = (g − mean(g) − x̂ mean(g x̂)) / √(σ² + ε), g = dn γ
    @borrows
    def backward_input(self, do: Program, dn: Array, gamma: Array, dz: Array) -> None:
        s, mean = do.scratch(dn), do.scratch(self.mean)
        do(np.multiply, dn, do.broadcast(gamma[:, None], dn), out=dz)
        do(np.multiply, dz, self.x, out=s)
        self._mean(do, s, mean)
        do(np.multiply, self.x, do.broadcast(mean, s), out=s)
        self._mean(do, dz, mean)
        do(np.subtract, dz, do.broadcast(mean, dz), out=dz)
        do(np.subtract, dz, s, out=dz)
        do(np.divide, dz, do.broadcast(self.deviation, dz), out=dz)

    # running ← 0.9 running + 0.1 · statistic of the batch, the variance over N − 1
    @borrows
    def update(self, do: Program, running_mean: Array, running_var: Array) -> None:
        for running, batch, factor in (
            (running_mean, self.mean, 0.1),
            (running_var, self.variance, 0.1 * self.count / (self.count - 1)),
        ):
            s = do.scratch(running)
            do(np.multiply, running, 0.9, out=running)
            do(np.multiply, batch[:, 0], factor, out=s)
            do(np.add, running, s, out=running)

    def _mean(self, do: Program, values: Array, out: Array) -> None:
        do(np.add.reduce, values, axis=self.axis, keepdims=True, out=out)
        do(np.divide, out, self.count, out=out)
