"""Rows of the chain rule being written down, layer by layer."""

from collections.abc import Callable
from typing import Any

from manual.activations import Activation
from manual.losses import Loss
from manual.structure.trace import Stage
from manual.training.recipe import PLAIN, Recipe


class Rows:
    """The rows so far; `layer` is the one that they are written for, `recipe` what is added to the loss."""

    def __init__(self, recipe: Recipe = PLAIN) -> None:
        self.stages: list[Stage] = []
        self.layer, self.recipe = 0, recipe

    def write(
        self,
        name: str,
        kind: str,
        formula: str,
        reads: list[str],
        function: Callable[..., Any],
        row: Activation | Loss | None = None,
        **more: Any,
    ) -> str:
        """Add the row that computes `name`, and return the name."""
        if row is not None:
            more |= {"row": row.name, "constants": row.options}
        self.stages.append(Stage(name, self.layer, kind, formula, tuple(reads), function, **more))
        return name
