"""The compiled epoch: for each batch gather, forward, loss, backward, update; one function for all networks.

`run` is the one entry: what is trained, traced and predicted goes through the same loops.
"""

import math
from collections.abc import Callable
from typing import Any

from numba import njit

from manual.compiled import losses
from manual.compiled.activations import PRELU, activate, differentiate, slope_gradient
from manual.compiled.batches import draw, gather, multiply, ones
from manual.compiled.layout import (
    BATCH_SIZE,
    BELOW,
    CLIP_NORM,
    CLIP_VALUE,
    DA,
    DH,
    DROPOUT,
    DROPS,
    DX,
    DZ,
    FRESH,
    INPUTS,
    L1,
    L2,
    LOSS,
    MASK,
    MODE,
    NEGATIVE_SLOPE,
    OPTIMIZER,
    OUTPUTS,
    PREDICT,
    ROW,
    SCRATCH,
    SLOPE,
    STEPS,
    STRIDE,
    SUM,
    THREAD,
    THREADS,
    TRACE,
    TRAIN,
    TRANSPOSED,
    WEIGHT,
    YIELD,
    A,
    H,
    Y,
    Z,
)
from manual.compiled.losses import CROSS_ENTROPY, MULTI_MARGIN
from manual.compiled.memory import FASTMATH, at, loops, pointer
from manual.compiled.optimizers import update
from manual.compiled.products import product, transpose
from manual.compiled.recipe import clip, norm_of, penalize, squares, weighted_loss
from manual.compiled.threads import PIECE, SLOT, add_up, barrier, part

# The arguments of `run`: int64, float64 or the network's dtype, and the number of axes.
ENTRY: tuple[tuple[str, int], ...] = (
    *(("i", 1), ("i", 2), ("f", 1)),  # spec, layers, numbers
    *(("T", 1), ("T", 1), ("i", 1), ("f", 1), ("i", 1)),  # x, y, labels, weights, indices
    *(("f", 1), ("f", 1)),  # rates, uniforms
    *(("T", 1), ("T", 1), ("T", 1), ("T", 1), ("T", 1), ("i", 1), ("f", 1)),  # p, g, m, v, w, chosen, results
    *(("i", 1), ("f", 1)),  # arrivals, shares
)


@loops
def forward(spec: Any, layers: Any, numbers: Any, p: Any, w: Any, n: int) -> None:
    """z = [W b] [a; 1], a = f(z), h = a · mask, layer by layer; where nothing drops, a lies where h does."""
    for i in range(len(layers)):
        k, outputs, row = layers[i, INPUTS] + 1, layers[i, OUTPUTS], layers[i, ROW]
        weight, below, z = pointer(p, layers[i, WEIGHT]), pointer(w, layers[i, BELOW]), layers[i, Z]
        product(weight, k, 1, below, n, pointer(w, z), n, outputs, n, k)
        slope = p[layers[i, SLOPE]] if row == PRELU else p.dtype.type(numbers[NEGATIVE_SLOPE])
        activate(row, w, z, layers[i, A if spec[DROPS] else H], outputs, n, slope, spec[SCRATCH])
        if spec[DROPS] and i < len(layers) - 1:
            multiply(w, layers[i, A], layers[i, MASK], layers[i, H], outputs * n)


@loops
def loss_and_gradient(
    spec: Any,
    layers: Any,
    numbers: Any,
    w: Any,
    y: Any,
    labels: Any,
    chosen: Any,
    rows: Any,
    start: int,
    n: int,
    whole: int,
) -> float:
    """The loss of n samples of a whole batch, and dloss in the place of the last layer's dh."""
    T = w.dtype.type
    last = len(layers) - 1
    row, features, o, d = spec[LOSS], layers[last, OUTPUTS], layers[last, A], layers[last, DH]
    count = float(whole) if row in (CROSS_ENTROPY, MULTI_MARGIN) else float(whole * features)
    if numbers[SUM] != 0.0:
        count = 1.0
    if len(labels) > 0:
        for r in range(n):
            chosen[r] = labels[rows[start + r]]
        if row == MULTI_MARGIN:
            return losses.multi_margin(w, o, chosen, d, features, n, T(count)) / count
        return losses.cross_entropy(w, o, chosen, d, features, n, T(count), spec[SCRATCH]) / count
    for r in range(n):
        source = at(y, rows[start + r] * features, features)
        for k in range(features):
            w[spec[Y] + k * n + r] = source[k]
    if row == CROSS_ENTROPY:
        return losses.soft_cross_entropy(w, o, spec[Y], d, features, n, T(count), spec[SCRATCH]) / count
    return losses.elementwise(row, w, o, spec[Y], d, features * n, T(count)) / count


# z = [W b] [a; 1], so dW = dz aᵀ, db = dz 1 and da = Wᵀ dz
@loops
def backward(spec: Any, layers: Any, numbers: Any, p: Any, g: Any, w: Any, n: int) -> None:
    """All gradients, from dloss down; dx only in a trace."""
    for i in range(len(layers) - 1, -1, -1):
        inputs, outputs, row = layers[i, INPUTS], layers[i, OUTPUTS], layers[i, ROW]
        k, weight, z, delta = inputs + 1, layers[i, WEIGHT], layers[i, Z], layers[i, DH]
        if spec[DROPS] and i < len(layers) - 1:
            multiply(w, delta, layers[i, MASK], layers[i, DA], outputs * n)
            delta = layers[i, DA]
        slope = p.dtype.type(numbers[NEGATIVE_SLOPE])
        if row == PRELU:
            slope = p[layers[i, SLOPE]]
            g[layers[i, SLOPE]] = slope_gradient(w, delta, z, outputs * n)
        a = layers[i, A if spec[DROPS] else H]
        differentiate(row, w, delta, z, a, layers[i, DZ], outputs, n, slope, spec[SCRATCH])
        dz, transposed = pointer(w, layers[i, DZ]), pointer(w, layers[i, TRANSPOSED])
        stride = layers[i, STRIDE]
        if i > 0:
            transpose(pointer(w, layers[i, BELOW]), n, transposed, stride, inputs, n)
        product(dz, n, 1, transposed, stride, pointer(g, weight), k, outputs, inputs, n)
        for j in range(outputs):
            of_neuron, total = at(w, layers[i, DZ] + j * n, n), w.dtype.type(0)
            for r in range(n):
                total += of_neuron[r]
            g[weight + j * k + inputs] = total
        if i > 0 or spec[MODE] == TRACE:
            d_below = pointer(w, layers[i - 1, DH] if i > 0 else spec[DX])
            product(pointer(p, weight), 1, k, dz, n, d_below, n, inputs, n, outputs)


def entry(sources: str) -> Callable[..., int]:
    """`run`, compiled at its first call for a dtype and kept on disk under the hash of these rooms.

    Numba looks for changes in the file of the function alone; what a function closes over belongs to
    the name that its code is kept under, and so these rooms' `sources` do.
    """

    def run(
        spec: Any,
        layers: Any,
        numbers: Any,
        x: Any,
        y: Any,
        labels: Any,
        weights: Any,
        indices: Any,
        rates: Any,
        uniforms: Any,
        p: Any,
        g: Any,
        m: Any,
        v: Any,
        w: Any,
        chosen: Any,
        results: Any,
        arrivals: Any,
        shares: Any,
    ) -> int:
        """The number of batches that were gone through; `results` holds their losses, or the outputs.

        One thread of several goes through its share of each batch; `g` has room for all their gradients.
        """
        sources  # noqa: B018  # numba keeps it among the names that the cached code stands for
        inputs, outputs = layers[0, INPUTS], layers[len(layers) - 1, OUTPUTS]
        size, done, drawn, filled, barriers = spec[BATCH_SIZE], 0, 0, 0, 0
        thread, threads, room = spec[THREAD], spec[THREADS], len(g) // spec[THREADS]
        mine, (low, high) = at(g, thread * room, room), part(len(p), thread, threads)
        for i in range(len(indices)):
            if indices[i] < 0 or (indices[i] + 1) * inputs > len(x):
                return -1
        for begin in range(0, len(indices), size):
            whole = min(size, len(indices) - begin)
            first = whole * thread // threads
            start, n = begin + first, whole * (thread + 1) // threads - first
            if n != filled:
                ones(layers, w, n)
                filled = n
            gather(layers, x, w, indices, start, n)
            if spec[MODE] == TRAIN and spec[DROPS]:
                drawn = draw(w, layers, uniforms, drawn, whole, first, n, numbers[DROPOUT])
            done += 1
            if n > 0:
                forward(spec, layers, numbers, p, w, n)
            if spec[MODE] == PREDICT:
                o = layers[len(layers) - 1, A]
                for r in range(n):
                    for k in range(outputs):
                        results[(start + r) * outputs + k] = w[o + k * n + r]
                continue
            loss = 0.0
            if n > 0:
                if len(weights) > 0:
                    targets = y, labels, weights, chosen, indices
                    loss = weighted_loss(spec, layers, numbers, w, *targets, begin, first, n, whole)
                else:
                    loss = loss_and_gradient(
                        spec, layers, numbers, w, y, labels, chosen, indices, start, n, whole
                    )
                backward(spec, layers, numbers, p, mine, w, n)
            else:
                mine[:] = w.dtype.type(0)
            if (numbers[L1] != 0.0 or numbers[L2] != 0.0) and thread == 0:
                loss += penalize(layers, numbers[L1], numbers[L2], p, mine)
            if threads > 1:
                shares[thread * SLOT] = loss
                barriers += 1
                barrier(arrivals, barriers, thread, threads, spec[YIELD])
                loss = 0.0
                for other in range(threads):
                    loss += shares[other * SLOT]
            if thread == 0:
                results[done - 1] = loss
            if spec[MODE] == TRAIN and not math.isfinite(loss):
                break
            step, fresh = spec[STEPS] + done, spec[FRESH] and done == 1
            if spec[MODE] == TRAIN and (numbers[CLIP_NORM] != 0.0 or numbers[CLIP_VALUE] != 0.0):
                add_up(g, room, threads, low, high - low)
                own, norm = at(g, low, high - low), 0.0
                if numbers[CLIP_NORM] != 0.0:
                    shares[thread * SLOT + 1] = squares(own)
                    if threads > 1:
                        barriers += 1
                        barrier(arrivals, barriers, thread, threads, spec[YIELD])
                    norm = norm_of(shares, threads, SLOT)
                clip(own, norm, numbers[CLIP_NORM], numbers[CLIP_VALUE])
                moments = at(m, low, high - low), at(v, low, high - low)
                theta = at(p, low, high - low)
                update(spec[OPTIMIZER], numbers, rates[done - 1], step, fresh, theta, own, *moments)
                if threads > 1:
                    barriers += 1
                    barrier(arrivals, barriers, thread, threads, spec[YIELD])
                continue
            piece = PIECE if threads > 1 else high  # what was added up is used before it leaves the cache
            for at_once in range(low, high, piece):
                count = min(piece, high - at_once)
                add_up(g, room, threads, at_once, count)
                if spec[MODE] == TRAIN:
                    theta, gradient = at(p, at_once, count), at(g, at_once, count)
                    moments = at(m, at_once, count), at(v, at_once, count)
                    update(spec[OPTIMIZER], numbers, rates[done - 1], step, fresh, theta, gradient, *moments)
            if threads > 1:
                barriers += 1
                barrier(arrivals, barriers, thread, threads, spec[YIELD])
        return done

    options = {"fastmath": FASTMATH, "error_model": "numpy", "nogil": True}
    compiled: Callable[..., int]
    try:
        compiled = njit(cache=True, **options)(run)
    except RuntimeError:  # no folder to keep it in: neither beside these rooms nor the user's cache
        compiled = njit(**options)(run)
    return compiled
