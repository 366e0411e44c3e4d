"""What a gradient goes through before the update, as kernels: the mean of several batches, and clipping."""

from functools import partial

import torch
from torch import Tensor

from manual.training.recipe import EPSILON, Recipe
from mlp_torch.buffered.buffers import Op


class Rules:
    """`clipping` clips the flat gradient g; `collect` adds it to a sum, `mean` makes it the sum's mean."""

    def __init__(self, recipe: Recipe, g: Tensor) -> None:
        self.recipe, self.g = recipe, g
        self.sum = torch.zeros_like(g) if recipe.accumulate > 1 else g
        self.norm = torch.zeros((), dtype=g.dtype, device=g.device)
        self.limit = torch.full_like(self.norm, recipe.clip_norm or 0.0)
        self.clipping = self._clip()

    # g · min(1, c / (‖g‖ + ε)), or each entry within ±c
    def _clip(self) -> list[Op]:
        g, norm = self.g, self.norm
        if self.recipe.clip_value is not None:
            return [partial(g.clamp_, -self.recipe.clip_value, self.recipe.clip_value)]
        if self.recipe.clip_norm is None:
            return []
        return [
            partial(torch.linalg.vector_norm, g, out=norm),
            partial(norm.add_, EPSILON),
            partial(torch.div, self.limit, norm, out=norm),
            partial(norm.clamp_max_, 1),
            partial(g.mul_, norm),
        ]

    def collect(self) -> list[Op]:
        return [partial(self.sum.add_, self.g)]

    def mean(self, batches: int) -> list[Op]:
        return [partial(torch.div, self.sum, batches, out=self.g), self.sum.zero_]

    def forget(self) -> None:
        """Start anew."""
        if self.recipe.accumulate > 1:
            self.sum.zero_()
