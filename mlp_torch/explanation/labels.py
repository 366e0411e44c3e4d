"""Where the number of an edge stands: on its own edge, off the other edges, the units and the other numbers.

All in pixels. A label is a box around its point; the clearance of something else is how many half boxes
away it lies, 1 where it touches. What comes nearer than `WANTED` costs; each label in turn takes the place
on its edge that costs least, until none moves.
"""

from collections.abc import Sequence

import numpy as np

from manual.numbers import Array

SHARES = np.array([0.5, *(0.5 + s * d for d in np.linspace(0.03, 0.3, 10) for s in (1, -1))])
WANTED, ROUNDS = 1.3, 8
CHARACTER, HEIGHT = 3.4, 8.0  # half of a digit's width, and half of a label's height
UNIT = 20.0  # radius of a unit
PRICES = {"label": 6.0, "edge": 1.0, "unit": 6.0}


def place(edges: Array, texts: Sequence[str | None], units: Array) -> list[Array | None]:
    """The point of each text on its edge; edges (n, 2, 2) from start to end, units (m, 2), None: no text."""
    along = edges[:, :1] + SHARES[:, None] * (edges[:, 1:] - edges[:, :1])
    fine = edges[:, :1] + np.linspace(0, 1, 60)[:, None] * (edges[:, 1:] - edges[:, :1])
    boxes = [np.array([CHARACTER * len(text) + 2, HEIGHT]) for text in map(str, texts)]
    labelled = [i for i, text in enumerate(texts) if text is not None]
    fixed = {i: _fixed(i, along[i], boxes[i], fine, units) for i in labelled}
    chosen = {i: int(np.argmin(fixed[i])) for i in labelled}
    for _ in range(ROUNDS):
        before = dict(chosen)
        for i in labelled:
            cost = fixed[i].copy()
            for j in labelled:
                if j != i:
                    gap = np.abs(along[i] - along[j][chosen[j]]) / (boxes[i] + boxes[j])
                    cost += PRICES["label"] * _short(gap.max(axis=-1))
            chosen[i] = int(np.argmin(cost))
        if chosen == before:
            break
    return [along[i][chosen[i]] if i in chosen else None for i in range(len(edges))]


def _fixed(i: int, points: Array, box: Array, fine: Array, units: Array) -> Array:
    """What each point of an edge costs for the other edges, the units, its distance from the middle."""
    cost = 0.1 * np.abs(SHARES - 0.5)
    for j, other in enumerate(fine):
        if j != i:
            gap = (np.abs(points[:, None] - other) / box).max(axis=-1).min(axis=-1)
            cost = cost + PRICES["edge"] * _short(gap)
    for unit in units:
        gap = (np.abs(points - unit) / (box + UNIT)).max(axis=-1)
        cost = cost + PRICES["unit"] * _short(gap)
    return cost


def _short(clearance: Array) -> Array:
    """How much is missing to the clearance that is wanted; what touches costs more than twice as much."""
    missing = np.maximum(0, WANTED - clearance)
    return missing + 2 * np.maximum(0, 1 - clearance)
