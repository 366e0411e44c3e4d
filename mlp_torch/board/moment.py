"""What the board is shown of a run at one moment: weights, gradients, and what they make of the data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from manual.chain import forward_stages
from manual.numbers import Array
from manual.structure.architecture import Architecture, symbol
from manual.structure.trace import Trace, run
from mlp_torch.config import Train
from mlp_torch.data.splits import Data, Split
from mlp_torch.inference.loaded import has_probabilities
from mlp_torch.verify.report import ComparisonReport

if TYPE_CHECKING:  # half a second that only pictures need
    from matplotlib.figure import Figure

MOST_SHOWN = 2000  # validation samples


def sample(split: Split, most: int, seed: int) -> Split:
    """At most so many samples, drawn from `seed`, in the order in which they stand; x in memory."""
    n = len(split)
    if n <= most and isinstance(split.x, np.ndarray):
        return split
    rows = np.arange(n)
    if n > most:
        rows = np.sort(np.random.default_rng([seed, 4]).choice(n, most, replace=False))
    labels, weights = (None if v is None else v[rows] for v in (split.labels, split.weights))
    return Split(split.x[rows], split.y[rows], labels, weights)


@dataclass(frozen=True)
class Moment:
    """A run between two epochs: `epoch` 0 is before the first, `step` counts updates from the run's start.

    `predict` is the engine's, (N, in) → (N, out); `parameters` and buffers go by `state_dict` name,
    `before` are those of the epoch before; `gradients` are those of the epoch's last batch. `scalars` are
    what the loop measured, by the curves' tags. `report` and `picture` are the check of the first batch.
    What does not belong to the moment is empty or None. What is computed here is computed once, and only
    where it is asked for.
    """

    config: Train
    data: Data
    architecture: Architecture
    loss: str
    epoch: int
    step: int
    predict: Callable[[Array], Array]
    parameters: Mapping[str, Array]
    gradients: Mapping[str, Array] = field(default_factory=dict)
    before: Mapping[str, Array] = field(default_factory=dict)
    scalars: Mapping[str, float | None] = field(default_factory=dict)
    report: ComparisonReport | None = None
    picture: Callable[[], "Figure"] | None = None

    @cached_property
    def shown(self) -> Split:
        """The validation samples that are shown, at most 2,000, the same in every epoch."""
        return sample(self.data.validation, MOST_SHOWN, self.config.seed)

    @cached_property
    def output(self) -> Array:
        """The network's output (N, out) for them, in evaluation, by the engine."""
        return self.predict(self.shown.x)

    @cached_property
    def plane(self) -> Array:
        """Training samples (N, in), at most 2,000: where the data lie, the same in every epoch."""
        found: Array = sample(self.data.train, MOST_SHOWN, self.config.seed).x
        return found

    @cached_property
    def forward(self) -> Trace:
        """Every stage of the forward pass for them in evaluation, by the rows of the chain rule."""
        stages = forward_stages(self.architecture, "mse", "mean", training=False)[:-1]
        named = {symbol(name): value for name, value in self.parameters.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            return run(stages, {"x": self.shown.x, **named})

    @cached_property
    def activations(self) -> dict[int, Array]:
        """What every layer gives for them (N, size), by the layer's number from 1."""
        return {i: self.forward[f"a{i}"] for i in range(1, self.architecture.depth + 1)}


def of_classes(moment: Moment) -> bool:
    return moment.shown.labels is not None


def of_numbers(moment: Moment) -> bool:
    return moment.shown.labels is None


def of_probabilities(moment: Moment) -> bool:
    return has_probabilities(moment.data)


def of_two_inputs(moment: Moment) -> bool:
    return moment.data.inputs == 2


def with_hidden_layers(moment: Moment) -> bool:
    return moment.architecture.depth > 1
