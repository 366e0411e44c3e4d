"""What the training loop asks of an engine, and the plain one: the formulas as they stand, step by step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from manual.catalogue import LOSSES
from manual.losses import zero_one
from manual.network import MLP
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.training.recipe import PLAIN, Recipe


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


class Learner(Protocol):
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


class Engine(Learner, Protocol):
    """What a run needs of an engine beside it."""

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
    """The plain hand-written gradient and a NumPy optimizer, by a recipe (`manual.training.recipe`)."""

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
