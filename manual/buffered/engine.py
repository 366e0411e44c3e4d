"""The engine of the buffered step: batches gathered in chunks, programs run, losses once a chunk."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from manual.buffered.batches import Batches
from manual.buffered.optimizers import UPDATE_RULES, PlainUpdate, Update
from manual.buffered.program import Call
from manual.buffered.recipe import Rules
from manual.buffered.step import Step
from manual.losses import Reduction
from manual.network import MLP
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.steps.engine import FlatEngine, check
from manual.steps.program import named, program
from manual.training.recipe import PLAIN, Recipe
from manual.training.subnormals import flushing

CHUNK_BYTES = 2**20


class BufferedEngine(FlatEngine):
    """`ManualEngine` at the speed of its matrix products: the same step, in arrays that are made once.

    The model's parameters become views of one flat array, so they are always those of the moment. It
    draws the dropout masks of the plain engine. An optimizer without calls of its own is the plain one.
    Raises ValueError for an activation or a loss without kernels.
    """

    def __init__(self, model: MLP, loss: str, optimizer: Optimizer, recipe: Recipe = PLAIN) -> None:
        super().__init__(model, loss, optimizer, recipe)
        self.update = (
            Update(optimizer, self.own, self.own_gradients)
            if type(optimizer) in UPDATE_RULES
            else PlainUpdate(optimizer, self.own_gradients)
        )
        self.rules = Rules(recipe, self.own, self.own_gradients)
        self.finish: list[Call] = [
            *self.rules.clipping,
            *self.update.calls,
        ]  # from the gradient to the new weights
        self._batches: dict[tuple[int, int, bool, bool], Batches] = {}
        self._checked: Any = None
        self.program = cache(program)

    @property
    def moments(self) -> dict[str, dict[str, Array]]:
        """The optimizer's moments by torch's names, then by parameter: copies."""
        return self.update.shown(self.model.architecture)

    def moments_kept(self) -> dict[str, Array]:
        return super().moments_kept() if self.update.moments is None else self.update.moments

    def take_moments(self, moments: Mapping[str, Array]) -> None:
        if self.update.moments is None:
            super().take_moments(moments)
            return
        for kind, value in moments.items():
            self.update.moments[kind][...] = value

    def epoch(
        self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array, weights: Array | None = None
    ) -> Array:
        """As `manual.training.engine.Engine` says; it stops after a chunk with a loss that is not finite."""
        self._check(x, y)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(x):
            raise IndexError(f"an index is not among the {len(x)} samples")
        self.adopt()
        self.model.training = True
        losses = np.empty(len(rates))
        done = 0
        while done < len(rates):
            rest = len(indices) - done * batch_size
            n = min(batch_size, rest)
            batches = self._of_size(n, y.ndim == 2, rest // n, weights is not None)
            count = min(len(batches.step.calls), rest // n)
            batches.gather(x, y, indices[done * batch_size : done * batch_size + count * n], weights)
            losses[done : done + count] = self._run(batches, done, rates, count)
            done += count
            if not np.isfinite(losses[:done]).all():
                self.rules.forget()
                return losses[:done]
        return losses

    def _run(self, batches: Batches, done: int, rates: Array, count: int) -> Array:
        """The steps on that many batches of a chunk, after the `done` of the epoch; their losses."""
        penalties = np.zeros(count)
        with flushing(), np.errstate(all="ignore"):  # a loss that is not finite is reported
            for place in range(count):
                if self.recipe.accumulate == 1:
                    self.update.prepare(float(rates[done + place]))
                for call in batches.calls[place]:
                    call()
                if self.recipe.accumulate > 1:
                    self._collect(done + place, rates)
                if self.recipe.penalized:
                    penalties[place] = self.rules.penalty
            found = batches.step.losses()[:count]
        return penalties + found if self.recipe.penalized else found

    def _collect(self, step: int, rates: Array) -> None:
        """Add the step's gradient to those before it, and update by their mean where it is the last."""
        batches = self.recipe.batches(step, len(rates))
        self.rules.collect(batches)
        if batches:
            self.update.prepare(float(rates[step]))
            for call in self.finish:
                call()

    def values(self, leaves: Mapping[str, Array], reduction: Reduction) -> dict[str, Any]:
        x, y, weights = leaves["x"], leaves["y"], leaves.get("weights")
        self._check(x, y)
        parameters, gradients = self.flat_array().take(self.model.parameters), self.flat_array()
        given: dict[str, Any] = {"weighted": weights is not None, "probabilities": self._columns(y)}
        step = Step(
            *(self.model.architecture, self.loss, parameters, gradients, len(x)),
            reduction=reduction,
            keep=True,
            **given,
        )
        for name, mask in step.masks.items():
            mask[...] = leaves[name].T
        rules = Rules(self.recipe, parameters, gradients)
        batches = Batches(step, self.row.target == "label")
        batches.gather(x, y, np.arange(len(x)), weights, reduction)
        with flushing(), np.errstate(all="ignore"):
            for call in step.calls[0]:
                call()
            found: dict[str, Any] = {"loss": step.losses()[0]}
        found |= {name: view.copy() for name, view in (step.stages | named("d", gradients.views)).items()}
        for call in rules.penalties:
            call()
        return found | named("g", gradients.views) | {"objective": found["loss"] + rules.penalty}

    def _columns(self, y: Array) -> bool:
        """Whether the targets are probabilities where the loss takes labels too."""
        return y.ndim == 2 and self.row.target == "label"

    def _check(self, x: Array, y: Array) -> None:
        """Raise ValueError where x or y does not fit; once for each pair of arrays."""
        if self._checked is not None and self._checked[0] is x and self._checked[1] is y:
            return
        check(self.row, self.model.architecture.sizes, x, y)
        self._checked = x, y

    def _of_size(self, n: int, columns: bool, wanted: int, weighted: bool) -> Batches:
        model = self.model
        if n == 1 and model.architecture.normalization == "batch_norm":
            raise ValueError("batch_norm needs at least 2 samples in a training batch, got 1")
        bytes_of_one = n * (model.architecture.sizes[0] + 1) * self.dtype.itemsize
        places = min(max(1, CHUNK_BYTES // bytes_of_one), wanted)
        key = (n, places, columns, weighted)
        if key not in self._batches:
            label = self.row.target == "label"
            step = Step(
                *(model.architecture, self.loss, self.own, self.own_gradients, n),
                places=places,
                probabilities=columns and label,
                buffers=model.buffers,
                generator=model.generator,
                weighted=weighted,
                program=self.program,
            )
            after = self.finish if self.recipe.accumulate == 1 else []
            self._batches[key] = Batches(step, label, [*self.rules.penalties, *after])
        return self._batches[key]
