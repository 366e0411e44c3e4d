"""One step as a program: the rows of `manual.chain`, forward and backward, for batches of one size.

x and y lie in chunks of several batches. The calls that read them are bound once for every place in the
chunk; all other arrays serve every batch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.buffered.flat import FlatArray
from manual.buffered.layer import Arrays, BufferedLayer
from manual.buffered.losses import kernel
from manual.buffered.program import Call, Program, Workspace
from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.structure.architecture import Architecture


class Step:
    """The calls of one step on batches of n samples, `places` of them in a chunk.

    `calls[place]` compute every gradient from the batch at that place. With `keep` every stage has an
    array of its own, dx is computed too, and `stages` holds all of them by name. With `weighted`, `shares`
    (places, 1, n) says what each sample counts in its batch's mean.
    """

    def __init__(
        self,
        architecture: Architecture,
        loss: str,
        parameters: FlatArray,
        gradients: FlatArray,
        n: int,
        *,
        places: int = 1,
        probabilities: bool = False,
        reduction: str = "mean",
        buffers: Mapping[str, Array] | None = None,
        generator: np.random.Generator | None = None,
        keep: bool = False,
        weighted: bool = False,
    ) -> None:
        workspace = Workspace(parameters.array.dtype)
        self.arrays = Arrays(architecture, parameters, gradients, workspace, n, keep, buffers)
        self.kernel, self.probabilities = kernel(LOSSES[loss]), probabilities
        inputs, outputs = architecture.sizes[0], architecture.sizes[-1]
        self.count = 1 if reduction == "sum" else n if LOSSES[loss].per_sample else n * outputs
        self.x = workspace.new(places, n, inputs + 1)
        self.x[..., -1] = 1
        self.y, self.output, self.terms = (workspace.new(places, outputs, n) for _ in range(3))
        self.sums = workspace.new(places)
        self.shares = workspace.new(places, 1, n) if weighted else None
        bound: list[tuple[Array, ...]] = [
            (x.T, y, o) for x, y, o in zip(self.x, self.y, self.output, strict=True)
        ]
        if self.shares is not None:
            bound = [(*arrays, share) for arrays, share in zip(bound, self.shares, strict=True)]
        self.first = bound[0]
        do = self._program(generator)
        self.calls = [do.rebound(dict(zip(map(id, self.first), place, strict=True))) for place in bound]
        self.value_calls = self._value()

    def losses(self) -> Array:
        """The loss of each place's batch (places,), from the outputs that its calls left."""
        for call in self.value_calls:
            call()
        return self.sums

    def _program(self, generator: np.random.Generator | None) -> Program:
        """The calls for the first place."""
        arrays, architecture = self.arrays, self.arrays.architecture
        do = Program(arrays.workspace)
        if architecture.dropout:
            self._draw(do, generator)
        x, y, output = self.first[:3]
        layers, below = [], x
        for i, size in enumerate(architecture.sizes[1:-1], start=1):
            hidden = arrays.workspace.new(size + 1, arrays.n)
            hidden[-1] = 1  # the bias of the next layer is one more row of its weights
            layers.append(BufferedLayer(arrays, i, below, hidden[:-1]))
            below = hidden
        layers.append(BufferedLayer(arrays, architecture.depth, below, output))
        for layer in layers:
            layer.forward(do)
        delta = arrays.workspace.new(*output.shape)
        arrays.stages["dloss"] = delta.T
        gradient = self.kernel.probabilities if self.probabilities else self.kernel.gradient
        assert gradient is not None
        gradient(do, output, y, delta)
        if self.shares is not None:
            do(np.multiply, delta, do.broadcast(self.first[-1], delta), out=delta)
        elif self.count != 1:
            do(np.divide, delta, self.count, out=delta)
        for layer in reversed(layers):
            delta = layer.backward(do, delta, layer.layer > 1 or arrays.keep)
        return do

    def _draw(self, do: Program, generator: np.random.Generator | None) -> None:
        """mask ← [random ≥ p] / (1 − p), drawn as (N, size) like the plain network's."""
        p, n = self.arrays.architecture.dropout, self.arrays.n
        one = do.workspace.dtype.type(1)
        for i, size in enumerate(self.arrays.architecture.sizes[1:-1], start=1):
            mask = self.arrays.masks[f"mask{i}"] = do.workspace.new(size, n)
            if generator is None:  # they are given
                continue
            drawn = np.empty((n, size))
            do.calls.append(_Drawing(generator, drawn))
            do.copy(do.mask(np.greater_equal, drawn, np.asarray(p), like=drawn).T, mask)
            do(np.divide, mask, np.asarray(one - one.dtype.type(p)), out=mask)

    def _value(self) -> list[Call]:
        do = Program(self.arrays.workspace)
        assert self.kernel.value is not None
        self.kernel.value(do, self.output, self.y, self.terms)
        if self.shares is not None:
            do(np.multiply, self.terms, do.broadcast(self.shares, self.terms), out=self.terms)
        do(np.add.reduce, self.terms, axis=(1, 2), out=self.sums)
        if self.shares is None:
            do(np.divide, self.sums, self.count, out=self.sums)
        return do.calls


class _Drawing:
    """The next numbers of a generator, into an array."""

    def __init__(self, generator: np.random.Generator, out: Array) -> None:
        self.generator, self.out = generator, out

    def __call__(self) -> Any:
        return self.generator.random(out=self.out)
