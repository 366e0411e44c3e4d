"""What is minimized beside the loss, and what becomes of its gradient before the weights move.

    objective = loss + λ₁ Σ|W| + ½ λ₂ Σ W²      over the weights of the layers; biases are left alone
    g ← mean of the gradients of `accumulate` batches; then clipped; then the optimizer's step

Clipping is torch's: `clip_grad_norm_` and `clip_grad_value_` over all parameters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.numbers import Array, number, sign

EPSILON = 1e-6  # torch's, beside the norm that is divided by


def l2_penalty(weights: Array, coefficient: float) -> tuple[Any, Array]:
    """½ λ Σ w² and its gradient λ w: what torch's SGD calls weight_decay."""
    scale = number(coefficient, weights)
    return scale * (weights * weights).sum() / 2, scale * weights


def l1_penalty(weights: Array, coefficient: float) -> tuple[Any, Array]:
    """λ Σ |w| and its gradient λ sign w, which is 0 at w = 0."""
    scale = number(coefficient, weights)
    return scale * np.abs(weights).sum(), scale * sign(weights)


@dataclass(frozen=True)
class Recipe:
    """λ₁ and λ₂ of the penalties, the limits of clipping, and how many batches make one update."""

    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name, value in (("clip_norm", self.clip_norm), ("clip_value", self.clip_value)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is a finite number above 0, not {value}")
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("clip_norm and clip_value: choose one of them")
        if self.accumulate < 1:
            raise ValueError(f"accumulate is a number of batches, at least 1, not {self.accumulate}")

    @property
    def penalized(self) -> bool:
        """Whether anything is added to the loss."""
        return self.l1 != 0 or self.l2 != 0

    @property
    def formula(self) -> str:
        """What is added, as people write it."""
        terms = {f"{self.l1:g} Σ|W|": self.l1, f"½ {self.l2:g} ΣW²": self.l2}
        return " + ".join(term for term, coefficient in terms.items() if coefficient)

    def batches(self, step: int, steps: int) -> int:
        """Of how many batches the update after batch `step` of 0 … steps − 1 is the mean; 0 for none."""
        if step + 1 == steps:
            return step % self.accumulate + 1
        return self.accumulate if (step + 1) % self.accumulate == 0 else 0

    def penalty(self, weights: Array) -> tuple[Any, Array]:
        """λ₁ Σ|w| + ½ λ₂ Σ w² and its gradient λ₁ sign w + λ₂ w."""
        value, gradient = l1_penalty(weights, self.l1) if self.l1 else l2_penalty(weights, self.l2)
        if not (self.l1 and self.l2):
            return value, gradient
        more, along = l2_penalty(weights, self.l2)
        return value + more, gradient + along

    def clip(self, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """g · min(1, c / (‖g‖ + 10⁻⁶)), ‖g‖ over all of them; or each entry kept within ±c."""
        if self.clip_value is not None:
            return {n: np.clip(g, -self.clip_value, self.clip_value) for n, g in gradients.items()}
        if self.clip_norm is None:
            return dict(gradients)
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
        scale = min(1.0, self.clip_norm / (norm + EPSILON))
        return {n: g * g.dtype.type(scale) for n, g in gradients.items()}


PLAIN = Recipe()


def objective(loss: Any, *weights: Array, recipe: Recipe) -> Any:
    """loss + λ₁ Σ|W| + ½ λ₂ Σ W²."""
    for weight in weights:
        loss = loss + recipe.penalty(weight)[0]
    return loss


def penalty_gradient(gradient: Array, weight: Array, recipe: Recipe) -> Array:
    """∂(objective)/∂W = ∂loss/∂W + λ₁ sign W + λ₂ W."""
    return gradient + recipe.penalty(weight)[1]


def is_weight(parameter: str) -> bool:
    """Whether the penalties are over this parameter: a layer's weight, by its `state_dict` name."""
    return parameter.startswith("layers.") and parameter.endswith(".weight")
