"""The rules of `manual.training.recipe` in buffers: penalties, the mean of several gradients, clipping."""

import numpy as np

from manual.buffered.program import Call, Program, Workspace, borrows
from manual.numbers import Array
from manual.steps.flat import FlatArray
from manual.training.recipe import EPSILON, Recipe


class Rules:
    """`penalties` add to the gradients and leave the penalty's value in `penalty`; `clipping` clips.

    `collect` keeps gradients until an update.
    """

    def __init__(self, recipe: Recipe, parameters: FlatArray, gradients: FlatArray) -> None:
        self.recipe, self.parameters, self.gradients = recipe, parameters, gradients
        self.workspace = Workspace(parameters.array.dtype)
        self.penalty = self.workspace.new()
        self.sum = self.workspace.new(gradients.array.size if recipe.accumulate > 1 else 0)
        self.penalties = self._penalize()
        self.clipping = self._clip()

    # λ₁ Σ|W| + ½ λ₂ ΣW², and its gradient λ₁ sign W + λ₂ W
    def _penalize(self) -> list[Call]:
        do = Program(self.workspace)
        if not self.recipe.penalized:
            return []
        do.copy(do.number(0), self.penalty)
        for block, gradient in zip(self.parameters.blocks, self.gradients.blocks, strict=True):
            if self.recipe.l1:
                self._add(
                    do, (np.abs, np.sign), self.recipe.l1, self.recipe.l1, block[:, :-1].T, gradient[:, :-1].T
                )
            if self.recipe.l2:
                halved = self.recipe.l2 / 2
                self._add(
                    do, (np.square, np.positive), halved, self.recipe.l2, block[:, :-1].T, gradient[:, :-1].T
                )
        return do.calls

    @borrows
    def _add(
        self,
        do: Program,
        functions: tuple[np.ufunc, np.ufunc],
        scale: float,
        slope: float,
        weights: Array,
        gradient: Array,
    ) -> None:
        """scale · Σ f(w) to the penalty, slope · f′(w) to the gradient."""
        s, part = do.scratch(weights), do.scratch(self.penalty)
        do(functions[0], weights, out=s)
        do(np.add.reduce, s, axis=(0, 1), out=part)
        do(np.multiply, part, scale, out=part)
        do(np.add, self.penalty, part, out=self.penalty)
        do(functions[1], weights, out=s)
        do(np.multiply, s, slope, out=s)
        do(np.add, gradient, s, out=gradient)

    # g · min(1, c / (‖g‖ + ε)), or each entry within ±c
    def _clip(self) -> list[Call]:
        do, g = Program(self.workspace), self.gradients.array
        if self.recipe.clip_value is not None:
            do(np.maximum, g, -self.recipe.clip_value, out=g)
            do(np.minimum, g, self.recipe.clip_value, out=g)
        elif self.recipe.clip_norm is not None:
            norm, s = self.workspace.new(), do.scratch(g)
            do(np.multiply, g, g, out=s)
            do(np.add.reduce, s, out=norm)
            do(np.sqrt, norm, out=norm)
            do(np.add, norm, EPSILON, out=norm)
            do(np.divide, self.recipe.clip_norm, norm, out=norm)
            do(np.minimum, norm, 1, out=norm)
            do(np.multiply, g, norm, out=g)
        return do.calls

    def collect(self, batches: int) -> None:
        """Add the gradient to those kept; it becomes the mean of `batches` of them, or with 0 waits."""
        g = self.gradients.array
        self.sum += g
        if batches:
            np.divide(self.sum, batches, out=g)
            self.forget()

    def forget(self) -> None:
        """Start anew."""
        self.sum.fill(0)
