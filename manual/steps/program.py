"""The program of a fast step: the rows of `manual.chain`, each written down as the room's own calls."""

import re
from collections.abc import Iterable
from typing import Any

from manual.architecture import Architecture
from manual.chain import backward_stages, forward_stages
from manual.losses import LOSSES, Reduction
from manual.trace import Stage
from manual.training.recipe import PLAIN, Recipe

NORMALIZATION = re.compile("^(batch|layer)_norm(_evaluation)?")


def program(
    architecture: Architecture,
    loss: str,
    reduction: Reduction = "mean",
    training: bool = True,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
    *,
    dx: bool = False,
) -> list[Stage]:
    """The stages of one pass in order, forward and backward; ∂L/∂x, which no update needs, only with `dx`."""
    asked = (architecture, loss, reduction, training, weighted, recipe)
    return [s for s in forward_stages(*asked) + backward_stages(*asked) if dx or s.name != "dx"]


def terms(loss: str, reduction: str, n: int, outputs: int) -> int:
    """What the sum of the terms of n samples is divided by: how many they are, or 1 for a sum."""
    return 1 if reduction == "sum" else n if LOSSES[loss].per_sample else n * outputs


class Written:
    """A step that has a method for each kind of stage, which writes its calls down.

    It is given the stage and the arrays that the stage reads, None for what the room puts elsewhere, and
    gives the array that will hold the stage's value. All normalizations are one kind.
    """

    values: dict[str, Any]

    def write(self, stages: Iterable[Stage]) -> None:
        """Every stage's calls in order; `values` has the leaves by name, and then where each value lies."""
        for stage in stages:
            method = getattr(self, NORMALIZATION.sub("normalization", stage.kind))
            self.values[stage.name] = method(stage, *(self.values.get(name) for name in stage.reads))
