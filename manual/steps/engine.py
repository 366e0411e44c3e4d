"""What the two fast engines on NumPy arrays do alike: flat parameters that are the model's, and traces."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.catalogue import LOSSES
from manual.losses import Loss, Reduction
from manual.network import MLP, targets
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.steps.flat import FlatArray
from manual.structure.architecture import choose
from manual.structure.trace import Trace
from manual.training.engine import NumPyEngine
from manual.training.recipe import Recipe

ZERO = np.zeros(())


def check(row: Loss, sizes: tuple[int, ...], x: Any, y: Array) -> None:
    """Raise ValueError for x that is not (N, in), or y that does not fit N outputs of such a network."""
    check_inputs(x, sizes[0])
    row.check(np.broadcast_to(ZERO, (len(x), sizes[-1])), y)


def check_inputs(x: Any, inputs: int) -> None:
    """Raise ValueError for x that is not (N, inputs)."""
    if x.ndim != 2 or x.shape[1] != inputs:
        raise ValueError(f"x has shape {tuple(x.shape)}; this network takes (N, {inputs})")


class FlatEngine(NumPyEngine):
    """An engine whose parameters and gradients lie in one array each, `rows` as `FlatArray` says.

    `model.parameters` become views of them, so they show the numbers of the moment; `gradients` are the
    last step's, by name.
    """

    def __init__(
        self, model: MLP, loss: str, optimizer: Optimizer, recipe: Recipe, *, rows: bool = False
    ) -> None:
        super().__init__(model, choose("loss", loss, LOSSES))
        self.row, self.optimizer, self.recipe = LOSSES[loss], optimizer, recipe
        self.dtype = np.dtype(model.dtype)
        self.own, self.own_gradients = self.flat_array(rows), self.flat_array(rows)
        self.gradients: dict[str, Array] = self.own_gradients.views
        self.adopt()

    def flat_array(self, rows: bool = False) -> FlatArray:
        """One for parameters, gradients or a moment."""
        return FlatArray.zeros(self.model.architecture, self.dtype, rows=rows)

    def adopt(self) -> None:
        """Take over what was assigned to the model from outside since the last call."""
        parameters = self.model.parameters
        for name, view in self.own.views.items():
            if parameters[name] is not view:
                view[...] = parameters[name]
                parameters[name] = view

    def trace(
        self,
        x: Array,
        y: Array,
        masks: Mapping[str, Array] | None = None,
        reduction: Reduction = "mean",
        weights: Array | None = None,
    ) -> Trace:
        """The record of one pass by this engine's own calls, as `MLP.trace` of the same arguments.

        Nothing moves but the masks' generator, unless `masks` are given.
        """
        stages = self.model.stages(self.loss, reduction, weights is not None, self.recipe)
        leaves = self.model.leaves(np.asarray(x, self.dtype), masks) | targets(y, weights, self.dtype)
        return Trace(stages, leaves, self.values(leaves, reduction))

    def values(self, leaves: Mapping[str, Array], reduction: Reduction) -> dict[str, Any]:
        """Every stage's value by name, from the leaves of the trace."""
        raise NotImplementedError
