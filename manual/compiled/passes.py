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
    BLAS_AT,
    DA,
    DH,
    DROPOUT,
    DROPS,
    DX,
    DZ,
    FRESH,
    INPUTS,
    L1,
    LOSS,
    MASK,
    MODE,
    NARROW,
    NEGATIVE_SLOPE,
    OPTIMIZER,
    OUTPUTS,
    PREDICT,
    ROW,
    SCRATCH,
    SLOPE,
    STEPS,
    SUM,
    TRACE,
    TRAIN,
    TURNED,
    WEIGHT,
    A,
    H,
    X,
    Y,
    Z,
)
from manual.compiled.losses import CROSS_ENTROPY, MULTI_MARGIN
from manual.compiled.memory import FASTMATH, at, gemm, loops, pointer
from manual.compiled.optimizers import update

N_BIT, T_BIT = ord("N"), ord("T")
# The arguments of `run`: int64, float64 or the network's dtype, and the number of axes.
ENTRY: tuple[tuple[str, int], ...] = (
    *(("i", 1), ("i", 2), ("f", 1)),  # spec, layers, numbers
    *(("T", 1), ("T", 1), ("i", 1), ("i", 1), ("f", 1), ("f", 1)),  # x, y, labels, indices, rates, uniforms
    *(("T", 1), ("T", 1), ("T", 1), ("T", 1), ("T", 1), ("i", 1), ("f", 1)),  # p, g, m, v, w, chosen, results
)


@loops
def forward(spec: Any, layers: Any, numbers: Any, p: Any, w: Any, n: int) -> None:
    """z = [W b] [a; 1], a = f(z), h = a · mask, layer by layer; the first layer reads x (n, in + 1)."""
    below, turned, stride = spec[X], T_BIT, layers[0, INPUTS] + 1
    if layers[0, INPUTS] <= NARROW:
        below, turned, stride = spec[TURNED], N_BIT, n
    for i in range(len(layers)):
        k, outputs, row = layers[i, INPUTS] + 1, layers[i, OUTPUTS], layers[i, ROW]
        weight, z = pointer(p, layers[i, WEIGHT]), pointer(w, layers[i, Z])
        gemm(spec[BLAS_AT], turned, N_BIT, n, outputs, k, pointer(w, below), stride, weight, k, z, n)
        slope = p[layers[i, SLOPE]] if row == PRELU else p.dtype.type(numbers[NEGATIVE_SLOPE])
        activate(row, w, layers[i, Z], layers[i, A], outputs, n, slope, spec[SCRATCH])
        below, turned, stride = layers[i, A], N_BIT, n
        if spec[DROPS] and i < len(layers) - 1:
            multiply(w, layers[i, A], layers[i, MASK], layers[i, H], outputs * n)
            below = layers[i, H]


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
) -> float:
    """The batch's loss, and dloss in the place of the last layer's dh."""
    T = w.dtype.type
    last = len(layers) - 1
    row, features, o, d = spec[LOSS], layers[last, OUTPUTS], layers[last, A], layers[last, DH]
    count = float(n) if row in (CROSS_ENTROPY, MULTI_MARGIN) else float(n * features)
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


# The same product for one output, which BLAS takes several times as long for
@loops
def weigh(w: Any, a_at: int, dz_at: int, g: Any, weight: int, k: int, n: int) -> None:
    """[dW db] of a single neuron: each input's dot product with dz over the samples."""
    dz = at(w, dz_at, n)
    for j in range(k):
        a, total = at(w, a_at + j * n, n), w.dtype.type(0)
        for r in range(n):
            total += dz[r] * a[r]
        g[weight + j] = total


# z = [W b] [a; 1], so [dW db] = dz [a; 1]ᵀ and da = Wᵀ dz
@loops
def backward(spec: Any, layers: Any, numbers: Any, p: Any, g: Any, w: Any, n: int) -> None:
    """All gradients, from dloss down; dx only in a trace."""
    blas = spec[BLAS_AT]
    for i in range(len(layers) - 1, -1, -1):
        inputs, outputs, row = layers[i, INPUTS], layers[i, OUTPUTS], layers[i, ROW]
        z, delta = layers[i, Z], layers[i, DH]
        if spec[DROPS] and i < len(layers) - 1:
            multiply(w, delta, layers[i, MASK], layers[i, DA], outputs * n)
            delta = layers[i, DA]
        slope = p.dtype.type(numbers[NEGATIVE_SLOPE])
        if row == PRELU:
            slope = p[layers[i, SLOPE]]
            g[layers[i, SLOPE]] = slope_gradient(w, delta, z, outputs * n)
        differentiate(row, w, delta, z, layers[i, A], layers[i, DZ], outputs, n, slope, spec[SCRATCH])
        k, dz, dw = inputs + 1, pointer(w, layers[i, DZ]), pointer(g, layers[i, WEIGHT])
        below, turned, stride, d_below = spec[X], N_BIT, k, spec[DX]
        if i > 0:
            below = layers[i - 1, H] if spec[DROPS] else layers[i - 1, A]
            turned, stride, d_below = T_BIT, n, layers[i - 1, DH]
        if outputs == 1 and i > 0:
            weigh(w, below, layers[i, DZ], g, layers[i, WEIGHT], k, n)
        else:
            gemm(blas, turned, N_BIT, k, outputs, n, pointer(w, below), stride, dz, n, dw, k)
        if i > 0 or spec[MODE] == TRACE:
            gemm(
                blas,
                N_BIT,
                T_BIT,
                n,
                inputs,
                outputs,
                dz,
                n,
                pointer(p, layers[i, WEIGHT]),
                k,
                pointer(w, d_below),
                n,
            )


@loops
def penalize(layers: Any, coefficient: float, p: Any, g: Any) -> float:
    """λ Σ |w| over the weights, whose gradient λ sign w is added to g; biases are left alone."""
    T = p.dtype.type
    scale, zero, total = T(coefficient), T(0), 0.0
    for i in range(len(layers)):
        inputs = layers[i, INPUTS]
        for j in range(layers[i, OUTPUTS]):
            start = layers[i, WEIGHT] + j * (inputs + 1)
            weight, gradient = at(p, start, inputs), at(g, start, inputs)
            for k in range(inputs):
                total += abs(weight[k])
                gradient[k] += scale if weight[k] > zero else (-scale if weight[k] < zero else zero)
    return coefficient * total


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
    ) -> int:
        """The number of batches that were gone through; `results` holds their losses, or the outputs."""
        sources  # noqa: B018  # numba keeps it among the names that the cached code stands for
        inputs, outputs = layers[0, INPUTS], layers[len(layers) - 1, OUTPUTS]
        size, done, drawn, filled = spec[BATCH_SIZE], 0, 0, 0
        for i in range(len(indices)):
            if indices[i] < 0 or (indices[i] + 1) * inputs > len(x):
                return -1
        for start in range(0, len(indices), size):
            n = min(size, len(indices) - start)
            if n != filled:
                ones(spec, layers, w, n)
                filled = n
            gather(spec, x, w, inputs, indices, start, n)
            if spec[MODE] == TRAIN and spec[DROPS]:
                drawn = draw(w, layers, uniforms, drawn, n, numbers[DROPOUT])
            forward(spec, layers, numbers, p, w, n)
            done += 1
            if spec[MODE] == PREDICT:
                o = layers[len(layers) - 1, A]
                for r in range(n):
                    for k in range(outputs):
                        results[(start + r) * outputs + k] = w[o + k * n + r]
                continue
            loss = loss_and_gradient(spec, layers, numbers, w, y, labels, chosen, indices, start, n)
            backward(spec, layers, numbers, p, g, w, n)
            if numbers[L1] != 0.0 and spec[MODE] == TRAIN:
                loss += penalize(layers, numbers[L1], p, g)
            results[done - 1] = loss
            if not math.isfinite(loss):
                break
            if spec[MODE] == TRAIN:
                step, fresh = spec[STEPS] + done, spec[FRESH] and done == 1
                update(spec[OPTIMIZER], numbers, rates[done - 1], step, fresh, p, g, m, v)
        return done

    options = {"fastmath": FASTMATH, "error_model": "numpy", "nogil": True}
    compiled: Callable[..., int]
    try:
        compiled = njit(cache=True, **options)(run)
    except RuntimeError:  # no folder to keep it in: neither beside these rooms nor the user's cache
        compiled = njit(**options)(run)
    return compiled
