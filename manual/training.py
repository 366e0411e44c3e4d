"""The training loop: for each random minibatch, predict, back-propagate, update (the lecture's slide).

The loop knows no engine: it asks an `Engine` to take one step on a batch, and yields a record an
epoch. The order of samples is a pure function of (seed, epoch), the same for every engine.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from manual.batches import Pieces, batch_counts, check_finite, check_weights, pieces
from manual.losses import LOSSES, zero_one
from manual.network import MLP
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.recipe import PLAIN, Recipe
from manual.schedules import learning_rate


class Engine(Protocol):
    """What the loop needs of an engine; data and outputs are NumPy arrays at this door."""

    def epoch(
        self,
        x: Array,
        y: Array,
        indices: Array,
        batch_size: int,
        rates: Array,
        weights: Array | None = None,
    ) -> Array:
        """One step on each batch of x[indices], y[indices]: a forward and backward pass and an update.

        Batch i holds the indices from i · batch_size on, the last one what is left, and learns at
        rates[i]. `weights` (N,) say how much each sample counts among those of its batch; their sum there
        is above 0. Where the engine's recipe accumulates, an update follows after so many batches, and
        after the last. The losses of the batches, each before its update; after one that is not finite the
        engine may stop, and its weights mean nothing.
        """

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation mode."""

    def parameters(self) -> dict[str, Array]:
        """A copy of the parameters and buffers, by `state_dict` name."""

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Write such a copy back; the optimizer's moments stay as they are."""


class Stepwise:
    """An engine that is written as one step on a batch: its epoch is the steps one after the other.

    `step(x, y, lr)` is one forward and backward pass and one update; it gives the batch's loss before the
    update. Where there are weights it takes `weights` (n,), and where the recipe accumulates `batches`: the
    update follows the mean gradient of that many batches, this one the last; with 0 it waits for more.
    """

    recipe: Recipe = PLAIN
    step: Callable[..., float]

    def epoch(
        self,
        x: Array,
        y: Array,
        indices: Array,
        batch_size: int,
        rates: Array,
        weights: Array | None = None,
    ) -> Array:
        """As `Engine.epoch` says; it stops after a loss that is not finite."""
        losses = np.empty(len(rates))
        for i, rate in enumerate(rates.tolist()):
            batch = indices[i * batch_size : (i + 1) * batch_size]
            given: dict[str, Any] = {} if weights is None else {"weights": weights[batch]}
            if self.recipe.accumulate > 1:
                given["batches"] = self.recipe.batches(i, len(rates))
            losses[i] = self.step(x[batch], y[batch], rate, **given)
            if not np.isfinite(losses[i]):
                return losses[: i + 1]
        return losses


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data left: the mean loss of its batches, its last rate, steps so far."""

    epoch: int
    steps: int
    loss: float
    learning_rate: float


class NotFiniteError(ArithmeticError):
    """A batch's loss, or `what` else, was NaN or infinite; the step was the `step`-th, counted from 1."""

    def __init__(self, step: int, epoch: int, value: float, what: str = "the loss") -> None:
        super().__init__(f"{what} became {value} at step {step} (epoch {epoch})")
        self.step, self.epoch, self.value = step, epoch, value


def fit(
    engine: Engine,
    x: Array | Pieces,
    y: Array,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    schedule: str = "constant",
    warmup_steps: int = 0,
    seed: int = 0,
    first_epoch: int = 0,
    weights: Array | None = None,
) -> Iterator[Epoch]:
    """Train on minibatches of `batch_size` (1: stochastic; N: full batch), yielding after each epoch.

    x (N, in), in memory or in pieces, and y (N, …); a last, smaller batch is used too. `weights` (N,) say
    how much a sample counts in its batch's mean; one that weighs 0 is left out. Raises NotFiniteError when
    a loss is not finite, and ValueError where x or a weight is not, or where one is empty or another length.
    """
    n = len(x)
    if n == 0 or n != len(y):
        raise ValueError(f"x has {n} samples and y {len(y)}; they must be as many, and at least 1")
    if isinstance(x, np.ndarray):
        check_finite(x)
    check_weights(weights, n)
    batches = batch_counts(x, batch_size, weights)
    for epoch in range(first_epoch, first_epoch + epochs):
        steps = np.arange(epoch * batches, (epoch + 1) * batches)
        rates = learning_rate(schedule, lr, steps, (first_epoch + epochs) * batches, warmup_steps)
        done, total, counted = 0, 0.0, 0.0
        for rows, targets, w, indices in pieces(x, y, seed, epoch + 1, batch_size, weights):
            starts = np.arange(0, len(indices), batch_size)
            if not len(starts):
                continue
            counts = np.ones(len(rows)) if w is None else w.astype(np.float64)
            sizes = np.add.reduceat(counts[indices], starts)
            given = {} if w is None else {"weights": w}
            rate = rates[done : done + len(sizes)]
            losses = engine.epoch(rows, targets, indices, batch_size, rate, **given)
            finite = np.isfinite(losses)
            if not finite.all():
                bad = int(np.argmin(finite))
                raise NotFiniteError(epoch * batches + done + bad + 1, epoch + 1, float(losses[bad]))
            done, total, counted = (
                done + len(sizes),
                total + math.fsum(losses * sizes),  # by BLAS it would depend on the processor
                counted + float(sizes.sum()),
            )
        yield Epoch(epoch + 1, (epoch + 1) * batches, total / counted, float(rates[-1]))


class NumPyEngine:
    """What every engine on a `manual.MLP` does alike."""

    def __init__(self, model: MLP, loss: str) -> None:
        self.model, self.loss = model, loss

    def predict(self, x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.model.predict(x)

    def evaluate(self, x: Array, y: Array) -> tuple[float, float | None]:
        """The loss and the accuracy on x (N, in) and y."""
        return evaluate(self.predict(x), y, self.loss)

    def parameters(self) -> dict[str, Array]:
        """A copy of the parameters and buffers, by `state_dict` name."""
        return {n: v.copy() for n, v in (self.model.parameters | self.model.buffers).items()}

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Write such a copy into the model's own arrays."""
        for name, value in parameters.items():
            arrays = self.model.parameters if name in self.model.parameters else self.model.buffers
            arrays[name][...] = value


class ManualEngine(NumPyEngine, Stepwise):
    """The plain hand-written gradient and a NumPy optimizer, by a recipe (`manual.recipe`)."""

    def __init__(self, model: MLP, loss: str, optimizer: Optimizer, recipe: Recipe = PLAIN) -> None:
        super().__init__(model, loss)
        self.optimizer, self.recipe = optimizer, recipe
        self.gradients: dict[str, Array] = {}
        self.collected: dict[str, Array] = {}

    def step(
        self,
        x: Array,
        y: Array,
        lr: float,
        masks: Mapping[str, Array] | None = None,
        weights: Array | None = None,
        batches: int = 1,
    ) -> float:
        """As `Stepwise.step`; `masks` as in `MLP.trace`."""
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is reported
            loss, found = self.model.loss_and_gradients(
                x, y, self.loss, masks=masks, weights=weights, recipe=self.recipe
            )
            before, self.collected = self.collected, {}
            if before:
                found = {name: before[name] + gradient for name, gradient in found.items()}
            if not batches:
                self.collected = found
                return float(loss)
            mean = {name: g / batches for name, g in found.items()} if batches > 1 else found
            self.gradients = self.recipe.clip(mean)
            if np.isfinite(loss):
                self.optimizer.lr = lr
                self.optimizer.step(self.gradients)
        return float(loss)


def evaluate(output: Array, y: Array, loss: str) -> tuple[float, float | None]:
    """The loss and the accuracy 1 − zero-one of an output; real targets have no accuracy."""
    row = LOSSES[loss]
    value: Any = row.value(output, y)
    accuracy = None if row.target == "real" else 1 - zero_one(output, y, row.target)
    return float(value), accuracy
