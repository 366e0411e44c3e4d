"""The four training problems A to D: their data, made once from a seed, and what every trainer gets.

All of them are two hidden relu layers in float32, trained by Adam (1e-3, betas 0.9 and 0.999, ε 1e-8)
at a constant rate on shuffled minibatches, the last, smaller one included.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Spec:
    """One row: the network, how it is trained, on how many threads, and where its data comes from."""

    name: str
    title: str
    sizes: tuple[int, ...]
    loss: str
    rows: int
    batch: int
    epochs: int
    threads: int
    read: Callable[[int], tuple[Array, Array]]

    @property
    def steps(self) -> int:
        """Steps of a whole run."""
        return self.epochs * -(-self.rows // self.batch)

    def quick(self) -> "Spec":
        """A tenth of it, to see if everything runs; its figures mean nothing."""
        if self.epochs >= 10:
            return replace(self, epochs=self.epochs // 10)
        return replace(self, epochs=1, rows=self.rows // 10)


def digits(rows: int) -> tuple[Array, Array]:
    """scikit-learn's 1,797 digits, all of them, divided by 16."""
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    return x[:rows] / 16, labels[:rows]


def moons(rows: int) -> tuple[Array, Array]:
    """Two half circles with noise 0.2 (seed 0), each input brought to mean 0 and variance 1."""
    from sklearn.datasets import make_moons

    x, labels = make_moons(rows, noise=0.2, random_state=0)
    return (x - x.mean(axis=0)) / x.std(axis=0), labels


def images(rows: int) -> tuple[Array, Array]:
    """28×28 images of ten classes from seed 0: eight styles a class, moved and with noise.

    A style is a random 7×7 field, widened to 28×28 and cut so that a fifth of its pixels are ink, as
    in MNIST. An image is a style of its class, moved by up to two pixels each way, of contrast 0.5 to
    1, with normal noise of 0.4 on the ink and on as many pixels elsewhere, cut to 0 … 1.
    """
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(10, 8, 7, 7))
    weights = np.maximum(0, 1 - np.abs((np.arange(28)[:, None] + 0.5) / 4 - 0.5 - np.arange(7)))
    styles = np.einsum("ip,cspq,jq->csij", weights, fields, weights)
    styles = np.maximum(0, styles - np.quantile(styles, 0.8, axis=(2, 3), keepdims=True))
    styles /= styles.max(axis=(2, 3), keepdims=True)
    moved = np.stack(
        [np.roll(styles, (i, j), axis=(2, 3)) for i in range(-2, 3) for j in range(-2, 3)]
    ).reshape(25, 10, 8, 784)
    labels = rng.integers(10, size=rows)
    x = moved[rng.integers(25, size=rows), labels, rng.integers(8, size=rows)].astype(np.float32)
    x *= rng.uniform(0.5, 1, size=(rows, 1)).astype(np.float32)
    noise = rng.normal(size=x.shape).astype(np.float32)
    noise *= 0.4 * ((x > 0) | (rng.random(x.shape, dtype=np.float32) < 0.2))
    return np.clip(x + noise, 0, 1), labels


PROBLEMS: dict[str, Spec] = {
    row.name: row
    for row in [
        Spec("A", "digits, 64-128-64-10", (64, 128, 64, 10), "cross_entropy", 1797, 32, 30, 1, digits),
        Spec("B", "images, 784-256-128-10", (784, 256, 128, 10), "cross_entropy", 60000, 128, 3, 2, images),
        Spec("C", "moons, 2-16-16-1", (2, 16, 16, 1), "bce_with_logits", 1000, 16, 50, 1, moons),
        Spec(
            "D", "images, 784-2048-2048-10", (784, 2048, 2048, 10), "cross_entropy", 20000, 512, 1, 2, images
        ),
    ]
}


@dataclass(frozen=True)
class Problem:
    """A problem in a trainer's hands: x (N, in) float32 and y, labels (N,) int64 or 0/1 (N, 1) float32."""

    spec: Spec
    x: Array
    y: Array

    def order(self, seed: int, epoch: int) -> Array:
        """The permutation of an epoch, counted from 1: the project's own."""
        from manual.training.batches import order

        return order(len(self.x), seed, epoch)

    def initial(self, seed: int) -> list[tuple[Array, Array]]:
        """The first weights (out, in) and biases (out,) of every layer: the project's own."""
        from manual.structure.architecture import Architecture

        drawn = Architecture(self.spec.sizes).initial_parameters(
            np.random.default_rng([seed, 0]), "torch", np.float32
        )
        return [(drawn[f"layers.{i}.weight"], drawn[f"layers.{i}.bias"]) for i in range(3)]

    def digest(self) -> int:
        """One number of the data, to see that all had the same."""
        return zlib.crc32(self.y.tobytes(), zlib.crc32(self.x.tobytes()))

    def evaluate(self, weights: list[tuple[Array, Array]]) -> tuple[float, float]:
        """Loss and accuracy of a trained network on the data that it was trained on, in float64."""
        loss, right = 0.0, 0
        for start in range(0, len(self.x), 4096):
            a, y = self.x[start : start + 4096], self.y[start : start + 4096]
            for i, (weight, bias) in enumerate(weights):
                a = (a if i == 0 else np.maximum(a, 0)) @ np.asarray(weight).T + bias
            z = a.astype(np.float64)
            if self.spec.loss == "cross_entropy":
                top = z.max(axis=1)
                loss += float(
                    (top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[np.arange(len(z)), y]).sum()
                )
                right += int((z.argmax(axis=1) == y).sum())
            else:
                loss += float((np.logaddexp(0, z) - z * y).sum())
                right += int(((z > 0) == (y == 1)).sum())
        return loss / len(self.x), right / len(self.x)


def write(spec: Spec, folder: Path) -> None:
    """Make a problem's data and keep it where the workers find it."""
    x, labels = spec.read(spec.rows)
    y = labels.astype(np.int64) if spec.loss == "cross_entropy" else labels.reshape(-1, 1).astype(np.float32)
    np.save(folder / f"{spec.name}-x.npy", x.astype(np.float32))
    np.save(folder / f"{spec.name}-y.npy", y)


def read(name: str, epochs: int, folder: Path) -> Problem:
    """A problem as a worker takes it; `epochs` may be fewer than the row's."""
    x, y = (np.load(folder / f"{name}-{part}.npy") for part in "xy")
    return Problem(replace(PROBLEMS[name], epochs=epochs, rows=len(x)), x, y)
