"""The trace: one forward and one backward pass as an ordered record of named stages.

This is the chain rule as data. A `Stage` is one line of it: its name, its formula, the names of what it
reads, and the plain NumPy function that computes it. A `Trace` holds the value of every stage and of
every leaf (x, y, parameters, masks). The manual network fills one by calling the functions; other
engines fill one with the values they found under the same names; everything else only reads traces.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manual.numbers import Array


@dataclass(frozen=True)
class Stage:
    """One line of the chain rule.

    `name` is the stage (`z1`, `dW2`), `layer` counts from 1, `kind` says which rule it is (`linear`,
    `activation_backward`, …), `row` names the activation or loss it applies, `reads` the inputs of
    `function`, in order, `options` its keyword arguments; `constants` are those of the activation.
    `parameter` is the `state_dict` name whose gradient this stage is, if any.
    """

    name: str
    layer: int
    kind: str
    formula: str
    reads: tuple[str, ...]
    function: Callable[..., Any]
    row: str = ""
    parameter: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def compute(self, values: Mapping[str, Array]) -> Any:
        """This stage's value from the values of what it reads."""
        return self.function(*(values[name] for name in self.reads), **self.options)


class Trace:
    """Values by name, in the order of computation: leaves first, then `stages`."""

    def __init__(
        self, stages: Sequence[Stage], leaves: Mapping[str, Array], values: Mapping[str, Any]
    ) -> None:
        self.stages = tuple(stages)
        self.leaves = dict(leaves)
        self.values: dict[str, Any] = {**leaves, **{s.name: values[s.name] for s in stages}}

    def __getitem__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise KeyError(f"no stage {name!r}; there are {', '.join(self.values)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(s for s in self.stages if s.name == name)

    @property
    def loss(self) -> Any:
        return self.values["loss"]

    @property
    def objective(self) -> Any:
        """What is minimized: the loss, with the penalties where there are some."""
        return self.values.get("objective", self.loss)

    @property
    def gradients(self) -> dict[str, Array]:
        """∂L/∂parameter by the parameter's name, last layer first, as the backward pass finds them."""
        return {s.parameter: self.values[s.name] for s in self.stages if s.parameter is not None}


def run(stages: Sequence[Stage], leaves: Mapping[str, Array]) -> Trace:
    """Compute every stage in order and return the trace."""
    values: dict[str, Any] = dict(leaves)
    for stage in stages:
        values[stage.name] = stage.compute(values)
    return Trace(stages, leaves, values)
