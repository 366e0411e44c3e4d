"""The engine of the buffered step: batches gathered in chunks, programs run, losses once a chunk."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.buffered.flat import FlatArray
from manual.buffered.optimizers import Update
from manual.buffered.program import Call, Program, Workspace
from manual.buffered.step import Step
from manual.chain import symbol
from manual.losses import LOSSES, Reduction
from manual.network import MLP
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.trace import Trace
from manual.training import NumPyEngine

CHUNK_BYTES = 2**20


class BufferedEngine(NumPyEngine):
    """`ManualEngine` at the speed of its matrix products: the same step, in arrays that are made once.

    The model's parameters become views of one flat array, so they are always those of the moment. It
    draws the dropout masks of the plain engine. `gradients` are the last step's, by name.
    """

    def __init__(self, model: MLP, loss: str, optimizer: Optimizer, l1: float = 0.0) -> None:
        super().__init__(model, loss)
        self.optimizer, self.l1 = optimizer, l1
        self.flat = FlatArray.taking(model.architecture, model.parameters, model.dtype)
        self.flat_gradients = FlatArray.zeros(model.architecture, model.dtype)
        for name, view in self.flat.views.items():
            model.parameters[name] = view
        self.gradients: dict[str, Array] = self.flat_gradients.views
        self.update = Update(optimizer, self.flat.array, self.flat_gradients.array)
        self.penalty, self.penalty_calls = self._penalize()
        self._batches: dict[tuple[int, int, bool], Batches] = {}
        self._checked: Any = None

    @property
    def moments(self) -> dict[str, dict[str, Array]]:
        """The optimizer's moments by torch's names, then by parameter: copies."""
        architecture = self.model.architecture
        return {kind: FlatArray(architecture, array).views for kind, array in self.update.torchs_moments()}

    def epoch(self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array) -> Array:
        """As `manual.training.Engine` says; it stops after a chunk with a loss that is not finite."""
        self._check(x, y)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(x):
            raise IndexError(f"an index is not among the {len(x)} samples")
        self.model.training = True
        losses = np.empty(len(rates))
        done = 0
        while done < len(rates):
            rest = len(indices) - done * batch_size
            n = min(batch_size, rest)
            batches = self._of_size(n, y.ndim == 2, rest // n)
            count = min(len(batches.step.calls), rest // n)
            batches.gather(x, y, indices[done * batch_size : done * batch_size + count * n])
            with np.errstate(all="ignore"):  # a loss that is not finite is reported
                for place in range(count):
                    self.update.prepare(float(rates[done + place]))
                    for call in batches.calls[place]:
                        call()
                    if self.l1:
                        losses[done + place] = self.penalty
                found = batches.step.losses()[:count]
            losses[done : done + count] = losses[done : done + count] + found if self.l1 else found
            done += count
            if not np.isfinite(losses[:done]).all():
                return losses[:done]
        return losses

    def trace(
        self,
        x: Array,
        y: Array,
        *,
        reduction: Reduction = "mean",
        masks: Mapping[str, Array] | None = None,
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
        )
        for name, mask in step.arrays.masks.items():
            mask[...] = leaves[name].T
        batches = Batches(step, LOSSES[self.loss].target == "label")
        batches.gather(x, y, np.arange(len(x)))
        with np.errstate(all="ignore"):
            for call in step.calls[0]:
                call()
            values: dict[str, Any] = {"loss": step.losses()[0]}
        values |= {name: view.copy() for name, view in step.arrays.stages.items()}
        values |= {f"d{symbol(name)}": view.copy() for name, view in gradients.views.items()}
        return Trace(model.stages(self.loss, reduction), {**leaves, "y": np.asarray(y)}, values)

    def _check(self, x: Array, y: Array) -> None:
        """Raise ValueError where x or y does not fit; once for each pair of arrays."""
        if self._checked is not None and self._checked[0] is x and self._checked[1] is y:
            return
        self.model.leaves(x[:2], {})
        output = np.broadcast_to(self.flat.array[:1], (len(x), self.model.architecture.sizes[-1]))
        LOSSES[self.loss].check(output, y)
        self._checked = x, y

    def _of_size(self, n: int, columns: bool, wanted: int) -> "Batches":
        if n == 1 and self.model.architecture.normalization == "batch_norm":
            raise ValueError("batch_norm needs at least 2 samples in a training batch, got 1")
        bytes_of_one = n * (self.model.architecture.sizes[0] + 1) * self.model.dtype.itemsize
        places = min(max(1, CHUNK_BYTES // bytes_of_one), wanted)
        key = (n, places, columns)
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
            )
            self._batches[key] = Batches(step, label, [*self.penalty_calls, *self.update.calls])
        return self._batches[key]

    # λ Σ|W|, and its gradient λ sign W
    def _penalize(self) -> tuple[Array, list[Call]]:
        do = Program(Workspace(self.model.dtype))
        penalty = do.workspace.new()
        if not self.l1:
            return penalty, []
        do.copy(do.number(0), penalty)
        for block, gradient in zip(self.flat.blocks, self.flat_gradients.blocks, strict=True):
            s, part = do.scratch(block[:-1]), do.scratch(penalty)
            do(np.abs, block[:-1], out=s)
            do(np.add.reduce, s, axis=(0, 1), out=part)
            do(np.multiply, part, self.l1, out=part)
            do(np.add, penalty, part, out=penalty)
            do(np.sign, block[:-1], out=s)
            do(np.multiply, s, self.l1, out=s)
            do(np.add, gradient[:-1], s, out=gradient[:-1])
        return penalty, do.calls


class Batches:
    """A step with the arrays that x and y are gathered into; `calls[place]` are the whole step."""

    def __init__(self, step: Step, label: bool, update: list[Call] | None = None) -> None:
        self.step = step
        self.calls = [[*calls, *(update or [])] for calls in step.calls]
        places, n, inputs = step.x.shape
        outputs = step.y.shape[1]
        self.rows = np.empty((places * n, inputs - 1), step.x.dtype)
        self.one_hot = label and not step.probabilities
        self.targets = (
            np.zeros(places * n, np.int64) if self.one_hot else np.zeros((places * n, outputs), step.x.dtype)
        )
        # where the 1 of class 0 of each sample stands in y (places, K, n)
        self.offsets = (np.arange(places)[:, None] * outputs * n + np.arange(n)).ravel()

    def gather(self, x: Array, y: Array, indices: Array) -> None:
        """x[indices] and y[indices] into their places, as many as there are."""
        step, m = self.step, len(indices)
        n, inputs = step.x.shape[1:]
        count = m // n
        np.take(_cast(x, self.rows), indices, axis=0, out=self.rows[:m], mode="clip")
        step.x[:count, :, :-1] = self.rows[:m].reshape(count, n, inputs - 1)
        np.take(_cast(y, self.targets), indices, axis=0, out=self.targets[:m], mode="clip")
        if not self.one_hot:
            step.y[:count] = self.targets[:m].reshape(count, n, -1).transpose(0, 2, 1)
            return
        step.y[:count] = 0
        positions = self.targets[:m]
        positions *= n
        positions += self.offsets[:m]
        step.y.reshape(-1)[positions] = 1


def _cast(array: Array, like: Array) -> Array:
    return array if array.dtype == like.dtype else array.astype(like.dtype)
