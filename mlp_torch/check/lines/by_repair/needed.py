"""The value that a place needs for the gradients to be right, where no true gradient stands for it.

The gradients are affine in most values of a backward pass: h(v) = h₀ + J (v − v₀), so v* = v₀ + J⁺ (t − h₀).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.candidates import PARAMETER, Candidate
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.repairs import TINY, Hit, Repairs

MOST_ENTRIES = 48  # whose Jacobian is made one by one
Moved = Callable[[Array], Array | None]  # how the gradients move when a value is put there
FULL_RANK = 1e-9  # relative: below, many values would do, and none is needed


@dataclass(frozen=True)
class Needed(Candidate):
    """What a site needs on the first draw; `where` is one event."""

    wanted: dict[At, Array] = field(default_factory=dict, hash=False, compare=False)

    def arrays(self, draw: Draw) -> dict[At, Array] | None:
        return self.wanted


def needed(repairs: Repairs, places: Sequence[tuple[str, int]], arrays: frozenset[str]) -> list[Hit]:
    """A hit for each place whose value can be solved for: proof of nothing, but what an edit has to give."""
    found = []
    for place in places:
        if time.monotonic() > repairs.deadline:
            break
        for number in _sites(repairs, place):
            v = _solved(repairs, number, arrays)
            if v is None:
                continue
            at = (number, repairs.draw.backward(number)[0])
            order = repairs.draw.order[at]
            found.append(Hit(Needed(number, "all", PARAMETER, wanted={at: v}), arrays, order, order))
            break
    return found


def _sites(repairs: Repairs, place: tuple[str, int]) -> list[int]:
    """What the statement on a line gives, once, in the backward pass."""
    draw, sites = repairs.draw, repairs.sites
    return [
        n for n in draw.values
        if (sites[n].file, sites[n].statement) == place and sites[n].assigned and sites[n].kind != "argument"
        and len(draw.backward(n)) == 1
    ]  # fmt: skip


def _solved(repairs: Repairs, site: int, arrays: frozenset[str]) -> Array | None:
    """v* where one alone makes `arrays` right and spoils nothing."""
    draw = repairs.draw
    k = draw.backward(site)[0]
    v = draw.values[site][k]
    base = repairs.replaced(draw, [])
    if base is None or not v.size or not _fits(base, draw, arrays):
        return None
    missing = np.concatenate([(draw.true[n] - base[n]).ravel() for n in sorted(arrays)])
    size = float(np.abs(v).max())
    size = size if size > TINY else 1.0

    def moved(w: Array) -> Array | None:
        hand = repairs.run(draw, {(site, k): w})
        if hand is None or not _fits(hand, draw, arrays):
            return None
        return np.concatenate([(hand[n] - base[n]).ravel() for n in sorted(arrays)])

    for step in (_by_entry, _by_columns):
        found = step(v, size, moved, missing, [draw.true[n].shape for n in sorted(arrays)])
        if found is None:
            continue
        hand = repairs.run(draw, {(site, k): v + found})
        if hand is not None and draw.mends(hand) >= arrays:
            return v + found
    return None


def _fits(hand: dict[str, Array], draw: Draw, arrays: frozenset[str]) -> bool:
    return all(hand[n].shape == draw.true[n].shape and np.isfinite(hand[n]).all() for n in arrays)


def _by_entry(
    v: Array, size: float, moved: Moved, missing: Array, shapes: Sequence[tuple[int, ...]]
) -> Array | None:
    """One array of which each entry depends on one of v: two runs do."""
    if len(shapes) != 1:
        return None
    try:
        if np.broadcast_shapes(v.shape, shapes[0]) != shapes[0]:
            return None
    except ValueError:
        return None
    slope = moved(v + size)
    if slope is None:
        return None
    b, gap = (x.reshape(shapes[0]) for x in (slope / size, missing))
    square, along = _onto(b * b, v.shape), _onto(b * gap, v.shape)
    if not (square > FULL_RANK * square.max(initial=0.0)).all():
        return None
    return along / square


def _onto(a: Array, shape: tuple[int, ...]) -> Array:
    """Summed over what was broadcast."""
    lead = a.ndim - len(shape)
    a = a.sum(tuple(range(lead))) if lead else a
    axes = tuple(i for i, d in enumerate(shape) if d == 1 and a.shape[i] != 1)
    return a.sum(axes, keepdims=True) if axes else a


def _by_columns(
    v: Array, size: float, moved: Moved, missing: Array, shapes: Sequence[tuple[int, ...]]
) -> Array | None:
    """Any dependence: a run for each entry."""
    if v.size > MOST_ENTRIES:
        return None
    columns = []
    for i in range(v.size):
        w = v.copy()
        w.reshape(-1)[i] += size
        column = moved(w)
        if column is None:
            return None
        columns.append(column / size)
    found, _, rank, _ = np.linalg.lstsq(np.stack(columns, 1), missing, rcond=FULL_RANK)
    return found.reshape(v.shape) if rank == v.size else None
