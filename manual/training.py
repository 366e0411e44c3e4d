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
    """What the loop needs of an engine; data and outputs are NumPy arrays at this door."""

    def epoch(self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array) -> Array:
        """One step on each batch of x[indices], y[indices]: a forward and backward pass and an update.

        Batch i holds the indices from i · batch_size on, the last one what is left, and learns at
        rates[i]. The losses of the batches, each before its update; after one that is not finite the
        engine may stop, and its weights mean nothing.
        """

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation mode."""

    def parameters(self) -> dict[str, Array]:
        """A copy of the parameters and buffers, by `state_dict` name."""

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Write such a copy back; the optimizer's moments stay as they are."""


class Stepwise:
    """An engine that is written as one step on a batch: its epoch is the steps one after the other."""

    def step(self, x: Array, y: Array, lr: float) -> float:
        """One forward and backward pass and one update; the batch's loss before the update."""
        raise NotImplementedError

    def epoch(self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array) -> Array:
        """As `Engine.epoch` says; it stops after a loss that is not finite."""
        losses = np.empty(len(rates))
        for i, rate in enumerate(rates.tolist()):
            batch = indices[i * batch_size : (i + 1) * batch_size]
            losses[i] = self.step(x[batch], y[batch], rate)
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


def order(n: int, seed: int, epoch: int) -> Array:
    """The permutation of 0 … n−1 in which an epoch visits the samples."""
    return np.random.default_rng([seed, 2, epoch]).permutation(n)


class Pieces(Protocol):
    """Samples x (N, in) that do not fit into memory: read part by part."""

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Array:
        """The rows start … stop − 1."""

    def slices(self, batch_size: int) -> Iterator[slice]:
        """The parts in order, all but the last of whole batches."""


def pieces(
    x: Array | Pieces, y: Array, seed: int, epoch: int, batch_size: int
) -> Iterator[tuple[Array, Array, Array]]:
    """What an epoch visits: (x, y, the order of their rows), part by part; an array is one part.

    Of what lies on disk the parts are visited in a random order, and the rows of each in another.
    """
    if isinstance(x, np.ndarray):
        yield x, y, order(len(x), seed, epoch)
        return
    parts = list(x.slices(batch_size))
    for i in order(len(parts), seed, epoch).tolist():
        rows = x.rows(parts[i].start, parts[i].stop)
        yield rows, y[parts[i]], np.random.default_rng([seed, 2, epoch, i]).permutation(len(rows))


def first_batch(x: Array | Pieces, y: Array, seed: int, batch_size: int) -> tuple[Array, Array]:
    """The first batch that training visits."""
    rows, targets, first = next(pieces(x, y, seed, 1, batch_size))
    return rows[first[:batch_size]], targets[first[:batch_size]]


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
) -> Iterator[Epoch]:
    """Train on minibatches of `batch_size` (1: stochastic; N: full batch), yielding after each epoch.

    x (N, in), in memory or in pieces, and y (N, …); a last, smaller batch is used too. Raises
    NotFiniteError when a loss is not finite, and ValueError where x is not, or where it is empty or another
    length than y.
    """
    n = len(x)
    if n == 0 or n != len(y):
        raise ValueError(f"x has {n} samples and y {len(y)}; they must be as many, and at least 1")
    if isinstance(x, np.ndarray):
        check_finite(x)
    batches = -(-n // batch_size)
    for epoch in range(first_epoch, first_epoch + epochs):
        steps = np.arange(epoch * batches, (epoch + 1) * batches)
        rates = learning_rate(schedule, lr, steps, (first_epoch + epochs) * batches, warmup_steps)
        done, total = 0, 0.0
        for rows, targets, indices in pieces(x, y, seed, epoch + 1, batch_size):
            sizes = np.full(-(-len(rows) // batch_size), batch_size)
            sizes[-1] = len(rows) - batch_size * (len(sizes) - 1)
            losses = engine.epoch(rows, targets, indices, batch_size, rates[done : done + len(sizes)])
            finite = np.isfinite(losses)
            if not finite.all():
                bad = int(np.argmin(finite))
                raise NotFiniteError(epoch * batches + done + bad + 1, epoch + 1, float(losses[bad]))
            done, total = done + len(sizes), total + float(losses @ sizes)
        yield Epoch(epoch + 1, (epoch + 1) * batches, total / n, float(rates[-1]))


def check_finite(x: Array) -> None:
    """Raise ValueError that names the first entry of x (N, in) that is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum()):  # as it is whenever all are, unless they overflow together
            return
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        where = tuple(bad[0].tolist())
        raise ValueError(
            f"x is {x[where]} in row {where[0]}, column {where[1]}: remove or fill in such samples"
        )


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
    """The plain hand-written gradient and a NumPy optimizer; `l1` adds λ Σ|W| over the weights."""

    def __init__(self, model: MLP, loss: str, optimizer: Optimizer, l1: float = 0.0) -> None:
        super().__init__(model, loss)
        self.optimizer, self.l1 = optimizer, l1
        self.gradients: dict[str, Array] = {}

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> float:
        """One step on a batch; `masks` as in `MLP.trace`."""
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


def evaluate(output: Array, y: Array, loss: str) -> tuple[float, float | None]:
    """The loss and the accuracy 1 − zero-one of an output; real targets have no accuracy."""
    row = LOSSES[loss]
    value: Any = row.value(output, y)
    accuracy = None if row.target == "real" else 1 - zero_one(output, y, row.target)
    return float(value), accuracy
