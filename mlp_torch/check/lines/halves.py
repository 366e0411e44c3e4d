"""Two edits of which neither mends alone: to first order their sum is what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.sensitivity import NEAR
from mlp_torch.check.lines.trials import Attempt

MOST = 24  # pairs that are run
MOST_EDITS = 30_000


@dataclass(frozen=True, eq=False)
class Half:
    """An edit of the root `number`, and how far it moves each wrong gradient; `size`: before it cancels."""

    number: int
    attempt: Attempt
    moved: Array
    size: Array

    @property
    def moves(self) -> Array:
        found: Array = np.abs(self.moved) > NEAR * self.size
        return found


def pairs(halves: Sequence[Half], gaps: Array) -> list[tuple[Half, Half]]:
    """The pairs that close all gaps and move a gradient both, the cheapest first."""
    halves = sorted(halves, key=lambda h: h.attempt.edit.cost)[:MOST_EDITS]
    if len(halves) < 2 or not gaps.all():
        return []
    moved, size = (np.array([getattr(h, name) for h in halves]) / np.abs(gaps) for name in ("moved", "size"))
    along = np.random.default_rng(0).normal(size=len(gaps))
    slope, wanted = moved @ along, float(np.sign(gaps) @ along)
    far = 10 * NEAR * (1 + size @ np.abs(along))
    order = np.argsort(slope)
    low = np.searchsorted(slope[order], wanted - slope - far)
    high = np.searchsorted(slope[order], wanted - slope + far)
    found = []
    for i in np.flatnonzero(high > low):
        for j in order[low[i] : high[i]]:
            a, b = halves[i], halves[j]
            off = np.abs(a.moved + b.moved - gaps) > NEAR * (a.size + b.size + np.abs(gaps))
            if i < j and a.number != b.number and not off.any() and (a.moves & b.moves).any():
                found.append((a, b))
    found.sort(key=lambda pair: pair[0].attempt.edit.cost + pair[1].attempt.edit.cost)
    return found[:MOST]
