"""What is minimized: the flags beside the loss, and the training samples as they are then weighed.

Smoothed labels are probabilities as targets, class weights are factors of the samples' weights: so every
engine and the instrument know them already.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from manual.catalogue import LOSSES
from manual.numbers import Array
from mlp_torch.data.config import DataFlags
from mlp_torch.errors import UserError
from mlp_torch.flags import one_of, require, require_choice

if TYPE_CHECKING:  # a mistyped flag is answered before tables are imported
    from mlp_torch.data.splits import Data, Split

CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True, kw_only=True)
class ObjectiveFlags(DataFlags):
    """What is minimized beside the loss, and how much a sample counts in it."""

    class_weight: Annotated[str, one_of(CLASS_WEIGHTS)] = "none"
    """balanced: a sample weighs N / (classes · samples of its class), as in scikit-learn; validation too."""
    label_smoothing: float = 0.0
    """ε: the target is 1 − ε plus its share of ε, which all classes share, as in torch's cross_entropy."""
    l1: float = 0.0
    """λ of the penalty λΣ|W| on the weights, not the biases."""
    l2: float = 0.0
    """λ of the penalty ½λΣW² on the weights, not the biases."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        super().check()
        require_choice("--class-weight", "class weight", self.class_weight, CLASS_WEIGHTS)
        require(
            0 <= self.label_smoothing < 1,
            "--label-smoothing",
            self.label_smoothing,
            "must be at least 0 and below 1, such as 0.1",
        )
        for flag, value in (("--l1", self.l1), ("--l2", self.l2)):
            require(math.isfinite(value) and value >= 0, flag, value, "must be a finite number, at least 0")


def prepared(flags: ObjectiveFlags, data: "Data") -> "Data":
    """The data as the flags want it: training targets smoothed, training and validation samples weighed.

    Raises UserError where the loss has no labels to smooth, the target no classes, or nothing weighs.
    """
    train, validation, dtype = data.train, data.validation, data.train.x.dtype
    if flags.label_smoothing:
        train = replace(train, y=smoothed(data, flags.label_smoothing, dtype))
    if flags.class_weight == "balanced":
        factors = balanced(train, len(data.target.classes))
        train, validation = (weighed(split, factors) for split in (train, validation))
    parts = {"training": train, "validation": validation, "test": data.test}
    for name, split in parts.items():
        if split.weights is not None:
            if not (split.weights > 0).any():
                raise UserError(f"--sample-weight {flags.sample_weight}: no {name} sample weighs more than 0")
            parts[name] = replace(split, weights=split.weights.astype(dtype))
    return replace(data, train=parts["training"], validation=parts["validation"], test=parts["test"])


# y (1 − ε) + ε / K
def smoothed(data: "Data", epsilon: float, dtype: Any) -> Array:
    """The training targets as probabilities; K is 2 where each output is a question of its own."""
    target, y = LOSSES[data.loss].target, data.train.y
    if data.loss == "cross_entropy":
        rows = np.full((len(y), data.outputs), epsilon / data.outputs, dtype)
        rows[np.arange(len(y)), y] += 1 - epsilon
        return rows
    if target != "binary":
        raise UserError(
            f"--label-smoothing {epsilon}: {data.loss} takes no probabilities; "
            "use --loss cross_entropy or bce_with_logits, or leave it out"
        )
    return np.asarray(y * (1 - epsilon) + epsilon / 2, dtype)


# N / (classes · samples of the class)
def balanced(train: "Split", classes: int) -> Array:
    """What a sample of each class weighs (classes,), so that all weigh alike. Raises UserError without."""
    if train.labels is None:
        raise UserError("--class-weight balanced: the target is real and has no classes; leave it out")
    counts = np.bincount(train.labels, minlength=classes)
    return np.asarray(len(train) / (classes * np.maximum(counts, 1)))


def weighed(split: "Split", factors: Array) -> "Split":
    """The split with its weights times the factors of the samples' classes."""
    assert split.labels is not None
    found = factors[split.labels]
    return replace(split, weights=found if split.weights is None else split.weights * found)
