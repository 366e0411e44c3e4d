"""The built-in data sets, one row of `DATASETS` each. Nothing is downloaded.

`line` is the lecture's four points, `xor` the four that no single neuron separates; `moons`, `circles` and
`spirals` are drawn from the seed; the others come with scikit-learn.
"""

import gzip
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manual.numbers import Array

Table = tuple[Array, Array, list[str]]  # x (N, in), targets (N,), the features' names


def _line(seed: int) -> Table:
    """The lecture's four points, nearly y = x."""
    return np.array([[10.0], [2.0], [3.5], [1.0]]), np.array([10.1, 1.9, 3.4, 1.1]), ["x"]


def _xor(seed: int) -> Table:
    """1 where exactly one of the two inputs is 1."""
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return x, np.array([0, 1, 1, 0]), ["x1", "x2"]


def _moons(seed: int) -> Table:
    """1,000 points of two interleaved half circles, with noise drawn from `seed`."""
    from sklearn.datasets import make_moons

    x, labels = make_moons(1000, noise=0.2, random_state=seed)
    return x, labels, ["x1", "x2"]


def _circles(seed: int) -> Table:
    """1,000 points of two circles, one in the other, with noise drawn from `seed`."""
    from sklearn.datasets import make_circles

    x, labels = make_circles(1000, noise=0.1, factor=0.5, random_state=seed)
    return x, labels, ["x1", "x2"]


def _spirals(seed: int) -> Table:
    """1,000 points of two spirals, each of one and a half turns, with noise drawn from `seed`."""
    generator = np.random.default_rng([seed, 3])
    labels = np.arange(1000) % 2
    angle = 3 * np.pi * np.sqrt(generator.uniform(size=1000))
    turned = angle + np.pi * labels
    x = (angle * np.stack([np.cos(turned), np.sin(turned)])).T + 0.3 * generator.normal(size=(1000, 2))
    return x, labels, ["x1", "x2"]


def _digits(seed: int) -> Table:
    """scikit-learn's digits: 1,797 images of 8 × 8, read from its own file, which spares its import."""
    found = importlib.util.find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations is not None
    path = Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if not path.exists():  # another release may keep it elsewhere
        return _shipped("digits")(seed)
    with gzip.open(path) as file:
        rows = np.fromstring(file.read().replace(b"\n", b","), sep=",").reshape(-1, 65)
    return rows[:, :-1], rows[:, -1].astype(int), [f"pixel_{i}_{j}" for i in range(8) for j in range(8)]


def _shipped(name: str) -> Callable[[int], Table]:
    def read(seed: int) -> Table:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{name}")()
        return bunch.data, bunch.target, [str(n) for n in bunch.feature_names]

    read.__doc__ = f"scikit-learn's {name}."
    return read


@dataclass(frozen=True)
class Dataset:
    """One row: how it is read, the names of its classes (none: real targets), what it does by default.

    `split` says if it is large enough to hold samples back; `standardize`, if every input is brought to
    mean 0 and variance 1 (of the training samples), and real targets as well; `divide` is what every input
    is divided by.
    """

    name: str
    read: Callable[[int], Table] | None
    labels: tuple[Any, ...]
    loss: str
    epochs: int
    sample: str
    split: bool = True
    standardize: bool = False
    divide: float = 1.0

    @property
    def classes(self) -> int:
        """How many; 0 where the targets are real."""
        return len(self.labels)


FLOWERS = ("setosa", "versicolor", "virginica")
CULTIVARS = ("class_0", "class_1", "class_2")
DATASETS: dict[str, Dataset] = {
    row.name: row
    for row in [
        Dataset("line", _line, (), "half_squared_error", 500, "points", split=False),
        Dataset("xor", _xor, (0, 1), "bce_with_logits", 200, "points", split=False),
        Dataset("moons", _moons, (0, 1), "bce_with_logits", 60, "points", standardize=True),
        Dataset("circles", _circles, (0, 1), "bce_with_logits", 60, "points", standardize=True),
        Dataset("spirals", _spirals, (0, 1), "bce_with_logits", 100, "points", standardize=True),
        Dataset("digits", _digits, tuple(range(10)), "cross_entropy", 30, "images", divide=16.0),
        Dataset("iris", _shipped("iris"), FLOWERS, "cross_entropy", 100, "flowers", standardize=True),
        Dataset("wine", _shipped("wine"), CULTIVARS, "cross_entropy", 60, "wines", standardize=True),
        Dataset(
            "breast_cancer", _shipped("breast_cancer"), ("malignant", "benign"), "bce_with_logits", 30,
            "patients", standardize=True,
        ),
        Dataset("diabetes", _shipped("diabetes"), (), "mse", 30, "patients", standardize=True),
    ]
}  # fmt: skip
