"""The training loop: for each random minibatch, predict, back-propagate, update (the lecture's slide).

The loop knows no engine: it asks an `Engine` to take one step on a batch, and yields a record an
epoch. The order of samples is a pure function of (seed, epoch), the same for every engine.
"""

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


@dataclass(frozen=True)
class State:
    """Parameters and moments (`parameters/layers.0.weight`, `exp_avg/layers.0.weight`), and plain numbers.

    Numbers, the steps taken and the masks' generator say, can be written as JSON.
    """

    arrays: dict[str, Array]
    numbers: dict[str, Any]

    def of(self, kind: str) -> dict[str, Array]:
        """The arrays of one kind, by the rest of their names."""
        return {n.removeprefix(f"{kind}/"): a for n, a in self.arrays.items() if n.startswith(f"{kind}/")}


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


class Resumable(Engine, Protocol):
    """An engine that can be set aside between two updates, and taken up again."""

    def state(self) -> State:
        """A copy of all that the next steps depend on beside their batches."""

    def resume(self, state: State) -> None:
        """Write such a copy back: the steps that follow are those that followed it, bit for bit."""


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
                starts = np.arange(0, len(indices), batch_size)
                counts = np.ones(len(rows)) if w is None else w.astype(np.float64)
                sizes = np.add.reduceat(counts[indices], starts)
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


def _moved(at: Position, losses: Array, sizes: Array) -> Position:
    """After these batches: summed one by one, so that it makes no difference where an epoch is cut."""

    def summed(start: float, values: Array) -> float:  # one after the other, on every processor
        return float(np.cumsum(np.concatenate(([start], values)))[-1])

    total, counted = summed(at.total, losses * sizes), summed(at.counted, sizes)
    return Position(at.epoch, at.batches + len(sizes), total, counted)


class NumPyEngine:
    """What every engine on a `manual.MLP` does alike."""

    optimizer: Optimizer

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

    def state(self) -> State:
        """As `Resumable` says."""
        arrays = {f"parameters/{n}": v for n, v in self.parameters().items()}
        arrays |= {f"moments/{n}": v.copy() for n, v in self.moments_kept().items()}
        generator = self.model.generator.bit_generator.state
        return State(arrays, {"steps": self.optimizer.steps, "generator": generator})

    def resume(self, state: State) -> None:
        """As `Resumable` says."""
        self.load(state.of("parameters"))
        self.optimizer.steps = state.numbers["steps"]
        self.model.generator.bit_generator.state = state.numbers["generator"]
        self.take_moments(state.of("moments"))

    def moments_kept(self) -> dict[str, Array]:
        """The optimizer's moments as this engine keeps them, by names of its own."""
        state = self.optimizer.state
        return {f"{kind}/{name}": value for name, kinds in state.items() for kind, value in kinds.items()}

    def take_moments(self, moments: Mapping[str, Array]) -> None:
        """What `moments_kept` gave, into their places."""
        for path, value in moments.items():
            kind, _, name = path.partition("/")
            self.optimizer.state[name][kind] = value.copy()


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
