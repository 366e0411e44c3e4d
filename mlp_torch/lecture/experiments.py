"""The experiments of the later steps: networks that `mlp train`'s flags describe, trained by the one loop.

A setting is a `Train`, the very dataclass of `mlp train`; the engine is the hand-written NumPy one.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from manual import MLP, OPTIMIZERS, Recipe, fit
from manual.buffered import BufferedEngine
from manual.training.fit import NotFiniteError
from mlp_torch.config import Train
from mlp_torch.data.config import DataFlags
from mlp_torch.data.loading import load
from mlp_torch.data.splits import Data, Split
from mlp_torch.lecture.page import spread
from mlp_torch.lecture.walk import Walk

# The setting that each comparison varies in one thing.
BASE = Train(engine="manual", hidden=(32,), batch_size=32, lr=3e-3, epochs=12)


@dataclass
class TrainedNetwork:
    """A trained network: its scores, and the losses after each epoch that were asked for."""

    model: MLP
    train_loss: float
    train_accuracy: float
    test_accuracy: float
    epochs: int
    steps: int
    seconds: float
    curve: list[float] = field(default_factory=list)


@cache
def read(name: str, loss: str | None, seed: int) -> Data:
    """The data set in float32, read once."""
    return load(DataFlags(data=name), loss, seed=seed, dtype=np.float32)


def few(split: Split, n: int | None) -> Split:
    """The first n samples, or all."""
    if n is None:
        return split
    return Split(split.x[:n], split.y[:n], None if split.labels is None else split.labels[:n])


def train(setting: Train, *, samples: int | None = None, until: float | None = None) -> TrainedNetwork:
    """Train as the setting says, on its first `samples`; stop at a training loss of `until`, if given.

    `curve` holds the training loss after each epoch with `until`, the validation loss with early
    stopping. A loss that is not finite ends the run, with the accuracy of the weights as they are.
    """
    data = read(setting.data, setting.loss, setting.seed)
    part = few(data.train, samples)
    sizes = setting.sizes(data.inputs, data.outputs)
    model = MLP(sizes, dtype=np.float32, **setting.model_options())
    optimizer = OPTIMIZERS[setting.optimizer](model.parameters, setting.lr, **setting.optimizer_options())
    engine = BufferedEngine(model, data.loss, optimizer, Recipe(l1=setting.l1))
    best, kept, curve, seconds, last = np.inf, engine.parameters(), [], 0.0, 0
    assert setting.epochs is not None
    epochs = fit(
        engine,
        part.x,
        part.y,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        lr=setting.lr,
        schedule=setting.schedule,
        seed=setting.seed,
    )
    steps, best_epoch, started = 0, 0, time.perf_counter()
    try:
        for epoch in epochs:
            seconds += time.perf_counter() - started
            last, steps = epoch.epoch, epoch.steps
            if setting.early_stopping:
                loss, _ = data.score(engine.predict(data.validation.x), data.validation)
                curve.append(loss)
                if loss < best:
                    best, best_epoch, kept = loss, last, engine.parameters()
                if last - best_epoch >= setting.early_stopping:
                    break
            if until is not None:
                curve.append(data.score(engine.predict(part.x), part)[0])
                if curve[-1] <= until:
                    break
            started = time.perf_counter()
    except NotFiniteError:
        curve.append(float("nan"))
    if setting.early_stopping:
        engine.load(kept)
    train_loss, train_accuracy = data.score(engine.predict(part.x), part)
    _, test_accuracy = data.score(engine.predict(data.test.x), data.test)
    return TrainedNetwork(
        model, train_loss, train_accuracy or 0.0, test_accuracy or 0.0, last, steps, seconds, curve
    )


def repeat(walk: Walk, setting: Train, **options: Any) -> list[TrainedNetwork]:
    """The setting on the walk's data with each of its seeds: another split, other weights and order."""
    return [train(replace(setting, data=walk.data, seed=seed), **options) for seed in walk.repetitions]


def gain(better: Sequence[float], plain: Sequence[float]) -> tuple[float, float]:
    """The mean of better − plain, seed by seed, and half the width of its 95 % interval (Student's t)."""
    from scipy.special import stdtrit

    gains = np.subtract(better, plain)
    n = len(gains)
    if n < 2:
        return float(gains.mean()), float("inf")
    return float(gains.mean()), float(stdtrit(n - 1, 0.975) * gains.std(ddof=1) / n**0.5)


def accuracy(outcomes: Iterable[TrainedNetwork]) -> str:
    """Test accuracy, mean ± standard deviation over the seeds."""
    return spread([o.test_accuracy for o in outcomes])
