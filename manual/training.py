"""The training loop: for each random minibatch, predict, back-propagate, update (the lecture's slide).

The loop knows no engine: it asks an `Engine` to take one step on a batch, and yields a record an
epoch. The order of samples is a pure function of (seed, epoch), the same for every engine.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from manual.losses import LOSSES, l1_penalty, zero_one
from manual.network import MLP
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.schedules import learning_rate


class Engine(Protocol):
    """What the loop needs of an engine; batches and outputs are NumPy arrays at this door."""

    def step(self, x: Array, y: Array, lr: float) -> float:
        """One forward and backward pass and one update; the batch's loss before the update."""

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation mode."""

    def parameters(self) -> dict[str, Array]:
        """A copy of the parameters and buffers, by `state_dict` name."""

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Write such a copy back; the optimizer's moments stay as they are."""


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


def order(n: int, seed: int, epoch: int) -> Array:
    """The permutation of 0 … n−1 in which an epoch visits the samples."""
    return np.random.default_rng([seed, 2, epoch]).permutation(n)


def fit(
    engine: Engine,
    x: Array,
    y: Array,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    schedule: str = "constant",
    warmup_steps: int = 0,
    seed: int = 0,
    first_epoch: int = 0,
) -> Iterator[Epoch]:
    """Train on minibatches of `batch_size` (1: stochastic; N: full batch), yielding after each epoch.

    x (N, in) and y (N, …); a last, smaller batch is used too. Raises NotFiniteError when a loss is not
    finite, and ValueError where x is not, or where it is empty or another length than y.
    """
    n = len(x)
    if n == 0 or n != len(y):
        raise ValueError(f"x has {n} samples and y {len(y)}; they must be as many, and at least 1")
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        where = tuple(bad[0].tolist())
        raise ValueError(
            f"x is {x[where]} in row {where[0]}, column {where[1]}: remove or fill in such samples"
        )
    per_epoch = -(-n // batch_size)
    step = first_epoch * per_epoch
    for epoch in range(first_epoch + 1, first_epoch + epochs + 1):
        indices, total = order(n, seed, epoch), 0.0
        for start in range(0, n, batch_size):
            batch = indices[start : start + batch_size]
            rate = learning_rate(schedule, lr, step, (first_epoch + epochs) * per_epoch, warmup_steps)
            loss = engine.step(x[batch], y[batch], rate)
            step += 1
            if not np.isfinite(loss):
                raise NotFiniteError(step, epoch, loss)
            total += loss * len(batch)
        yield Epoch(epoch, step, total / n, rate)


class ManualEngine:
    """The hand-written gradient and a NumPy optimizer; `l1` adds λ Σ|W| over the weights."""

    def __init__(self, model: MLP, loss: str, optimizer: Optimizer, l1: float = 0.0) -> None:
        self.model, self.loss, self.optimizer, self.l1 = model, loss, optimizer, l1
        self.gradients: dict[str, Array] = {}

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> float:
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is reported
            loss, self.gradients = self.model.loss_and_gradients(x, y, self.loss, masks=masks)
            for name, weight in self.model.parameters.items():
                if self.l1 and name.startswith("layers.") and name.endswith(".weight"):
                    penalty, gradient = l1_penalty(weight, self.l1)
                    loss = loss + penalty
                    self.gradients[name] = self.gradients[name] + gradient
            if np.isfinite(loss):
                self.optimizer.lr = lr
                self.optimizer.step(self.gradients)
        return float(loss)

    def predict(self, x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.model.predict(x)

    def evaluate(self, x: Array, y: Array) -> tuple[float, float | None]:
        return evaluate(self.predict(x), y, self.loss)

    def parameters(self) -> dict[str, Array]:
        return {n: v.copy() for n, v in (self.model.parameters | self.model.buffers).items()}

    def load(self, parameters: Mapping[str, Array]) -> None:
        for name, value in parameters.items():
            arrays = self.model.parameters if name in self.model.parameters else self.model.buffers
            arrays[name] = value.copy()


def evaluate(output: Array, y: Array, loss: str) -> tuple[float, float | None]:
    """The loss and the accuracy 1 − zero-one of an output; real targets have no accuracy."""
    row = LOSSES[loss]
    value: Any = row.value(output, y)
    accuracy = None if row.target == "real" else 1 - zero_one(output, y, row.target)
    return float(value), accuracy
