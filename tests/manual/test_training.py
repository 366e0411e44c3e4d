"""The loop around the engines: the order of the samples, and an epoch's loss as the mean over samples."""

from typing import Any

import numpy as np
import pytest

from manual.numbers import Array
from manual.training.batches import order
from manual.training.fit import Position, fit

# Known answers: a run from last year must take its batches in the same order today.
ORDERS: dict[tuple[int, int, int], list[int]] = {
    (5, 0, 1): [1, 4, 2, 0, 3],
    (5, 0, 2): [2, 4, 1, 0, 3],
    (5, 1, 1): [0, 3, 2, 1, 4],
    (7, 0, 1): [5, 1, 0, 2, 4, 3, 6],
    (7, 3, 2): [5, 2, 6, 4, 1, 3, 0],
    (10, 42, 30): [1, 0, 8, 9, 2, 7, 4, 6, 3, 5],
}


@pytest.mark.parametrize("case", ORDERS)
def test_the_order_of_an_epoch_is_the_known_one(case: tuple[int, int, int]) -> None:
    assert order(*case).tolist() == ORDERS[case]


def test_orders_differ_by_seed_and_by_epoch() -> None:
    assert len({tuple(order(9, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)}) == 16


class Recorder:
    """An engine that takes no step: what it was asked, and losses that say which batch they belong to."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def epoch(self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array) -> Array:
        self.seen.append(indices.tolist())
        return np.arange(1.0, len(rates) + 1)

    def predict(self, x: Array) -> Array:
        raise NotImplementedError

    def parameters(self) -> dict[str, Array]:
        raise NotImplementedError

    def load(self, parameters: Any) -> None:
        raise NotImplementedError


def recorded(n: int, batch_size: int, **options: Any) -> tuple[Recorder, list[float]]:
    engine, x = Recorder(), np.zeros((n, 1))
    epochs = list(fit(engine, x, x, batch_size=batch_size, lr=0.1, **options))
    return engine, [epoch.loss for epoch in epochs]


@pytest.mark.parametrize("first", [0, 1, 3])
def test_the_first_epoch_takes_order_1_and_a_continued_run_goes_on_from_there(first: int) -> None:
    engine, _ = recorded(9, 4, epochs=first + 2, seed=5, start=Position(first))
    assert engine.seen == [order(9, 5, epoch).tolist() for epoch in (first + 1, first + 2)]


@pytest.mark.parametrize(
    ("n", "batch_size", "mean"),
    [(8, 4, 1.5), (9, 4, (4 * 1 + 4 * 2 + 1 * 3) / 9), (5, 4, (4 * 1 + 1 * 2) / 5), (3, 7, 1.0)],
)
def test_an_epochs_loss_weighs_each_batch_by_its_samples(n: int, batch_size: int, mean: float) -> None:
    """A last batch of one sample counts as one sample, not as a batch."""
    _, losses = recorded(n, batch_size, epochs=1)
    assert losses == [pytest.approx(mean, rel=1e-15)]
