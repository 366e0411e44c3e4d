"""The multi-layer perceptron: parameters, and the trace of one forward and one backward pass.

The rows of both passes are in `chain.py`; here they are run on arrays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from manual.catalogue import LOSSES
from manual.catalogue.activations import NEGATIVE_SLOPE
from manual.catalogue.layers import move_statistics
from manual.chain import backward_stages, forward_stages
from manual.layers import Dropout
from manual.losses import Reduction
from manual.numbers import Array
from manual.structure.architecture import Architecture, Counts, choose, symbol
from manual.structure.parameters import Parameters
from manual.structure.trace import Stage, Trace, run
from manual.training.recipe import PLAIN, Recipe


def targets(y: Array, weights: Array | None, dtype: Any) -> dict[str, Array]:
    """The leaves of the loss: y, and weights where there are some."""
    leaves = {"y": np.asarray(y)}
    return leaves if weights is None else leaves | {"weights": np.asarray(weights, dtype)}


class MLP:
    """A fully connected network in NumPy, with the backward pass by hand.

    >>> model = MLP((3, 4, 2), activation="sigmoid", seed=0)
    >>> model.counts
    Counts(neurons=6, weights=20, parameters=26)

    `parameters` and `buffers` are named and shaped as in the torch module's `state_dict`; `training`
    switches dropout and batch statistics, as in torch. Every random number flows from `seed`: weights
    from the stream (seed, 0), dropout masks from (seed, 1).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        output_activation: str = "identity",
        dropout: float = 0.0,
        normalization: str | None = None,
        negative_slope: float | str = NEGATIVE_SLOPE,
        initialization: str = "torch",
        seed: int = 0,
        dtype: Any = np.float64,
    ) -> None:
        self.architecture = Architecture(
            tuple(sizes), activation, output_activation, dropout, normalization or "none", negative_slope
        )
        weights = np.random.default_rng([seed, 0])
        self.generator = np.random.default_rng([seed, 1])
        self.parameters = Parameters(self.architecture.initial_parameters(weights, initialization, dtype))
        self.buffers = Parameters(self.architecture.initial_buffers(dtype))
        self.training = True

    @property
    def counts(self) -> Counts:
        """Neurons, weights and parameters: 6, 20 and 26 for the lecture's 3-4-2 network."""
        return self.architecture.counts()

    @property
    def dtype(self) -> Any:
        return self.parameters["layers.0.weight"].dtype

    def stages(
        self, loss: str, reduction: Reduction = "mean", weighted: bool = False, recipe: Recipe = PLAIN
    ) -> list[Stage]:
        """The chain rule of this network: every row of the forward and the backward pass."""
        choose("loss", loss, LOSSES)
        choose("reduction", reduction, ("mean", "sum"))
        arguments = (self.architecture, loss, reduction, self.training, weighted, recipe)
        return forward_stages(*arguments) + backward_stages(*arguments)

    def draw_masks(self, n: int) -> dict[str, Array]:
        """A fresh dropout mask (N, size) for each hidden layer, or none where dropout does not act."""
        if not (self.training and self.architecture.dropout > 0):
            return {}
        like = self.parameters["layers.0.weight"]
        return {
            f"mask{i}": Dropout.mask((n, size), self.architecture.dropout, like, self.generator)
            for i, size in enumerate(self.architecture.sizes[1:-1], start=1)
        }

    def leaves(self, x: Array, masks: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """What the chain rule starts from: x, the parameters by their symbols, the masks."""
        x = np.asarray(x)
        inputs = self.architecture.sizes[0]
        if x.ndim != 2 or x.shape[1] != inputs:
            raise ValueError(f"x has shape {x.shape}; this network takes (N, {inputs})")
        if self.architecture.normalization == "batch_norm" and self.training and len(x) < 2:
            raise ValueError("batch_norm needs at least 2 samples in a training batch, got 1")
        named = {symbol(name): value for name, value in (self.parameters | self.buffers).items()}
        return {"x": x, **named, **(self.draw_masks(len(x)) if masks is None else masks)}

    def trace(
        self,
        x: Array,
        y: Array,
        loss: str,
        *,
        reduction: Reduction = "mean",
        masks: Mapping[str, Array] | None = None,
        weights: Array | None = None,
        recipe: Recipe = PLAIN,
    ) -> Trace:
        """The record of one forward and backward pass; of the network only the masks' generator moves.

        x (N, in), y as the loss takes it; `masks` gives the dropout masks instead of drawing them,
        `weights` (N,) say how much each sample counts, `recipe` what is added to the loss. Raises
        ValueError where shapes do not fit.
        """
        stages = self.stages(loss, reduction, weights is not None, recipe)
        return run(stages, {**self.leaves(x, masks), **targets(y, weights, self.dtype)})

    def loss_and_gradients(
        self, x: Array, y: Array, loss: str, **options: Any
    ) -> tuple[Any, dict[str, Array]]:
        """The objective and its gradient by name; in training, batch_norm's running statistics move on.

        The arguments are those of `trace`.
        """
        trace = self.trace(x, y, loss, **options)
        self.update_buffers(trace)
        gradients = trace.gradients
        return trace.objective, {name: gradients[name] for name in self.parameters}

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation: no dropout, running statistics."""
        stages = forward_stages(self.architecture, "mse", "mean", training=False)[:-1]
        training, self.training = self.training, False
        try:
            return np.asarray(run(stages, self.leaves(x))[stages[-1].name])
        finally:
            self.training = training

    def update_buffers(self, trace: Trace, momentum: float = 0.1) -> None:
        """In training, batch_norm's running statistics move on by those of the batch."""
        if self.training:
            move_statistics(self.buffers, trace, momentum)
