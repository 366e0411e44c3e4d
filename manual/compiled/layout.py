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
from manual.structure.architecture import Architecture

# The columns of a layer's row: sizes, the code of the activation, where [W b] and the learned slope lie
# among the parameters, where the stages lie in the buffer, the layer's input (in + 1, n) among them, and
# this transposed, (n, in), with the distance of its rows.
COLUMNS = (
    *("inputs", "outputs", "row", "weight", "slope"),
    *("below", "transposed", "stride", "z", "a", "mask", "h", "dh", "da", "dz", "kept"),
)
(
    INPUTS,
    OUTPUTS,
    ROW,
    WEIGHT,
    SLOPE,
    BELOW,
    TRANSPOSED,
    STRIDE,
    Z,
    A,
    MASK,
    H,
    DH,
    DA,
    DZ,
    KEPT,
) = range(len(COLUMNS))
TRAIN, TRACE, PREDICT = 0, 1, 2
# What `spec` holds, and `numbers` after the optimizer's hyperparameters.
SPEC = (
    *("mode", "loss", "optimizer", "batch_size", "steps", "fresh", "drops"),
    *("thread", "threads", "yield"),
    *("y", "scratch", "dx"),
)
(
    MODE,
    LOSS,
    OPTIMIZER,
    BATCH_SIZE,
    STEPS,
    FRESH,
    DROPS,
    THREAD,
    THREADS,
    YIELD,
    Y,
    SCRATCH,
    DX,
) = range(len(SPEC))
SHARES = len(SPEC)  # and further: where each thread's share of the batch begins, and where the last one ends
L1, L2, CLIP_NORM, CLIP_VALUE, DROPOUT, NEGATIVE_SLOPE, SUM = range(HYPERPARAMETERS, HYPERPARAMETERS + 7)
LOSS_OPTIONS, LOSS_OPTIONS_AT_MOST = HYPERPARAMETERS + 7, MOST_OPTIONS
NUMBERS = LOSS_OPTIONS + LOSS_OPTIONS_AT_MOST
LINE = 64  # bytes


def aligned(size: int, dtype: Any) -> Array:
    """Zeros that start on a cache line, so that no vector of them lies on two."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size * np.dtype(dtype).itemsize].view(dtype)


def views(architecture: Architecture, flat: Array) -> dict[str, Array]:
    """A flat array's parts by `state_dict` name, in torch's shapes."""
    found: dict[str, Array] = {}
    offset = 0
    for i, (inputs, outputs) in enumerate(pairwise(architecture.sizes)):
        matrix = flat[offset : offset + outputs * (inputs + 1)].reshape(outputs, inputs + 1)
        found[f"layers.{i}.weight"], found[f"layers.{i}.bias"] = matrix[:, :-1], matrix[:, -1]
        offset += matrix.size
    for name in architecture.parameter_shapes():
        if name not in found:
            found[name] = flat[offset : offset + 1]
            offset += 1
    return {name: found[name] for name in architecture.parameter_shapes()}


class Buffer:
    """The stages of one pass over up to `capacity` samples, and where each lies; `numbers` are given room."""

    def __init__(self, architecture: Architecture, capacity: int, dtype: Any) -> None:
        self.architecture, self.capacity = architecture, capacity
        sizes, depth = architecture.sizes, architecture.depth
        self.table = np.zeros((depth, len(COLUMNS)), np.int64)
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
        """A view (n, features) of a stage."""
        row = self.table[layer]
        return self.piece(int(row[column]), int(row[OUTPUTS]), n)

    def piece(self, start: int, features: int, n: int) -> Array:
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
