"""The three parts of a data set, with targets coded as the loss takes them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.catalogue import LOSSES
from manual.losses import Target
from manual.numbers import Array
from manual.training.batches import Pieces
from mlp_torch.data.sets import Dataset
from mlp_torch.errors import UserError
from mlp_torch.tables.kinds import Column
from mlp_torch.tables.preprocessing import Preprocessor
from mlp_torch.tables.targets import Target as TargetColumn


@dataclass(frozen=True)
class Split:
    """Inputs x (N, in), targets y as the loss takes them, class labels (N,) and sample weights, if any.

    x is an array, or an `OnDisk` where memory cannot hold it.
    """

    x: Any  # an array, or OnDisk
    y: Array
    labels: Array | None
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Data:
    """Three splits of a data set, ready for one loss; `held_out` is False where all three are one.

    `preprocessing` made the inputs of the columns, `target` the targets of theirs; `columns` says in words
    what was understood of a table, and `fingerprint` which file it was.
    """

    dataset: Dataset
    loss: str
    inputs: int
    outputs: int
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessor
    target: TargetColumn
    columns: list[Column] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def held_out(self) -> bool:
        return self.dataset.split

    def score(self, output: Array, split: Split) -> tuple[float, float | None]:
        """Loss and accuracy of the network's output (N, K) on a split; real targets have no accuracy.

        Both are means over the samples, weighted where they have weights.

        The decision is the class of the largest output; a single output decides for class 1 above 0,
        or above ½ where the loss is one of real numbers.
        """
        row = LOSSES[self.loss]
        with np.errstate(all="ignore"):  # the loop asks if the loss is finite
            loss = float(row.value(output, split.y, weights=split.weights))
        if split.labels is None:
            return loss, None
        right = decide(output, self.loss) == split.labels
        return loss, float(
            right.mean() if split.weights is None else np.average(right, weights=split.weights)
        )

    def evaluate(self, predict: Callable[[Array], Array], split: Split) -> tuple[float, float | None]:
        """Loss and accuracy of what a network predicts on a split, piece by piece where it lies on disk."""
        if not isinstance(split.x, Pieces):
            return self.score(predict(split.x), split)
        sums, counted = np.zeros(2), 0.0
        for part in split.x.slices():
            labels, w = (None if v is None else v[part] for v in (split.labels, split.weights))
            count = float(part.stop - part.start if w is None else w.sum())
            if count == 0:
                continue
            piece = Split(split.x.rows(part.start, part.stop), split.y[part], labels, w)
            loss, accuracy = self.score(predict(piece.x), piece)
            sums, counted = sums + count * np.array([loss, accuracy or 0.0]), counted + count
        loss, accuracy = (sums / counted).tolist()
        return loss, None if split.labels is None else accuracy


def decide(output: Array, loss: str) -> Array:
    """Class indices (N,) behind an output (N, K): the largest, or a single one above its threshold."""
    if output.shape[1] > 1:
        return np.asarray(output.argmax(axis=1))
    return np.asarray(output[:, 0] > (0.5 if LOSSES[loss].target == "real" else 0.0)).astype(np.int64)


def code(target: Array, classes: int, loss: str, dtype: Any, name: str = "the data") -> tuple[Array, int]:
    """Targets (N,), class indices or reals (classes = 0), as `loss` takes them; the network's outputs.

    Labels (N,) for label losses; one column of real numbers, 0/1 or ±1 for two classes; such a column a
    class (one-hot) for more. Raises UserError where the loss needs classes and there are none.
    """
    kind: Target = LOSSES[loss].target
    if not classes:
        if kind != "real":
            real = ", ".join(r.name for r in LOSSES.values() if r.target == "real")
            raise UserError(
                f"--loss {loss}: it needs classes, and --data {name} has real targets; choose from {real}"
            )
        return target.reshape(-1, 1).astype(dtype), 1
    if kind == "label":
        return target.astype(np.int64), classes
    low = -1 if kind == "sign" else 0
    if classes == 2:
        return np.where(target == 1, 1, low).reshape(-1, 1).astype(dtype), 1
    return np.where(target[:, None] == np.arange(classes), 1, low).astype(dtype), classes
