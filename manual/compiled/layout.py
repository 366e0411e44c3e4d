"""Where everything of a network lies: parameters in one flat array, the stages of a pass in another.

A layer's weight and bias are one matrix [W b] of shape (out, in + 1); the layer's input has a last
feature that is 1, so that z = W a + b is one product. Stages are (features, n): the samples of a feature
lie side by side. A layer's input lies there a second time, transposed, as dW = dz aᵀ needs it.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from manual.compiled import activations
from manual.compiled.optimizers import HYPERPARAMETERS
from manual.compiled.sums import LANES
from manual.numbers import Array
from manual.recorded.compiled import MOST_OPTIONS
from manual.steps.flat import aligned
from manual.structure.architecture import Architecture

# The columns of a layer's row: sizes, the code of the activation, where [W b] and the learned slope lie
# among the parameters, where the stages lie in the buffer, the layer's input (in + 1, n) among them, and
# this transposed, (n, in), with the distance of its rows.
INPUTS, OUTPUTS, ROW, WEIGHT, SLOPE, BELOW, TRANSPOSED, STRIDE = range(8)
Z, A, MASK, H, DH, DA, DZ, KEPT = range(8, 16)
COLUMNS = 16
TRAIN, TRACE, PREDICT = 0, 1, 2
# What `spec` holds: after SHARES where each thread's share of the batch begins, and where the last one ends.
MODE, LOSS, OPTIMIZER, BATCH_SIZE, STEPS, FRESH, DROPS, THREAD, THREADS, YIELD = range(10)
Y, SCRATCH, DX, SHARES = range(10, 14)
# What `numbers` holds after the optimizer's hyperparameters.
LOSS_OPTIONS, LOSS_OPTIONS_AT_MOST = HYPERPARAMETERS + 7, MOST_OPTIONS
L1, L2, CLIP_NORM, CLIP_VALUE, DROPOUT, NEGATIVE_SLOPE, SUM = range(HYPERPARAMETERS, LOSS_OPTIONS)
NUMBERS = LOSS_OPTIONS + LOSS_OPTIONS_AT_MOST


class Buffer:
    """The stages of one pass over up to `capacity` samples, and where each lies; `numbers` are given room."""

    def __init__(self, architecture: Architecture, capacity: int, dtype: Any) -> None:
        self.architecture, self.capacity = architecture, capacity
        sizes, depth = architecture.sizes, architecture.depth
        self.table = np.zeros((depth, COLUMNS), np.int64)
        self.end = 0
        below = self.place(sizes[0] + 1)
        weight, slope = 0, sum(o * (i + 1) for i, o in pairwise(sizes))
        for layer, row in enumerate(self.table):
            row[INPUTS], row[OUTPUTS] = sizes[layer : layer + 2]
            row[ROW] = activations.ROWS.index(architecture.activation_of(layer + 1))
            row[WEIGHT], row[SLOPE], row[BELOW] = weight, slope, below
            weight += row[OUTPUTS] * (row[INPUTS] + 1)
            slope += architecture.row(layer + 1).slope is not None
            for column in (Z, DA, DH, DZ):
                row[column] = self.place(sizes[layer + 1])
            row[KEPT] = self.place(sizes[layer + 1] * activations.KEPT[row[ROW]])
            row[A] = row[H] = self.place(sizes[layer + 1] + 1)
            if architecture.dropout > 0 and layer + 1 < depth:
                row[MASK], row[H] = self.place(sizes[layer + 1]), self.place(sizes[layer + 1] + 1)
            below = row[H]
            # an odd multiple of 16 numbers, so that rows do not fall on the same places of the cache
            row[STRIDE] = (-(-sizes[layer] // 16) | 1) * 16
            row[TRANSPOSED] = self.place(row[STRIDE])
        y, scratch, self.dx = self.place(sizes[-1]), self.place(4), self.place(sizes[0])
        self.places = (y, scratch, self.dx)
        self.numbers, self.chosen = np.zeros(0, dtype), np.zeros(capacity, np.int64)

    def place(self, features: int) -> int:
        """The offset of a new piece, on a cache line."""
        start = self.end
        self.end += -(-features * self.capacity // 16) * 16
        return start

    def stage(self, layer: int, column: int, n: int) -> Array:
        """A view (n, features) of a stage of that layer, the first of which is 0; -1 has dx alone."""
        start, features = self.dx, self.table[0, INPUTS]
        if layer >= 0:
            start, features = self.table[layer, column], self.table[layer, OUTPUTS]
        return self.numbers[start : start + features * n].reshape(features, n).T


class Crew(NamedTuple):
    """What threads need for batches of up to so many samples: a buffer each, and what is summed in float64.

    `numbers` are the buffers' one after the other. `sums` are the terms of each sample, of the loss and of
    each layer's slope; of each row of a layer and each slope, the penalties and then the squares of the
    gradient; and the lanes of each thread's sums.
    """

    buffers: list[Buffer]
    numbers: Array
    sums: Array

    @classmethod
    def of(cls, buffers: list[Buffer], size: int) -> "Crew":
        """Together, with one array for all buffers."""
        first, threads = buffers[0], len(buffers)
        numbers = aligned(first.end * threads, first.numbers.dtype)
        for buffer, own in zip(buffers, numbers.reshape(threads, -1), strict=True):
            buffer.numbers = own
        depth, rows = len(first.table), int(first.table[:, OUTPUTS].sum())
        count = size * (1 + depth) + 2 * (rows + depth) + LANES * threads
        return cls(buffers, numbers, aligned(count, np.float64))


class FlatData(NamedTuple):
    """x and y flat, labels and weights; what there is none of is empty."""

    x: Array
    y: Array
    labels: Array
    weights: Array


def fit(array: Array, dtype: Any) -> Array:
    """The array in the one layout that the compiled code knows: that dtype, row-major, writeable."""
    if array.dtype == dtype and array.flags.carray:
        return array
    return np.require(array, dtype, ("C", "A", "W"))
