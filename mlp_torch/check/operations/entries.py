"""Single entries: whether one that is off by more than its rounding is off wherever it is looked at.

Rounding falls to either side as inputs and upstream change; a slip does not. A factor is off in the direction
of the true entry, a constant in its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations.calls import RaisedError, Side
from mlp_torch.check.operations.floor import Floor, nudged
from mlp_torch.check.operations.standard import Standard, standard
from mlp_torch.check.operations.tensors import raised
from mlp_torch.check.report import length

# points, and how far each input is moved there: what saturates (1 − y² near y = 1) rounds to one side as long
# as it is near
NEAR, FAR = (40, 0.1), (8, 0.5)
# by array: the side that each entry is off on, and that side times the true entry's sign; 0 where it is not
Sides = dict[str, tuple[Array, Array]]
Look = Callable[[int, float], Mapping[str, tuple[Array, Array]]]


def persistent(
    author: Side, truth: Standard, floor: Floor, hand: Mapping[str, Array], values: Sequence[Any]
) -> dict[str, Array]:
    """The entries that are off, and on the same side at every point: that is no rounding."""
    doubtful = {n: floor.doubtful(n, hand[n], t) for n, t in truth.true.items()}
    sides = {
        n: _sides(np.where(apart, np.sign(hand[n] - truth.true[n]), 0), truth.true[n])
        for n, (apart, _) in doubtful.items() if apart.any()
    }  # fmt: skip

    def look(seed: int, away: float) -> dict[str, tuple[Array, Array]]:
        return _elsewhere(author, truth, floor.unit, list(sides), values, seed, away)

    near = _kept(sides, truth.true, look, *NEAR)
    slight = {n: tuple(np.where(doubtful[n][1], side, 0) for side in both) for n, both in near.items()}
    far = _kept({n: (a, b) for n, (a, b) in slight.items()}, truth.true, look, *FAR)
    found = {n: _any(near[n]) & (~doubtful[n][1] | _any(far[n])) for n in sides}
    return {n: mask for n, mask in found.items() if mask.any()}


def _sides(gap: Array, t: Array) -> tuple[Array, Array]:
    return gap, gap * np.sign(t)


def _any(both: tuple[Array, Array]) -> Array:
    return np.asarray((both[0] != 0) | (both[1] != 0))


def _kept(sides: Sides, true: Mapping[str, Array], look: Look, points: int, away: float) -> Sides:
    """What stays on its side at all points, half of which can be looked at.

    A factor shows only where the true entry is half as large as here, or as most.
    """
    least = {n: np.minimum(np.abs(true[n]), length(true[n]) / true[n].size ** 0.5) / 2 for n in sides}
    seen = {n: np.zeros(true[n].shape) for n in sides}
    for seed in range(1, points + 1):
        if not any(_any(both).any() for both in sides.values()):
            break
        for n, (h, t) in look(seed, away).items():
            (a, b), (gap, along) = sides[n], _sides(h, t)
            large = np.abs(t) >= least[n]
            seen[n] += large
            sides[n] = np.where(a == gap, a, 0), np.where((b == along) | ~large, b, 0)
    return {
        n: (np.where(2 * seen[n] >= points, a, 0), np.where(2 * seen[n] >= points, b, 0))
        for n, (a, b) in sides.items()
    }


def _elsewhere(
    author: Side, truth: Standard, unit: float, names: Sequence[str], values: Sequence[Any], seed: int,
    away: float,
) -> dict[str, tuple[Array, Array]]:  # fmt: skip
    """(the side of what is more than a unit, the true entries) at another point, {} outside of the domain."""
    generator = torch.Generator().manual_seed(seed)
    moved = set(truth.wanted) - (truth.fixed or set())
    others = [
        nudged(raised(v), away, generator).to(v.dtype) if i in moved else v for i, v in enumerate(values)
    ]
    try:
        there = standard(truth.side, others, truth.wanted, seed=seed)
        graph = author.forward(others, truth.wanted)
        hand = author.gradients(graph, there.upstream(graph))
    except (RaisedError, ValueError):  # the latter: outputs of another number
        return {}
    found = {}
    for n in names:
        h, t = hand[n], there.true[n]
        if h.shape != t.shape or t.shape != truth.true[n].shape or not np.isfinite(t).all():
            return {}
        found[n] = np.where(np.abs(h - t) > unit * np.abs(t), np.sign(h - t), 0), t
    return found
