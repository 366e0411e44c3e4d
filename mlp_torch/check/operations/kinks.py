"""At a kink the reference has several derivatives: which of them the author's gradient is, if any.

The one-sided gradients t + d₁, t + d₂ … are those just beside the point. A convex mixture of them differs
from t by something in the span of the d; a sign or a factor does not. The corners of a traced NumPy program
are listed by line and taken one by one (`functions/kinks.py`); here nudges alone tell of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations.floor import Floor
from mlp_torch.check.operations.standard import FEW, LARGER, NUDGE, Standard
from mlp_torch.check.report import length

PAIRS = 16


@dataclass(frozen=True)
class Judged:
    """`verdict`: "one-sided", "between", "wrong", or "unknown" where the kinks leave nothing to decide by."""

    verdict: str
    arrays: tuple[str, ...]


def at_kinks(standard: Standard, floor: Floor, hand: Mapping[str, Array], allowed: float) -> Judged:
    """What the entries on a kink say, all arrays together: one kink moves several of them at once."""
    names = tuple(n for n, mask in floor.kinked.items() if mask.any() and hand[n].shape == mask.shape)

    def joined(some: Mapping[str, Array]) -> Array:
        return np.concatenate([some[n][floor.kinked[n]] for n in names])

    amplitude = floor.unit if floor.unit > LARGER else NUDGE
    sides = np.array([joined(d) for d in standard.differences(amplitude, PAIRS)])
    rest = joined({n: hand[n] - standard.true[n] for n in names})
    largest = float(np.abs(sides).max(initial=0.0))
    exact = floor.unit <= 1e-12
    if length(rest) <= allowed:
        return Judged("one-sided", names)
    if exact and not _settled(standard, joined):
        return Judged("unknown", names)
    slack = allowed + (1e-7 if exact else 16 * floor.unit) * length(rest)
    if not largest:
        return Judged("unknown", names)
    _, sizes, rows = np.linalg.svd(sides, full_matrices=False)
    rank = int((sizes > (1e-9 if exact else 16 * floor.unit) * sizes[0]).sum())
    # x + δ crosses the kinks that x − δ does not: both together cross all, to the other side
    sums = sides[0::2] + sides[1::2]
    crossed = sums[0] if bool((np.abs(sums - sums[0]) <= slack).all()) else 0 * rest
    if bool((np.abs(sides - sides[0]) <= slack).all()):
        # the derivative exists, and autograd's at the point is another: twice as far is every kink at once
        if length(rest - sides[0]) <= slack:
            return Judged("one-sided", names)
        return Judged("unknown" if length(rest - crossed) <= slack else "wrong", names)
    # … unless both are on one slope, and the reference's derivative at the point is not
    crossed = np.where((np.abs(sides - sides[0]) <= slack).all(axis=0), sides[0], crossed)
    for all_alike in (crossed, crossed / 2, *sides):
        if length(rest - all_alike) <= slack:
            return Judged("one-sided", names)
    spanned = length(rest - rows[:rank].T @ (rows[:rank] @ rest)) <= slack
    if _group_by_group(standard, floor, names, amplitude, sides, rest, slack):
        return Judged("between", names)
    if not spanned and rank < len(sides):
        return Judged("wrong", names)
    low, high = np.minimum(sides.min(axis=0), 0), np.maximum(sides.max(axis=0), 0)
    # an entry on one kink takes two values, one on each side: all of them were seen
    few = np.array([len(np.unique(np.round(column / largest, 6))) <= 2 for column in sides.T])
    choices = np.concatenate([sides, [0 * rest, (low + high) / 2]])
    chosen = np.abs(choices - rest).min(axis=0) <= slack
    if spanned and bool((chosen & few | (np.abs(rest) <= slack)).all()):
        return Judged("one-sided", names)
    corners = np.concatenate([sides, crossed - sides])
    if spanned and rank < len(rest) and _between(corners, rest, rows[:rank], slack):
        return Judged("between", names)
    wide = np.where(few, 1.0, 2.0)
    outside = (rest < wide * low - slack) | (rest > wide * high + slack)
    return Judged("wrong" if bool(outside.any()) else "unknown", names)


def _settled(standard: Standard, joined: Callable[[Mapping[str, Array]], Array]) -> bool:
    """Beside a kink the gradient stays what it is when the nudge doubles; ill-conditioned, it does not."""
    once, doubled = (joined(standard.differences(a)[0]) for a in (NUDGE, 2 * NUDGE))
    return length(once - doubled) <= 1e-6 * length(once)


def _group_by_group(
    standard: Standard, floor: Floor, names: tuple[str, ...], amplitude: float, sides: Array, rest: Array,
    slack: float,
) -> bool:  # fmt: skip
    """Each group of entries that kinks tie together is a mixture of its one-sided derivatives.

    Windows of a pooling tie apart from each other: the choice in one says nothing about the next. A nudge of
    one entry alone moves those that it is tied to.
    """
    masks = {n: floor.kinked[n] for n in names}
    count = len(rest)
    if count > FEW or any(standard.true[n].shape != tuple(_value(standard, n).shape) for n in names):
        return False
    places = {n: [int(k) for k in np.flatnonzero(masks[n])] for n in names}
    alone = standard.one_by_one(amplitude, places)
    moves = np.array(
        [np.concatenate([m[n][masks[n]] for n in names]) for some in alone.values() for m in some]
    )
    if len(moves) != 2 * count:
        return False
    group = np.arange(count)
    for k, move in enumerate(moves):
        tied = np.flatnonzero(np.abs(move) > slack)
        for other in np.unique(group[tied]):
            group[group == other] = group[k // 2]
    corners = np.concatenate([sides, moves])
    for number in np.unique(group):
        part = np.flatnonzero(group == number)
        some, r = corners[:, part], rest[part]
        if length(r) <= slack:
            continue
        # a share is handed from one entry to another: a slip that vanishes elsewhere keeps no sum
        shared = bool((np.abs(some.sum(axis=1)) <= slack).all())
        if not shared or not _between(some, r, np.eye(len(part)), slack):
            return False
    return True


def _value(standard: Standard, name: str) -> Tensor:
    value: Tensor = standard.values[standard.side.arguments.names.index(name)]
    return value


def _between(corners: Array, rest: Array, basis: Array, slack: float) -> bool:
    """rest = Σ λᵢ cornerᵢ with λ ≥ 0, Σ λ ≤ 1: a subgradient."""
    from scipy.optimize import nnls

    size = float(np.abs(corners).max())
    corners = np.concatenate([corners, [0 * rest]])
    sums = np.concatenate([basis @ corners.T / size, np.ones((1, len(corners)))])  # the last line: Σ λ = 1
    weights, _ = nnls(sums, np.concatenate([basis @ rest / size, [1.0]]))
    return abs(weights.sum() - 1) <= 1e-6 and length(weights @ corners - rest) <= slack + 1e-6 * size


def sentence(standard: Standard, floor: Floor, hand: Mapping[str, Array], judged: Judged) -> str:
    """Which entry lies on a kink, and what the reference's derivatives beside it are."""
    amplitude = floor.unit if floor.unit > LARGER else NUDGE
    some = standard.differences(amplitude)[:4]
    name = max(judged.arrays, key=lambda n: float(np.abs(hand[n] - standard.true[n])[floor.kinked[n]].max()))
    mask = floor.kinked[name]
    gap = np.where(mask, np.abs(hand[name] - standard.true[name]), -1.0)
    at = np.unravel_index(int(np.argmax(gap)), mask.shape) if gap.ndim else ()
    t = standard.true[name][at]
    beside = sorted(
        {f"{float(t + d[name][at]) + 0.0:.6g}" for d in some} | {f"{float(t) + 0.0:.6g}"}, key=float
    )
    place = f"{name}[{', '.join(str(int(i)) for i in at)}]" if at else name
    count = sum(int(floor.kinked[n].sum()) for n in judged.arrays)
    total = sum(floor.kinked[n].size for n in judged.arrays)
    said = {
        "one-sided": f"yours, {float(hand[name][at]):.6g}, is one of them",
        "between": f"yours, {float(hand[name][at]):.6g}, lies between them",
        "wrong": f"yours, {float(hand[name][at]):.6g}, is none of them",
        "unknown": f"yours is {float(hand[name][at]):.6g}",
    }[judged.verdict]
    where = f"({count} of {total} entries do)"
    if len(beside) > 3:
        return (
            f"{place} jumps {where}: under nudges of {amplitude:.2g} the reference's own gradient goes "
            f"from {beside[0]} to {beside[-1]}; {said}"
        )
    values = " and ".join(beside)
    return f"{place} lies on a kink of the reference {where}: its derivatives there are {values}; {said}"
