"""Batches in a chunk: a step's calls at every place, and the rows gathered there."""

import numpy as np

from manual.buffered.program import Call
from manual.buffered.step import Step
from manual.numbers import Array


class Batches:
    """A step with the arrays that x and y are gathered into; `calls[place]` are the whole step."""

    def __init__(self, step: Step, label: bool, update: list[Call] | None = None) -> None:
        self.step = step
        self.calls = [[*calls, *(update or [])] for calls in step.calls]
        places, n, inputs = step.x.shape
        outputs = step.y.shape[1]
        self.rows = np.empty((places * n, inputs - 1), step.x.dtype)
        self.one_hot = label and not step.probabilities
        self.targets = (
            np.zeros(places * n, np.int64) if self.one_hot else np.zeros((places * n, outputs), step.x.dtype)
        )
        # where the 1 of class 0 of each sample stands in y (places, K, n)
        self.offsets = (np.arange(places)[:, None] * outputs * n + np.arange(n)).ravel()

    def gather(
        self, x: Array, y: Array, indices: Array, weights: Array | None = None, reduction: str = "mean"
    ) -> None:
        """x[indices] and y[indices] into their places, as many as there are, and what each sample counts."""
        step, m = self.step, len(indices)
        n, inputs = step.x.shape[1:]
        count = m // n
        np.take(_cast(x, self.rows), indices, axis=0, out=self.rows[:m], mode="clip")
        step.x[:count, :, :-1] = self.rows[:m].reshape(count, n, inputs - 1)
        if weights is not None and step.shares is not None:
            w = weights[indices].reshape(count, 1, n)
            # a term of the loss is one of `per` in a sample
            per = step.count / n
            step.shares[:count] = w if reduction == "sum" else w / (w.sum(axis=2, keepdims=True) * per)
        np.take(_cast(y, self.targets), indices, axis=0, out=self.targets[:m], mode="clip")
        if not self.one_hot:
            step.y[:count] = self.targets[:m].reshape(count, n, -1).transpose(0, 2, 1)
            return
        step.y[:count] = 0
        positions = self.targets[:m]
        positions *= n
        positions += self.offsets[:m]
        step.y.reshape(-1)[positions] = 1


def _cast(array: Array, like: Array) -> Array:
    return array if array.dtype == like.dtype else array.astype(like.dtype)
