"""Slips of a loop over the samples."""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Make
from mlp_torch.check.faults.evidence import Evidence


def of_samples(c: Evidence, part: Part, dz: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    """The loop over the samples: only the last kept, only the first, or sums that were not reset."""
    n = len(dz)
    if n < 2:
        return
    last, first = _only(n, n - 1), _only(n, 0)
    over, miss, stale = "overwritten_gradient", "missing_accumulation", "stale_gradient"
    slips = (
        (over, "last", "holds the last sample alone: = for += in the loop", last, 0.9),
        (miss, "first", "holds one sample, the first: the others are not added", first, 1.0),
        (miss, "butlast", "lacks the last sample", 1 - last, 1.3),
        (miss, "butfirst", "lacks the first sample", 1 - first, 1.3),
        (
            stale,
            "running",
            "counts early samples again and again: the sum is not set to 0",
            np.arange(n, 0, -1.0),
            1.0,
        ),
        (stale, "running back", "counts late samples again and again", np.arange(1.0, n + 1), 1.2),
    )
    fits = _which(c, part, dz, np.stack([slip[3] for slip in slips]))
    for (kind, variant, words, weights, odd), fit in zip(slips, fits, strict=True):
        if fit:
            value = c.problem.leaf(part, dz * weights[:, None])
            yield make(kind, variant, words, odd=odd), value, "but" not in variant


def _which(c: Evidence, part: Part, dz: Array, weights: Array) -> Array:
    """Which weights of the samples (C, N) may have given the author's array, all asked at once."""
    h = c.h[part]
    if h is None or (part.role == "b" and h.size != dz.shape[1]):
        return np.ones(len(weights), dtype=bool)
    if part.role == "b":
        return c.which_spanned(part, weights @ dz, c.few(part))
    few = c.few(part)
    rows = c.problem.a[part.layer - 1].T[few]
    weighted = (weights[:, None, :] * rows).reshape(-1, len(dz)) @ dz
    return c.which_spanned(part, weighted.reshape(len(weights), -1), few)


def _only(n: int, i: int) -> Array:
    weights = np.zeros(n)
    weights[i] = 1
    return weights
