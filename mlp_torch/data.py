"""The data sets, one row of `DATASETS` each, split and with targets coded as the loss wants them.

`line` is the lecture's four points, `xor` the four that no single neuron separates; `moons` and
`digits` are scikit-learn's. Nothing is downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.losses import LOSSES, Target
from manual.numbers import Array
from mlp_torch.errors import UserError


def _line(seed: int) -> tuple[Array, Array]:
    """The lecture's four points, nearly y = x."""
    return np.array([[10.0], [2.0], [3.5], [1.0]]), np.array([10.1, 1.9, 3.4, 1.1])


def _xor(seed: int) -> tuple[Array, Array]:
    """1 where exactly one of the two inputs is 1."""
    return np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])


def _moons(seed: int) -> tuple[Array, Array]:
    """1,000 points of two interleaved half circles, with noise drawn from `seed`."""
    from sklearn.datasets import make_moons

    x, labels = make_moons(1000, noise=0.2, random_state=seed)
    return x, labels


def _digits(seed: int) -> tuple[Array, Array]:
    """1,797 handwritten digits of 8×8 pixels in 0 … 16, from the UCI repository."""
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    return x / 16, labels


@dataclass(frozen=True)
class Dataset:
    """One row: how it is read, its number of classes (0: real targets), what it does by default.

    `split` says if it is large enough to hold samples back; `standardize`, if every input is brought
    to mean 0 and variance 1 (of the training samples).
    """

    name: str
    read: Callable[[int], tuple[Array, Array]]
    classes: int
    loss: str
    epochs: int
    sample: str
    split: bool = True
    standardize: bool = False


DATASETS: dict[str, Dataset] = {
    row.name: row
    for row in [
        Dataset("line", _line, 0, "half_squared_error", 500, "points", split=False),
        Dataset("xor", _xor, 2, "bce_with_logits", 200, "points", split=False),
        Dataset("moons", _moons, 2, "bce_with_logits", 60, "points", standardize=True),
        Dataset("digits", _digits, 10, "cross_entropy", 30, "images"),
    ]
}


@dataclass(frozen=True)
class Split:
    """Inputs x (N, in), targets y as the loss takes them, and class labels (N,), if there are any."""

    x: Array
    y: Array
    labels: Array | None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Data:
    """Three splits of a data set, ready for one loss; `held_out` is False where all three are one."""

    dataset: Dataset
    loss: str
    inputs: int
    outputs: int
    train: Split
    validation: Split
    test: Split

    @property
    def held_out(self) -> bool:
        return self.dataset.split

    def score(self, output: Array, split: Split) -> tuple[float, float | None]:
        """Loss and accuracy of the network's output (N, K) on a split; real targets have no accuracy.

        The decision is the class of the largest output; a single output decides for class 1 above 0,
        or above ½ where the loss is one of real numbers.
        """
        row = LOSSES[self.loss]
        with np.errstate(all="ignore"):  # the loop asks if the loss is finite
            loss = float(row.value(output, split.y))
        if split.labels is None:
            return loss, None
        threshold = 0.5 if row.target == "real" else 0.0
        decision = output.argmax(axis=1) if output.shape[1] > 1 else output[:, 0] > threshold
        return loss, float((decision == split.labels).mean())


def load(name: str, loss: str | None = None, *, seed: int = 0, dtype: Any = np.float32) -> Data:
    """The data set of that name: 70 % training, 10 % validation, 20 % test, stratified, by `seed`.

    Targets are coded for `loss` (the row's own if None): labels (N,) for label losses; one column of
    real numbers, 0/1 or ±1 for two classes; such a column a class (one-hot) for more. Raises UserError
    where the loss needs classes and the data has none, or where x is not finite.
    """
    row = DATASETS[name]
    loss = loss or row.loss
    x, target = row.read(seed)
    check_finite(x, f"--data {name}")
    y, outputs = code(target, row, loss, dtype)
    labels = target if row.classes else None
    parts = _indices(len(x), target, seed) if row.split else (np.arange(len(x)),) * 3
    if row.standardize:
        mean, deviation = x[parts[0]].mean(axis=0), x[parts[0]].std(axis=0)
        x = (x - mean) / np.where(deviation > 0, deviation, 1)
    x = x.astype(dtype)
    train, validation, test = (
        Split(x[part], y[part], None if labels is None else labels[part]) for part in parts
    )
    return Data(row, loss, x.shape[1], outputs, train, validation, test)


def code(target: Array, row: Dataset, loss: str, dtype: Any) -> tuple[Array, int]:
    """Targets (N,) as `loss` takes them, and the number of the network's outputs."""
    kind: Target = LOSSES[loss].target
    if not row.classes:
        if kind != "real":
            real = ", ".join(r.name for r in LOSSES.values() if r.target == "real")
            raise UserError(
                f"--loss {loss}: it needs classes, and --data {row.name} has real targets; choose from {real}"
            )
        return target.reshape(-1, 1).astype(dtype), 1
    if kind == "label":
        return target.astype(np.int64), row.classes
    low = -1 if kind == "sign" else 0
    if row.classes == 2:
        return np.where(target == 1, 1, low).reshape(-1, 1).astype(dtype), 1
    return np.where(target[:, None] == np.arange(row.classes), 1, low).astype(dtype), row.classes


def check_finite(x: Array, where: str) -> None:
    """Raise UserError that names the first entry of x (N, in) that is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        r, c = bad[0]
        raise UserError(
            f"{where}: x is {x[r, c]} in row {r}, column {c} ({len(bad)} such entries); "
            "remove these samples or fill in the values"
        )


def _indices(n: int, labels: Array, seed: int) -> tuple[Array, Array, Array]:
    """Which samples train, validate and test: 70, 10 and 20 %, each with the classes' proportions."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(n), test_size=0.2, random_state=seed, stratify=labels)
    train, validation = train_test_split(rest, test_size=0.125, random_state=seed, stratify=labels[rest])
    return train, validation, test
