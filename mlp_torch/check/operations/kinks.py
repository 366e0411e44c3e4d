"""At a kink the reference has several derivatives: which of them the author's gradient is, if any.

The one-sided gradients t + d₁, t + d₂ … are those just beside the point. A convex mixture of them differs from t
by something in the span of the d; a sign or a factor does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.operations.floor import LARGER, NUDGE, Floor, Standard
from mlp_torch.check.operations.tensors import norm

PAIRS = 16


@dataclass(frozen=True)
class Judged:
    """`verdict` is "one-sided", "between", "wrong", or "unknown" where the kinks leave no entry to decide by."""

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
    slack = allowed + (1e-7 if exact else 16 * floor.unit) * largest
    if norm(rest) <= slack:
        return Judged("one-sided", names)
    if not largest:
        return Judged("unknown", names)
    _, sizes, rows = np.linalg.svd(sides, full_matrices=False)
    rank = int((sizes > (1e-9 if exact else 16 * floor.unit) * sizes[0]).sum())
    low, high = np.minimum(sides.min(axis=0), 0), np.maximum(sides.max(axis=0), 0)
    middle = (low + high) / 2
    choices = np.concatenate([sides, [0 * rest, middle]])
    if bool((np.abs(choices - rest).min(axis=0) <= slack).all()) and (rank < len(rest) or rank < len(sides)):
        inside = rest - rows[:rank].T @ (rows[:rank] @ rest)
        return Judged("one-sided" if norm(inside) <= slack else "wrong", names)
    if rank >= len(sides):
        return Judged("unknown", names)  # more kinks than nudges
    if norm(rest - rows[:rank].T @ (rows[:rank] @ rest)) > slack:
        return Judged("wrong", names)
    # with more than a few kinks the nudges do not reach the corners of what they span
    wider = 1.0 if rank <= 4 else 2.0
    if bool(((rest < wider * low - slack) | (rest > wider * high + slack)).any()):
        return Judged("wrong", names)
    return Judged("between" if rank < len(rest) else "unknown", names)


def sentence(standard: Standard, floor: Floor, hand: Mapping[str, Array], judged: Judged) -> str:
    """Which entry lies on a kink, and what the reference's derivatives beside it are."""
    amplitude = floor.unit if floor.unit > LARGER else NUDGE
    some = standard.differences(amplitude)
    name = max(judged.arrays, key=lambda n: float(np.abs(hand[n] - standard.true[n])[floor.kinked[n]].max()))
    mask = floor.kinked[name]
    gap = np.where(mask, np.abs(hand[name] - standard.true[name]), -1.0)
    at = np.unravel_index(int(np.argmax(gap)), mask.shape) if gap.ndim else ()
    t = standard.true[name][at]
    beside = sorted({f"{float(t + d[name][at]):.6g}" for d in some} | {f"{float(t):.6g}"}, key=float)
    place = f"{name}[{', '.join(str(int(i)) for i in at)}]" if at else name
    count = sum(int(floor.kinked[n].sum()) for n in judged.arrays)
    total = sum(floor.kinked[n].size for n in judged.arrays)
    said = {
        "one-sided": f"yours, {float(hand[name][at]):.6g}, is one of them",
        "between": f"yours, {float(hand[name][at]):.6g}, lies between them",
        "wrong": f"yours, {float(hand[name][at]):.6g}, is none of them",
        "unknown": f"yours is {float(hand[name][at]):.6g}",
    }[judged.verdict]
    return (
        f"{place} lies on a kink of the reference ({count} of {total} entries do): "
        f"its derivatives there are {' and '.join(beside)}; {said}"
    )
