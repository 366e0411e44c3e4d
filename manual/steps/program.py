"""The program of a fast step: the rows of `manual.chain`, each written down as the room's own calls."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from manual.catalogue import LOSSES
from manual.chain import backward_stages, forward_stages
from manual.losses import Reduction
from manual.structure.architecture import Architecture, symbol
from manual.structure.trace import Stage
from manual.training.recipe import PLAIN, Recipe

T = TypeVar("T")
Program = Callable[..., tuple[Stage, ...]]  # `program`, or what remembers what it gave
NORMALIZATION = re.compile("^(batch|layer)_norm(_evaluation)?")


@cache
def method_of(kind: str) -> str:
    """The name of the method that writes a kind of stage: all normalizations are one kind."""
    return NORMALIZATION.sub("normalization", kind)


def program(
    architecture: Architecture,
    loss: str,
    reduction: Reduction = "mean",
    training: bool = True,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
    *,
    dx: bool = False,
) -> tuple[Stage, ...]:
    """The stages of one pass in order, forward and backward; ∂L/∂x, which no update needs, only with `dx`."""
    asked = (architecture, loss, reduction, training, weighted, recipe)
    return tuple(s for s in forward_stages(*asked) + backward_stages(*asked) if dx or s.name != "dx")


def terms(loss: str, reduction: str, n: int, outputs: int) -> int:
    """What the sum of the terms of n samples is divided by: how many they are, or 1 for a sum."""
    return 1 if reduction == "sum" else n if LOSSES[loss].per_sample else n * outputs


def named(letter: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """By the names of the trace: with the letter d, dW1 for layers.0.weight."""
    return {f"{letter}{symbol(name)}": array for name, array in arrays.items()}


class Written:
    """A step that has a method for each kind of stage, which writes its calls down.

    It is given the stage and the arrays that the stage reads, None for what the room puts elsewhere, and
    gives what `written` makes the array of that will hold the stage's value.
    """

    values: dict[str, Any]

    def write(self, stages: Iterable[Stage]) -> None:
        """Every stage's calls in order; `values` has the leaves by name, and then where each value lies."""
        for stage in stages:
            method = getattr(self, method_of(stage.kind))
            result = method(stage, *map(self.values.get, stage.reads))
            self.values[stage.name] = self.written(stage, result)

    def written(self, stage: Stage, result: Any) -> Any:
        """Where the value lies, once the method of the stage has given `result`."""
        return result
