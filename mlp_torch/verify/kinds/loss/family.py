"""What a family of losses has to say, and what all share: the mean's divisor, the samples' weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb

from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bits import Values
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import Enclosure, balls, exact, from_balls
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import Rounding


@dataclass(frozen=True)
class Family:
    """One family: of a stage that reads the output (N, K) and y, its weights left out.

    `terms` are true terms, and how far rounding may carry each; `gradient` is the rule of Σ ∂ℓ/∂ŷ over
    the divisor n. `terms_step` says how far the errors of ŷ move each term, and its own rounding,
    `gradient_step` how far n ∂L/∂ŷ of size `gradient` may stray. `units` are what value and gradient
    form before they sum, and its unit in bits; `squared` says of which rows the value holds squares of it.
    """

    terms: Callable[[Stage, Context], tuple[Enclosure, Array]]
    gradient: Callable[[Stage, Context, int], Local]
    terms_step: Callable[[Stage, Bounds], tuple[Array, Array]]
    gradient_step: Callable[[Stage, Bounds, Array], Array]
    units: Callable[[Stage, Values], tuple[Array, int]]
    squared: Callable[[str], bool] = lambda row: False


def count(stage: Stage, output: Array) -> int:
    """What the sum is divided by."""
    return LOSSES[stage.row].count(output) if stage.options["reduction"] == "mean" else 1


def shares(stage: Stage, output: Array, w: Array) -> Enclosure:
    """What a term of each sample counts, (N, 1): wᵢ / (Σ w · terms a sample), or wᵢ in a sum."""
    if stage.options["reduction"] == "sum":
        return exact(w[:, None])
    whole = sum(balls(w), arb(0)) * (1 if LOSSES[stage.row].per_sample else output.shape[1])
    return from_balls([v / whole for v in balls(w)], (len(w), 1))


def share_rounding(w: Array, size: Array, per: int, r: Rounding) -> tuple[float, Array]:
    """How far a term times its share may stray: of itself, and by underflow where terms are of that size.

    A sum of N weights, two products and a quotient; nothing is claimed where the weights themselves vanish.
    1/Σw may underflow, and is then multiplied by both the weight and the term.
    """
    whole = w.sum() * per
    flushed = r.tiny * (1 + w.max() + size + 1 / whole) + r.tiny * w.max() * size
    return r.gamma(len(w) + 4), np.where(whole * r.u > r.tiny, flushed, np.inf)


def float_shares(stage: Stage, output: Array, w: Array, size: Array, b: Bounds) -> tuple[Array, float, Array]:
    """`shares` in float64, and how far terms of that size times one may stray."""
    share = LOSSES[stage.row].shares(output, w, stage.options["reduction"])[:, None]
    rounding, flushed = share_rounding(w, size, output.shape[1], b.r)
    return share * (1 + b.r.gamma(1)), rounding, flushed


def per_sample_moved(stage: Stage, b: Bounds) -> Array:
    """How far ŷ's errors move the terms of a sample: |∂ℓ/∂ŷ| ≤ 1 for labels.

    For rows of weights, of any sum, |p Σy − y| ≤ Σ|y| + |y|.
    """
    y = b.values[stage.reads[1]]
    moved: Array = (
        2 * b.error(stage.reads[0]) * (np.abs(y).sum(axis=1, keepdims=True) if y.ndim == 2 else 1.0)
    )
    return moved


def native(stage: Stage, y: Array) -> Any:
    """Labels as integers again."""
    return y.astype(int) if LOSSES[stage.row].target == "label" and y.ndim == 1 else y
