"""The compiled epoch: for each batch gather, forward, loss, backward, update; one function for all networks.

`run` is the one entry: what is trained, traced and predicted goes through the same loops.
"""

import math
from collections.abc import Callable
from typing import Any

from numba import njit

from manual.compiled import layout as col
from manual.compiled.activations import PRELU
from manual.compiled.batches import draw, gather, ones
from manual.compiled.memory import OPTIONS, at, loops, pointer, root, unowned
from manual.compiled.optimizers import update
from manual.compiled.passes import backward, forward, gradient, loss_and_gradient
from manual.compiled.recipe import clip, divisor, penalize, penalties, squares
from manual.compiled.sums import LANES, row_sum
from manual.compiled.threads import AT_ONCE, barrier, parameters_of, rows_of, samples

# The arguments of `run`: int64, float64 or the network's dtype, and the number of axes.
ENTRY: tuple[tuple[str, int], ...] = (
    *(("i", 1), ("i", 2), ("f", 1)),  # spec, layers, numbers
    *(("T", 1), ("T", 1), ("i", 1), ("f", 1), ("i", 1)),  # x, y, labels, weights, indices
    *(("f", 1), ("f", 1)),  # rates, uniforms
    *(("T", 1), ("T", 1), ("T", 1), ("T", 1), ("T", 1), ("i", 1), ("f", 1)),  # p, g, m, v, w, chosen, results
    *(("i", 1), ("f", 1)),  # arrivals, sums
)


@loops
def all_penalties(spec: Any, layers: Any, numbers: Any, p: Any, of_rows: Any, lanes: Any) -> None:
    """Those of the thread's rows."""
    base, l1, l2 = 0, numbers[col.L1], numbers[col.L2]
    for i in range(len(layers)):
        outputs = layers[i, col.OUTPUTS]
        low, high = rows_of(outputs, spec[col.THREAD], spec[col.THREADS])
        penalties(layers, i, l1, l2, p, low, high, at(of_rows, base, outputs), lanes)
        base += outputs


@loops
def renew(
    spec: Any, numbers: Any, rate: float, step: int, fresh: bool, p: Any, g: Any, m: Any, v: Any,
    start: int, count: int,
) -> None:  # fmt: skip
    """The parameters `start` … `start` + `count` − 1 by their gradients."""
    theta, own, moments = at(p, start, count), at(g, start, count), (at(m, start, count), at(v, start, count))
    update(spec[col.OPTIMIZER], numbers, rate, step, fresh, theta, own, *moments)


@loops
def learn(
    spec: Any, layers: Any, numbers: Any, rate: float, step: int, fresh: bool, p: Any, g: Any, m: Any, v: Any,
    w: Any, terms: Any, of_rows: Any, lanes: Any, whole: int, at_once: bool, norms: bool,
) -> None:  # fmt: skip
    """The gradients of the thread's rows, and with `at_once` their update."""
    thread, threads, size = spec[col.THREAD], spec[col.THREADS], spec[col.BATCH_SIZE]
    base, depth, l1, l2 = 0, len(layers), numbers[col.L1], numbers[col.L2]
    for i in range(depth):
        low, high = rows_of(layers[i, col.OUTPUTS], thread, threads)
        k, weight = layers[i, col.INPUTS] + 1, layers[i, col.WEIGHT]
        piece = AT_ONCE if at_once else max(1, high)
        for top in range(low, high, piece):
            until = min(high, top + piece)
            gradient(spec, layers, i, w, g, top, until)
            if l1 != 0.0 or l2 != 0.0:
                penalize(layers, i, l1, l2, p, g, top, until)
            if at_once:
                renew(spec, numbers, rate, step, fresh, p, g, m, v, weight + top * k, (until - top) * k)
        if norms:
            squares(layers, i, g, low, high, at(of_rows, base, layers[i, col.OUTPUTS]), lanes)
        base += layers[i, col.OUTPUTS]
        if layers[i, col.ROW] == PRELU and thread == 0:
            slope = row_sum(pointer(lanes, 0), pointer(terms, (1 + i) * size), whole, False)
            g[layers[i, col.SLOPE]] = slope
            of_rows[len(of_rows) - depth + i] = slope * slope


@loops
def batches(
    spec: Any, layers: Any, numbers: Any, x: Any, y: Any, labels: Any, weights: Any, indices: Any,
    rates: Any, uniforms: Any, p: Any, g: Any, m: Any, v: Any, w: Any, chosen: Any, results: Any,
    arrivals: Any, sums: Any,
) -> int:  # fmt: skip
    """The number of batches that were gone through; `results` holds their losses, or the outputs.

    Each output of a prediction is followed by its term of the loss, where there are targets. One thread of
    several goes through its share of each batch; `w` has room for all their stages.
    """
    inputs, outputs, depth = layers[0, col.INPUTS], layers[len(layers) - 1, col.OUTPUTS], len(layers)
    size, done, drawn, filled, barriers, rows = spec[col.BATCH_SIZE], 0, 0, 0, 0, depth
    thread, threads, room = spec[col.THREAD], spec[col.THREADS], len(w) // spec[col.THREADS]
    trains, penalized = spec[col.MODE] == col.TRAIN, numbers[col.L1] != 0.0 or numbers[col.L2] != 0.0
    norms, bounds = trains and numbers[col.CLIP_NORM] != 0.0, trains and numbers[col.CLIP_VALUE] != 0.0
    at_once = trains and threads > 1 and not (norms or bounds)
    for i in range(depth):
        rows += layers[i, col.OUTPUTS]
    mine, lanes = at(w, thread * room, room), at(sums, len(sums) - LANES * (threads - thread), LANES)
    terms = at(sums, 0, size * (1 + depth))
    penalty, square = at(sums, size * (1 + depth), rows), at(sums, size * (1 + depth) + rows, rows)
    for i in range(len(indices)):
        if indices[i] < 0 or (indices[i] + 1) * inputs > len(x):
            return -1
    for begin in range(0, len(indices), size):
        whole = min(size, len(indices) - begin)
        if whole != filled:
            for other in range(threads):
                spec[col.SHARES + other], spec[col.SHARES + other + 1] = samples(whole, other, threads)
            ones(layers, mine, spec[col.SHARES + thread + 1] - spec[col.SHARES + thread])
            filled = whole
        first, n = spec[col.SHARES + thread], spec[col.SHARES + thread + 1] - spec[col.SHARES + thread]
        start = begin + first
        gather(layers, x, mine, indices, start, n)
        if trains and spec[col.DROPS]:
            drawn = draw(mine, layers, uniforms, drawn, whole, first, n, numbers[col.DROPOUT])
        done += 1
        if n > 0:
            forward(spec, layers, numbers, p, mine, n)
        targets, of_loss = (y, labels, weights, chosen, indices), at(terms, first, n)
        if spec[col.MODE] == col.PREDICT:
            o, judged = layers[depth - 1, col.A], len(y) + len(labels) > 0
            if judged and n > 0:
                loss_and_gradient(spec, layers, numbers, mine, *targets, start, n, 1.0, of_loss)
            for r in range(n):
                row = at(results, (start + r) * (outputs + judged), outputs + judged)
                for k in range(outputs):
                    row[k] = mine[o + k * n + r]
                if judged:
                    row[outputs] = of_loss[r]
            continue
        count = divisor(spec, layers, numbers, weights, indices, begin, whole)
        if n > 0:
            of_slopes = depth * size - first
            loss_and_gradient(spec, layers, numbers, mine, *targets, start, n, count, of_loss)
            backward(spec, layers, numbers, p, mine, n, at(terms, size + first, of_slopes), size)
        if penalized:
            all_penalties(spec, layers, numbers, p, penalty, lanes)
        if threads > 1:
            barriers += 1
            barrier(arrivals, barriers, thread, threads, spec[col.YIELD])
        loss = row_sum(pointer(lanes, 0), pointer(terms, 0), whole, False) / count
        if penalized:
            loss += row_sum(pointer(lanes, 0), pointer(penalty, 0), rows, False)
        if thread == 0:
            results[done - 1] = loss
        if trains and not math.isfinite(loss):
            break
        rate, fresh = rates[done - 1] if trains else 0.0, spec[col.FRESH] and done == 1
        pace = rate, spec[col.STEPS] + done, fresh
        learn(spec, layers, numbers, *pace, p, g, m, v, w, terms, square, lanes, whole, at_once, norms)
        norm = 0.0
        if norms:
            if threads > 1:
                barriers += 1
                barrier(arrivals, barriers, thread, threads, spec[col.YIELD])
            norm = root(row_sum(pointer(lanes, 0), pointer(square, 0), rows, False))
        if trains:
            for i in range(depth if at_once else 0, 1 if threads == 1 else depth + 1):
                low, many = parameters_of(layers, i, thread, threads, len(p))
                if norms or bounds:
                    clip(at(g, low, many), norm, numbers[col.CLIP_NORM], numbers[col.CLIP_VALUE])
                renew(spec, numbers, *pace, p, g, m, v, low, many)
        if threads > 1:
            barriers += 1
            barrier(arrivals, barriers, thread, threads, spec[col.YIELD])
    return done


def entry(sources: str) -> Callable[..., int]:
    """`run`, compiled at its first call for a dtype and kept on disk under the hash of these rooms.

    Numba looks for changes in the file of the function alone; what a function closes over belongs to
    the name that its code is kept under, and so these rooms' `sources` do.
    """

    def run(
        spec: Any, layers: Any, numbers: Any, x: Any, y: Any, labels: Any, weights: Any, indices: Any,
        rates: Any, uniforms: Any, p: Any, g: Any, m: Any, v: Any, w: Any, chosen: Any, results: Any,
        arrivals: Any, sums: Any,
    ) -> int:  # fmt: skip
        sources  # noqa: B018  # numba keeps it among the names that the cached code stands for
        setting = unowned(spec), unowned(layers), unowned(numbers)
        data = unowned(x), unowned(y), unowned(labels), unowned(weights), unowned(indices)
        along = unowned(rates), unowned(uniforms)
        network = unowned(p), unowned(g), unowned(m), unowned(v)
        places = unowned(w), unowned(chosen), unowned(results), unowned(arrivals), unowned(sums)
        return batches(*setting, *data, *along, *network, *places)

    compiled: Callable[..., int]
    try:
        compiled = njit(cache=True, **OPTIONS)(run)
    except RuntimeError:  # no folder to keep it in: neither beside these rooms nor the user's cache
        compiled = njit(**OPTIONS)(run)
    return compiled
