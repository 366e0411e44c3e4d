"""The shape of an activation from its truth: sup |f′| and sup |f″| by branch and bound, jumps at kinks."""

import heapq
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from flint import arb, ctx

from manual.numbers import Array
from mlp_torch.verify.bounds import Shape
from mlp_torch.verify.derived.jets import upper, ways
from mlp_torch.verify.enclosure import proven

CLOSE = 1.02  # a supremum is found when no piece may hold more than so much of what was seen
PIECES = 3000  # and given up where it stands, still an upper bound, after so many evaluations
SIDE = 2.0**-60  # of a kink

Truth = Callable[[Any], Any]


def _ball(low: float, high: float) -> Any:
    return arb((low + high) / 2, (high - low) / 2 * (1 + 2.0**-50))


def _supremum(size: Callable[[Any], float], pieces: Sequence[tuple[float, float]]) -> float:
    """sup of |size| over pieces, from above: the piece that may hold the most is halved first."""
    queue = [(-size(_ball(*piece)), piece) for piece in pieces]
    heapq.heapify(queue)
    seen, spent = 0.0, len(queue)
    while True:
        top, (low, high) = queue[0]
        middle = (low + high) / 2
        seen = max(seen, size(arb(middle)))
        if -top <= CLOSE * seen or spent > PIECES or not low < middle < high:
            return -top
        heapq.heappop(queue)
        for piece in ((low, middle), (middle, high)):
            heapq.heappush(queue, (-size(_ball(*piece)), piece))
        spent += 2


def _largest(truth: Truth, order: int, ball: Any) -> float:
    """f′ or f″ on a ball, at most, along every way through the truth."""
    return max(upper(way[order]) for way in ways(truth, ball))


@cache
def shape_of(truth: Truth, kinks: tuple[float, ...], power: int) -> Shape:
    """Upper bounds that hold for |z| ≤ 2^power; infinite where the truth has no ball.

    Raises AttributeError for a function of flint's whose slope `jets.py` does not know.
    """
    before, ctx.prec = ctx.prec, 128 + 2 * max(power, 0)
    try:
        edges = [0.0, *(2.0**k for k in range(-2, power + 1))]
        pieces = [*pairwise(edges)]
        pieces += [(-b, -a) for a, b in pieces]
        slope, curvature = (_supremum(partial(_largest, truth, order), pieces) for order in (1, 2))
        value, jump = 0.0, 0.0
        for kink in kinks:
            sides = ways(truth, arb(kink, SIDE))
            jump = max(jump, *(upper(p[1] - q[1]) for p in sides for q in sides))
            value = max(value, *(upper(p[0] - q[0]) for p in sides for q in sides))
        return Shape(slope, curvature, jump, value)
    finally:
        ctx.prec = before


def variation(
    truth: Callable[[Any, Any], Any], output: Array, y: Array, e: Array, jumps: bool
) -> tuple[Array, Array]:
    """How far ℓ′ of each entry may move where ŷ errs by e, and which entries reach over an edge of the truth.

    Over an edge every side counts where there are `jumps`, else the entry's own.
    """
    moved, near = np.zeros(e.shape), np.zeros(e.shape, dtype=bool)
    with proven():
        for index in np.ndindex(e.shape):
            if not np.isfinite(e[index]):
                moved[index] = np.inf
            if not 0 < e[index] < np.inf:
                continue
            target = arb(float(y[index]))
            pair = partial(_swapped, truth, target)
            _, here = truth(arb(float(output[index])), target)
            sides = [upper(d - here) for _, d, _ in ways(pair, arb(float(output[index]), float(e[index])))]
            moved[index], near[index] = max(sides) if jumps else min(sides), len(sides) > 1
    return moved, near


def _swapped(truth: Callable[[Any, Any], Any], y: Any, output: Any) -> Any:
    return truth(output, y)
