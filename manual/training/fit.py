"""The training loop: for each random minibatch, predict, back-propagate, update (the lecture's slide).

The loop knows no engine: it asks a `Learner` to take one step on a batch, and yields a record an
epoch. The order of samples is a pure function of (seed, epoch), the same for every engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from manual.catalogue.schedules import learning_rate
from manual.numbers import Array
from manual.training.batches import Pieces, batch_counts, check_finite, check_weights, pieces
from manual.training.engine import Learner


@dataclass(frozen=True)
class Position:
    """How far training has come: whole epochs; of the next one its batches, their losses, their weights."""

    epoch: int = 0
    batches: int = 0
    total: float = 0.0
    counted: float = 0.0


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data left: the mean loss of its batches, its last rate, steps so far.

    And where it left the run; within the pass (`fit`'s `every`) it is that of the batches so far.
    """

    epoch: int
    steps: int
    loss: float
    learning_rate: float
    position: Position = Position()

    @property
    def whole(self) -> bool:
        """Whether the pass is at its end."""
        return self.position.batches == 0


class NotFiniteError(ArithmeticError):
    """A batch's loss, or `what` else, was NaN or infinite; the step was the `step`-th, counted from 1."""

    def __init__(self, step: int, epoch: int, value: float, what: str = "the loss") -> None:
        super().__init__(f"{what} became {value} at step {step} (epoch {epoch})")
        self.step, self.epoch, self.value = step, epoch, value


def fit(
    engine: Learner,
    x: Array | Pieces,
    y: Array,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    schedule: str = "constant",
    warmup_steps: int = 0,
    seed: int = 0,
    start: Position | None = None,
    every: int | None = None,
    weights: Array | None = None,
) -> Iterator[Epoch]:
    """Train on minibatches of `batch_size` (1: stochastic; N: full batch), yielding after each epoch.

    x (N, in), in memory or in pieces, and y (N, …); a last, smaller batch is used too. `weights` (N,) say
    how much a sample counts in its batch's mean; one that weighs 0 is left out. A run that goes on from
    `start`, with the engine as it was there (`Resumable`), ends as the run that was not cut; `epochs` are
    all of it. With `every` it yields within an epoch too, after so many batches. Raises NotFiniteError when
    a loss is not finite, and ValueError where x or a weight is not, or where one is empty or another length.
    """
    n = len(x)
    if n == 0 or n != len(y):
        raise ValueError(f"x has {n} samples and y {len(y)}; they must be as many, and at least 1")
    if isinstance(x, np.ndarray):
        check_finite(x)
    check_weights(weights, n)
    batches = batch_counts(x, batch_size, weights)
    at = start or Position()
    while at.epoch < epochs:
        epoch = at.epoch
        steps = np.arange(epoch * batches, (epoch + 1) * batches)
        rates = learning_rate(schedule, lr, steps, epochs * batches, warmup_steps)
        for rows, targets, w, order in pieces(x, y, seed, epoch + 1, batch_size, weights, at.batches):
            for indices in _parts(order, batch_size, every):
                sizes = _sizes(indices, batch_size, w)
                given = {} if w is None else {"weights": w}
                rate = rates[at.batches : at.batches + len(sizes)]
                losses = engine.epoch(rows, targets, indices, batch_size, rate, **given)
                finite = np.isfinite(losses)
                if not finite.all():
                    bad = int(np.argmin(finite))
                    step = epoch * batches + at.batches + bad + 1
                    raise NotFiniteError(step, epoch + 1, float(losses[bad]))
                at = _moved(at, losses, sizes)
                if at.batches < batches and every:
                    yield Epoch(epoch + 1, int(steps[at.batches]), at.total / at.counted, float(rate[-1]), at)
        mean, at = at.total / at.counted, Position(epoch + 1)
        yield Epoch(epoch + 1, (epoch + 1) * batches, mean, float(rates[-1]), at)


def _parts(indices: Array, batch_size: int, every: int | None) -> Iterator[Array]:
    """The indices of an epoch's batches, of at most `every` of them at a time."""
    size = batch_size * every if every else max(1, len(indices))
    for first in range(0, len(indices), size):
        yield indices[first : first + size]


def _sizes(indices: Array, batch_size: int, weights: Array | None) -> Array:
    """How much each batch weighs: the sum of its samples' weights, which are 1 where none are given."""
    starts = np.arange(0, len(indices), batch_size)
    if weights is None:
        return np.minimum(len(indices) - starts, batch_size).astype(np.float64)
    return np.add.reduceat(weights.astype(np.float64)[indices], starts)


def _moved(at: Position, losses: Array, sizes: Array) -> Position:
    """After these batches: summed one by one, so that it makes no difference where an epoch is cut."""

    def summed(start: float, values: Array) -> float:  # one after the other, on every processor
        values[0] += start
        return float(values.cumsum()[-1])

    total, counted = summed(at.total, losses * sizes), summed(at.counted, sizes.copy())
    return Position(at.epoch, at.batches + len(sizes), total, counted)
