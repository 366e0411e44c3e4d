"""Which samples an epoch visits, and in what order: a pure function of (seed, epoch), for every engine."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from manual.numbers import Array


def order(n: int, seed: int, epoch: int) -> Array:
    """The permutation of 0 … n−1 in which an epoch visits the samples."""
    return np.random.default_rng([seed, 2, epoch]).permutation(n)


@runtime_checkable
class Pieces(Protocol):
    """Samples x (N, in) that do not fit into memory: read part by part."""

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Array:
        """The rows start … stop − 1."""

    def slices(self, batch_size: int = 1) -> Iterator[slice]:
        """The parts in order, all but the last of whole batches."""


def pieces(
    x: Array | Pieces,
    y: Array,
    seed: int,
    epoch: int,
    batch_size: int,
    weights: Array | None = None,
    done: int = 0,
) -> Iterator[tuple[Array, Array, Array | None, Array]]:
    """What an epoch visits: (x, y, weights, the order of their rows), part by part; an array is one part.

    Of what lies on disk the parts are visited in a random order, and the rows of each in another. Samples
    that weigh nothing are left out, and so are the first `done` batches; parts of them alone are not read.
    """
    if isinstance(x, np.ndarray) or not isinstance(x, Pieces):  # the first is asked in no time
        yield x, y, weights, _weighing(order(len(x), seed, epoch), weights)[done * batch_size :]
        return
    parts = list(x.slices(batch_size))
    for i in order(len(parts), seed, epoch).tolist():
        part = parts[i]
        w = None if weights is None else weights[part]
        n = part.stop - part.start
        indices = _weighing(np.random.default_rng([seed, 2, epoch, i]).permutation(n), w)
        batches = -(-len(indices) // batch_size)
        if done < batches:
            yield x.rows(part.start, part.stop), y[part], w, indices[done * batch_size :]
        done = max(0, done - batches)


def _weighing(indices: Array, weights: Array | None) -> Array:
    """Those of samples that weigh something."""
    return indices if weights is None else indices[weights[indices] > 0]


def first_batch(
    x: Array | Pieces, y: Array, seed: int, batch_size: int, weights: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """The first batch that training visits: x, y and its weights."""
    visited = pieces(x, y, seed, 1, batch_size, weights)
    rows, targets, w, indices = next(piece for piece in visited if len(piece[-1]))
    first = indices[:batch_size]
    return rows[first], targets[first], None if w is None else w[first]


def batch_counts(x: Array | Pieces, batch_size: int, weights: Array | None = None) -> int:
    """How many batches an epoch visits."""
    parts = list(x.slices(batch_size)) if isinstance(x, Pieces) else [slice(0, len(x))]
    sizes = [
        (min(p.stop, len(x)) - p.start if weights is None else np.count_nonzero(weights[p] > 0))
        for p in parts
    ]
    return sum(-(-int(size) // batch_size) for size in sizes)


def check_finite(x: Array) -> None:
    """Raise ValueError that names the first entry of x (N, in) that is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum()):  # as it is whenever all are, unless they overflow together
            return
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        where = tuple(bad[0].tolist())
        raise ValueError(
            f"x is {x[where]} in row {where[0]}, column {where[1]}: remove or fill in such samples"
        )


def check_weights(weights: Array | None, n: int) -> None:
    """Raise ValueError for weights that are not n finite numbers, none below 0, one above."""
    if weights is None:
        return
    if weights.shape != (n,):
        raise ValueError(f"the weights have shape {weights.shape}; one a sample, shape ({n},), is needed")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise ValueError(f"the weight of sample {bad[0]} is {weights[bad[0]]}; it must be finite, at least 0")
    if not (weights > 0).any():
        raise ValueError("all weights are 0: there is nothing to learn from")
