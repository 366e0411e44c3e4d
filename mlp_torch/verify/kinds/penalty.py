"""The penalties λ₁ Σ|W| + ½ λ₂ Σ W² and their gradients λ₁ sign W + λ₂ W."""

from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from manual.training.recipe import Recipe
from mlp_torch.verify.bits import Values, bits, unit
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import UNDERFLOW, Enclosure, exact, total, two_product
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.local import Context, Local
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


def _objective_rule(stage: Stage, c: Context) -> Local:
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


def _objective_step(stage: Stage, b: Bounds) -> Array:
    loss, *weights = b.read(stage)
    e = b.error(stage.reads[0])
    bound, _, _ = _value(stage, loss, weights, b.r)
    return np.asarray(up(e + bound + b.r.gamma(2) * e))


def _objective_bits(stage: Stage, v: Values) -> int:
    recipe, (loss, *weights) = _recipe(stage), (v[name] for name in stage.reads)
    units = [
        max(unit(w) + unit(np.asarray(recipe.l1)), 2 * unit(w) + unit(np.asarray(recipe.l2 / 2)))
        for w in weights
    ]
    sizes = [recipe.l1 * np.abs(w).sum() + recipe.l2 * (w * w).sum() for w in weights]
    return bits(np.abs(loss) + sum(sizes), max(unit(loss), *units))


# ∂L/∂W + λ₁ sign W + λ₂ W: λ's rounding, a product and two sums
def _gradient_bound(stage: Stage, dw: Array, w: Array, r: Rounding) -> tuple[Array, Array]:
    recipe = _recipe(stage)
    size = np.abs(dw) + recipe.l1 * (w != 0) + recipe.l2 * np.abs(w)
    return up(r.gamma(5) * size + r.tiny * (1 + recipe.l2)), size + np.abs(w)


def _gradient_rule(stage: Stage, c: Context) -> Local:
    dw, w = c.read(stage)
    recipe = _recipe(stage)
    truth = exact(dw) + exact(recipe.l1 * np.sign(w)) + _times(exact(w), recipe.l2)
    return Local(truth, *_gradient_bound(stage, dw, w, c.r))


def _gradient_step(stage: Stage, b: Bounds) -> Array:
    dw, w = b.read(stage)
    e = b.error(stage.reads[0])
    return up(e + _gradient_bound(stage, dw, w, b.r)[0] + b.r.gamma(3) * e)


def _gradient_bits(stage: Stage, v: Values) -> int:
    recipe, (dw, w) = _recipe(stage), (v[name] for name in stage.reads)
    q = max(unit(dw), unit(np.asarray(recipe.l1)), unit(w) + unit(np.asarray(recipe.l2)))
    return bits(np.abs(dw) + recipe.l1 + recipe.l2 * np.abs(w), q)


KINDS: dict[str, Kind] = {
    "penalty": Kind(_objective_rule, _objective_step, _objective_bits),
    "penalty_gradient": Kind(_gradient_rule, _gradient_step, _gradient_bits),
}
