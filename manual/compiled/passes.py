"""A pass over a batch: forward, the loss, and backward to every dz; then the gradients of a layer's rows.

What a thread does with its samples and what it does with its rows are told apart: between the two all
threads meet.
"""

from typing import Any

import numpy as np

from manual.compiled import layout as col
from manual.compiled import losses
from manual.compiled.activations import PRELU, activate, differentiate
from manual.compiled.batches import multiply
from manual.compiled.coupled import slope_terms
from manual.compiled.losses import CROSS_ENTROPY, MULTI_MARGIN
from manual.compiled.memory import at, loops, pointer
from manual.compiled.products import product, transpose
from manual.compiled.recipe import weigh
from manual.compiled.sums import row_sum

ONE, NEW = np.int64(1), np.bool_(False)  # of a type, where numbers in the text would be types of their own


@loops
def forward(spec: Any, layers: Any, numbers: Any, p: Any, w: Any, n: int) -> None:
    """z = [W b] [a; 1], a = f(z), h = a · mask, layer by layer; where nothing drops, a lies where h does."""
    for i in range(len(layers)):
        k, outputs, row = layers[i, col.INPUTS] + 1, layers[i, col.OUTPUTS], layers[i, col.ROW]
        weight, below = pointer(p, layers[i, col.WEIGHT]), pointer(w, layers[i, col.BELOW])
        z, a = layers[i, col.Z], layers[i, col.A if spec[col.DROPS] else col.H]
        product(weight, k, ONE, below, n, pointer(w, z), n, outputs, n, k, NEW)
        slope = p[layers[i, col.SLOPE]] if row == PRELU else p.dtype.type(numbers[col.NEGATIVE_SLOPE])
        activate(row, w, z, a, outputs, n, slope, spec[col.SCRATCH], layers[i, col.KEPT])
        if spec[col.DROPS] and i < len(layers) - 1:
            multiply(w, a, layers[i, col.MASK], layers[i, col.H], outputs * n)


@loops
def loss_and_gradient(
    spec: Any, layers: Any, numbers: Any, w: Any, y: Any, labels: Any, weights: Any, chosen: Any, rows: Any,
    start: int, n: int, count: float, terms: Any,
) -> None:  # fmt: skip
    """The terms of n samples of a batch, and dloss in the place of the last layer's dh, over `count`."""
    T = w.dtype.type
    last = len(layers) - 1
    row, features, o, d = spec[col.LOSS], layers[last, col.OUTPUTS], layers[last, col.A], layers[last, col.DH]
    scratch, over = spec[col.SCRATCH], T(1) if len(weights) > 0 else T(count)
    if len(labels) > 0:
        for r in range(n):
            chosen[r] = labels[rows[start + r]]
        if row == MULTI_MARGIN:
            losses.multi_margin(w, o, chosen, d, features, n, over, terms)
        else:
            losses.cross_entropy(w, o, chosen, d, features, n, over, scratch, terms)
    else:
        for r in range(n):
            source = at(y, rows[start + r] * features, features)
            for k in range(features):
                w[spec[col.Y] + k * n + r] = source[k]
        if row == CROSS_ENTROPY:
            losses.soft_cross_entropy(w, o, spec[col.Y], d, features, n, over, scratch, terms)
        else:
            options = at(numbers, col.LOSS_OPTIONS, col.LOSS_OPTIONS_AT_MOST)
            losses.of_entries(row, w, o, spec[col.Y], d, features, n, over, options, terms)
    if len(weights) > 0:
        weigh(w, d, features, n, terms, weights, rows, start, count, at(w, scratch, n))


# z = [W b] [a; 1], so da = Wᵀ dz
@loops
def backward(spec: Any, layers: Any, numbers: Any, p: Any, w: Any, n: int, terms: Any, size: int) -> None:
    """dz of every layer, from dloss down, and its input transposed; dx only in a trace.

    `terms` gets the terms of the slopes' gradients, those of a layer `size` after those of the one before.
    """
    for i in range(len(layers) - 1, -1, -1):
        inputs, outputs, row = layers[i, col.INPUTS], layers[i, col.OUTPUTS], layers[i, col.ROW]
        z, delta = layers[i, col.Z], layers[i, col.DH]
        if spec[col.DROPS] and i < len(layers) - 1:
            multiply(w, delta, layers[i, col.MASK], layers[i, col.DA], outputs * n)
            delta = layers[i, col.DA]
        slope = p.dtype.type(numbers[col.NEGATIVE_SLOPE])
        if row == PRELU:
            slope = p[layers[i, col.SLOPE]]
            slope_terms(w, delta, z, outputs, n, at(terms, i * size, n))
        a = layers[i, col.A if spec[col.DROPS] else col.H]
        dz, kept = layers[i, col.DZ], layers[i, col.KEPT]
        differentiate(row, w, delta, z, a, dz, outputs, n, slope, spec[col.SCRATCH], kept)
        if i > 0:
            transposed, stride = pointer(w, layers[i, col.TRANSPOSED]), layers[i, col.STRIDE]
            transpose(pointer(w, layers[i, col.BELOW]), n, transposed, stride, inputs, n)
        if i > 0 or spec[col.MODE] == col.TRACE:
            below = pointer(w, layers[i - 1, col.DH] if i > 0 else spec[col.DX])
            weight = pointer(p, layers[i, col.WEIGHT])
            product(weight, ONE, inputs + 1, pointer(w, dz), n, below, n, inputs, n, outputs, NEW)


# dW = dz aᵀ and db = dz 1
@loops
def gradient(spec: Any, layers: Any, i: int, w: Any, g: Any, low: int, high: int) -> None:
    """Of some rows of a layer, over all samples of a batch in their order, whichever thread had them."""
    threads, inputs, weight = spec[col.THREADS], layers[i, col.INPUTS], layers[i, col.WEIGHT]
    room, k, stride = len(w) // threads, inputs + 1, layers[i, col.STRIDE]
    to = pointer(g, weight + low * k)
    for thread in range(threads):
        first, n = spec[col.SHARES + thread], spec[col.SHARES + thread + 1] - spec[col.SHARES + thread]
        dz = pointer(w, thread * room + layers[i, col.DZ] + low * n)
        a = pointer(w, thread * room + layers[i, col.TRANSPOSED])
        if n > 0:
            product(dz, n, ONE, a, stride, to, k, high - low, inputs, n, first > 0)
    lanes = pointer(w, spec[col.THREAD] * room + spec[col.SCRATCH])
    for j in range(low, high):
        total = w.dtype.type(0)
        for thread in range(threads):
            first, n = spec[col.SHARES + thread], spec[col.SHARES + thread + 1] - spec[col.SHARES + thread]
            total = row_sum(lanes, pointer(w, thread * room + layers[i, col.DZ] + j * n), n, first > 0)
        g[weight + j * k + inputs] = total
