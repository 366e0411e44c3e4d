"""What the instrument knows of the penalties λ₁ Σ|W| + ½ λ₂ Σ W²: both bounds, and the bits of a twin."""

from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from manual.training.recipe import Recipe
from mlp_torch.verify.enclosure import UNDERFLOW, Enclosure, exact, total, two_product
from mlp_torch.verify.local import Context, Local, Rule
from mlp_torch.verify.propagation_layers import Bounds, Step
from mlp_torch.verify.rounding import Rounding, up


def _recipe(stage: Stage) -> Recipe:
    recipe: Recipe = stage.options["recipe"]
    return recipe


def _times(e: Enclosure, number: float) -> Enclosure:
    return e * np.asarray(number)


# Σ over W of λ₁ |w| + ½ λ₂ w²: n terms of three roundings, λ's own among them
def _value(stage: Stage, loss: Any, weights: list[Array], r: Rounding) -> tuple[Array, Array, Array]:
    """How far the objective may stray, the size of its terms, and what an evaluation may pass through."""
    recipe, n = _recipe(stage), sum(w.size for w in weights) + len(weights) + 2
    sums = [recipe.l1 * np.abs(w).sum() + recipe.l2 / 2 * (w * w).sum() for w in weights]
    squares = sum(np.abs(w).sum() + (w * w).sum() for w in weights)
    size = np.asarray(np.abs(loss) + sum(sums))
    bound = r.gamma(n + 5) * size + n * r.tiny * (1 + recipe.l1 + recipe.l2)
    return np.asarray(up(bound, n)), size, np.asarray(size + squares)


def _objective(stage: Stage, c: Context) -> Local:
    loss, *weights = c.read(stage)
    recipe, truth = _recipe(stage), exact(np.asarray(loss))
    for weight in weights:
        if recipe.l1:
            truth = truth + _times(total(exact(np.abs(weight))), recipe.l1)
        if recipe.l2:
            hi, lo = two_product(weight, weight)
            square = total(Enclosure(hi, lo, np.full(hi.shape, UNDERFLOW)))
            truth = truth + _times(square, recipe.l2 / 2)
    bound, _, passed = _value(stage, loss, weights, c.r)
    return Local(truth, bound, passed)


def _objective_error(stage: Stage, b: Bounds) -> Array:
    loss, *weights = b.read(stage)
    e = b.error(stage.reads[0])
    bound, _, _ = _value(stage, loss, weights, b.r)
    return np.asarray(up(e + bound + b.r.gamma(2) * e))


# ∂L/∂W + λ₁ sign W + λ₂ W: λ's rounding, a product and two sums
def _gradient_bound(stage: Stage, dw: Array, w: Array, r: Rounding) -> tuple[Array, Array]:
    recipe = _recipe(stage)
    size = np.abs(dw) + recipe.l1 * (w != 0) + recipe.l2 * np.abs(w)
    return up(r.gamma(5) * size + r.tiny * (1 + recipe.l2)), size + np.abs(w)


def _gradient(stage: Stage, c: Context) -> Local:
    dw, w = c.read(stage)
    recipe = _recipe(stage)
    truth = exact(dw) + exact(recipe.l1 * np.sign(w)) + _times(exact(w), recipe.l2)
    return Local(truth, *_gradient_bound(stage, dw, w, c.r))


def _gradient_error(stage: Stage, b: Bounds) -> Array:
    dw, w = b.read(stage)
    e = b.error(stage.reads[0])
    return up(e + _gradient_bound(stage, dw, w, b.r)[0] + b.r.gamma(3) * e)


RULES: dict[str, Rule] = {"penalty": _objective, "penalty_gradient": _gradient}
STEPS: dict[str, Step] = {"penalty": _objective_error, "penalty_gradient": _gradient_error}
