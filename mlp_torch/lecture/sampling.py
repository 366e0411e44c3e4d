"""The gradient of a sample or a minibatch as an estimate: unbiased, exactly; and how noisy it is."""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from manual import MLP
from manual.numbers import Array
from manual.training.batches import order
from mlp_torch.lecture.experiments import BASE, read
from mlp_torch.lecture.walk import Walk


@dataclass(frozen=True)
class Unbiased:
    """Of all batches of B out of N: their number, and the entries where their mean is not ∇(sum) / N."""

    n: int
    batch: int
    batches: int
    entries: int
    nonzero: int
    mismatches: int


def measure_unbiased(seed: int, batch: int, n: int = 6) -> Unbiased:
    """In fractions: the mean of (1/B) ∇(sum over a batch) over every batch against ∇(sum over all) / N."""
    rng = np.random.default_rng([seed, 5])
    model = MLP((3, 5, 2))

    def dyadic(shape: tuple[int, ...]) -> Array:
        quarters = [Fraction(int(k), 4) for k in rng.integers(-8, 9, int(np.prod(shape)))]
        return np.array(quarters, dtype=object).reshape(shape)

    for name, value in model.parameters.items():
        model.parameters[name] = dyadic(value.shape)
    x, y = dyadic((n, 3)), dyadic((n, 2))

    def gradients(rows: Any) -> dict[str, Array]:
        return model.loss_and_gradients(x[rows], y[rows], "half_squared_error", reduction="sum")[1]

    whole = gradients(list(range(n)))
    every = [gradients(list(rows)) for rows in combinations(range(n), batch)]
    mismatches = entries = nonzero = 0
    for name, total in whole.items():
        expected: Any = sum(g[name] for g in every) / (len(every) * batch)
        mismatches += int((expected != total / n).sum())
        entries += total.size
        nonzero += int((total != 0).sum())
    return Unbiased(n, batch, len(every), entries, nonzero, mismatches)


def measure_noise(walk: Walk, batch: int, draws: int) -> tuple[float, float]:
    """‖g_B − g‖ / ‖g‖ in root mean square at the initial weights: measured, and σ/√B · √((N−B)/(N−1))."""
    data = read(walk.data, None, walk.seed).train
    settings = replace(BASE, data=walk.data, seed=walk.seed)
    full = read(walk.data, None, walk.seed)
    model = MLP(settings.sizes(full.inputs, full.outputs), **settings.model_options())

    def flat(rows: Array) -> Array:
        _, gradients = model.loss_and_gradients(data.x[rows].astype(float), data.y[rows], full.loss)
        return np.concatenate([g.ravel() for g in gradients.values()])

    n, batch = len(data), min(batch, len(data))
    whole = flat(np.arange(n))
    per_sample = [float(((flat(np.array([i])) - whole) ** 2).sum()) for i in range(n)]
    # sampling without replacement: the variance falls as 1/B, and to 0 where the batch is everything
    predicted = (fmean(per_sample) / batch * (n - batch) / (n - 1)) ** 0.5
    squares = [float(((flat(order(n, walk.seed, k)[:batch]) - whole) ** 2).sum()) for k in range(draws)]
    norm = float(np.linalg.norm(whole))
    return fmean(squares) ** 0.5 / norm, predicted / norm
