"""The engine of the buffered step: batches gathered in chunks, programs run, losses once a chunk."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.buffered.batches import Batches
from manual.buffered.flat import FlatArray
from manual.buffered.optimizers import Update
from manual.buffered.recipe import Rules
from manual.buffered.step import Step
from manual.catalogue import LOSSES
from manual.losses import Reduction
from manual.network import MLP, targets
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.structure.architecture import symbol
from manual.structure.trace import Trace
from manual.training.engine import NumPyEngine
from manual.training.recipe import PLAIN, Recipe
from manual.training.subnormals import flushing

CHUNK_BYTES = 2**20


class BufferedEngine(NumPyEngine):
    """`ManualEngine` at the speed of its matrix products: the same step, in arrays that are made once.

    The model's parameters become views of one flat array, so they are always those of the moment. It
    draws the dropout masks of the plain engine. `gradients` are the last step's, by name.
    """

    def __init__(self, model: MLP, loss: str, optimizer: Optimizer, recipe: Recipe = PLAIN) -> None:
        super().__init__(model, loss)
        self.optimizer, self.recipe = optimizer, recipe
        self.flat = FlatArray.taking(model.architecture, model.parameters, model.dtype)
        self.flat_gradients = FlatArray.zeros(model.architecture, model.dtype)
        for name, view in self.flat.views.items():
            model.parameters[name] = view
        self.gradients: dict[str, Array] = self.flat_gradients.views
        self.update = Update(optimizer, self.flat.array, self.flat_gradients.array)
        self.rules = Rules(recipe, self.flat, self.flat_gradients)
        self.finish = [*self.rules.clipping, *self.update.calls]  # from the gradient to the new weights
        self._batches: dict[tuple[int, int, bool, bool], Batches] = {}
        self._checked: Any = None

    @property
    def moments(self) -> dict[str, dict[str, Array]]:
        """The optimizer's moments by torch's names, then by parameter: copies."""
        architecture = self.model.architecture
        return {kind: FlatArray(architecture, array).views for kind, array in self.update.torchs_moments()}

    def moments_kept(self) -> dict[str, Array]:
        return self.update.moments

    def take_moments(self, moments: Mapping[str, Array]) -> None:
        for kind, value in moments.items():
            self.update.moments[kind][...] = value

    def epoch(
        self,
        x: Array,
        y: Array,
        indices: Array,
        batch_size: int,
        rates: Array,
        weights: Array | None = None,
    ) -> Array:
        """As `manual.training.engine.Engine` says; it stops after a chunk with a loss that is not finite."""
        self._check(x, y)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(x):
            raise IndexError(f"an index is not among the {len(x)} samples")
        self.model.training = True
        penalty = self.rules.penalty if self.recipe.penalized else None
        losses = np.empty(len(rates))
        done = 0
        while done < len(rates):
            rest = len(indices) - done * batch_size
            n = min(batch_size, rest)
            batches = self._of_size(n, y.ndim == 2, rest // n, weights is not None)
            count = min(len(batches.step.calls), rest // n)
            batches.gather(x, y, indices[done * batch_size : done * batch_size + count * n], weights)
            with flushing(), np.errstate(all="ignore"):  # a loss that is not finite is reported
                for place in range(count):
                    if self.recipe.accumulate == 1:
                        self.update.prepare(float(rates[done + place]))
                    for call in batches.calls[place]:
                        call()
                    if self.recipe.accumulate > 1:
                        self._collect(done + place, rates)
                    if penalty is not None:
                        losses[done + place] = penalty
                found = batches.step.losses()[:count]
            losses[done : done + count] = (
                losses[done : done + count] + found if penalty is not None else found
            )
            done += count
            if not np.isfinite(losses[:done]).all():
                self.rules.forget()
                return losses[:done]
        return losses

    def _collect(self, step: int, rates: Array) -> None:
        """Add the step's gradient to those before it, and update by their mean where it is the last."""
        batches = self.recipe.batches(step, len(rates))
        self.rules.collect(batches)
        if batches:
            self.update.prepare(float(rates[step]))
            for call in self.finish:
                call()

    def trace(
        self,
        x: Array,
        y: Array,
        *,
        reduction: Reduction = "mean",
        masks: Mapping[str, Array] | None = None,
        weights: Array | None = None,
    ) -> Trace:
        """The record of one pass by these calls, as `MLP.trace` of the same arguments.

        Nothing moves but the masks' generator, unless `masks` are given.
        """
        self._check(x, y)
        model = self.model
        leaves = model.leaves(x, masks)
        gradients = FlatArray.zeros(model.architecture, model.dtype)
        parameters = FlatArray.taking(model.architecture, model.parameters, model.dtype)
        step = Step(
            model.architecture,
            self.loss,
            parameters,
            gradients,
            len(x),
            probabilities=y.ndim == 2 and LOSSES[self.loss].target == "label",
            reduction=reduction,
            keep=True,
            weighted=weights is not None,
        )
        for name, mask in step.arrays.masks.items():
            mask[...] = leaves[name].T
        rules = Rules(self.recipe, parameters, gradients)
        leaves |= targets(y, weights, model.dtype)
        batches = Batches(step, LOSSES[self.loss].target == "label")
        batches.gather(x, y, np.arange(len(x)), leaves.get("weights"), reduction)
        with flushing(), np.errstate(all="ignore"):
            for call in step.calls[0]:
                call()
            values: dict[str, Any] = {"loss": step.losses()[0]}
        values |= {name: view.copy() for name, view in step.arrays.stages.items()}
        values |= {f"d{symbol(name)}": view.copy() for name, view in gradients.views.items()}
        for call in rules.penalties:
            call()
        values["objective"] = values["loss"] + rules.penalty
        values |= {f"g{symbol(name)}": view.copy() for name, view in gradients.views.items()}
        return Trace(model.stages(self.loss, reduction, weights is not None, self.recipe), leaves, values)

    def _check(self, x: Array, y: Array) -> None:
        """Raise ValueError where x or y does not fit; once for each pair of arrays."""
        if self._checked is not None and self._checked[0] is x and self._checked[1] is y:
            return
        self.model.leaves(x[:2], {})
        output = np.broadcast_to(self.flat.array[:1], (len(x), self.model.architecture.sizes[-1]))
        LOSSES[self.loss].check(output, y)
        self._checked = x, y

    def _of_size(self, n: int, columns: bool, wanted: int, weighted: bool) -> Batches:
        if n == 1 and self.model.architecture.normalization == "batch_norm":
            raise ValueError("batch_norm needs at least 2 samples in a training batch, got 1")
        bytes_of_one = n * (self.model.architecture.sizes[0] + 1) * self.model.dtype.itemsize
        places = min(max(1, CHUNK_BYTES // bytes_of_one), wanted)
        key = (n, places, columns, weighted)
        if key not in self._batches:
            label = LOSSES[self.loss].target == "label"
            step = Step(
                self.model.architecture,
                self.loss,
                self.flat,
                self.flat_gradients,
                n,
                places=places,
                probabilities=columns and label,
                buffers=self.model.buffers,
                generator=self.model.generator,
                weighted=weighted,
            )
            after = self.finish if self.recipe.accumulate == 1 else []
            self._batches[key] = Batches(step, label, [*self.rules.penalties, *after])
        return self._batches[key]
