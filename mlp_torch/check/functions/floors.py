"""How far a right gradient may lie from the true one, and no further: rounding, derived and measured.

Two measurements. The true gradient once more with one rounding error on every result and on every gradient on
the way, all decisions kept: what differs then is rounding by construction, however much cancels. The author's
own gradient on parameters that move by one unit in the last place: their way may be a worse one, but a spread
that is a share of the gradient itself is no rounding (a unit on a kink has flipped), and does not count.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.calling.calls import fresh, gradients_of, nested, result_of, seed
from mlp_torch.check.functions.derivative import Derivative
from mlp_torch.check.functions.eager.run import Run
from mlp_torch.check.report import length

RUNS = 6
TIMES = 64  # what rounding leaves between equals, in terms of what it was seen to leave
SHARE = 1e-3  # of a gradient: more is no rounding, in whatever dtype
SINGLE = 2.0**-23
LONGER = 2.0**-6  # of what float64 rounds: amply what np.longdouble leaves (2⁻¹¹ on average)
ENTRY = 1e-9  # of an entry, in float64: less of a single one is no slip


@dataclass(frozen=True)
class Floor:
    """‖h − t‖ that rounding explains, and |h − t| of each entry (of t's shape).

    `scatter` is the author's own spread, without a bound.
    """

    allowed: float
    scatter: float
    entries: Array


@dataclass(frozen=True)
class Rounding:
    """‖t′ − t‖ by name and |t′ − t| of each entry, t′ the true gradient with errors of ±u on the way.

    `corners`: by decision, where its operands are equal up to that; None where the runs failed.
    """

    spread: Mapping[str, float]
    entries: Mapping[str, Array]
    corners: Mapping[int, Array] | None = None


def floors(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array],
    hand: Mapping[str, Array], found: Derivative, steady: bool, counted: Mapping[str, Array], noise: Rounding,
) -> dict[str, Floor]:  # fmt: skip
    """The floors by name; `counted`: the entries (of t's shape) that no kink moves."""
    u = unit(values, hand, found)
    scatter = _scatter(call, kept, names, values, hand, counted, u) if steady else {}
    most = 1e-6 if u < 1e-12 else max(SHARE, 64 * u)
    if not all(c.all() for c in counted.values()):
        most = 0.0  # a nudge flips units one by one: the author's own spread tells of kinks
    relative = max(found.accuracy, 8 * u if u > 2.0**-52 else 0.0)
    times = 32.0
    if u > 1e-4:  # float16: bounds of several units would be shares; what was measured is
        relative, most, times = found.accuracy, min(most, 4 * u), 1.0
    floors = {}
    for n, t in found.gradient.items():
        size, each = length(t), np.abs(t)
        of_author = scatter.get(n, np.zeros(t.shape))
        own = min(16 * length(of_author), most * size + (1e3 if times > 1 else 1.0) * noise.spread[n])
        allowed = relative * size + times * noise.spread[n] + found.error.get(n, 0.0) + own
        share = max(ENTRY, (64 if times > 1 else 4) * u if u > 2.0**-52 else 0.0)
        excused = np.minimum(16 * of_author.max(initial=0.0) if u > SINGLE else 16 * of_author,
                             SHARE * each + 1e3 * noise.entries[n])  # fmt: skip
        entries = share * each + times * noise.entries[n] + excused
        if found.traced is None:  # nothing was measured on the way: the array's own floor, of each entry
            entries = entries + (found.error.get(n, 0.0) + (relative if found.error else 1e-13) * size)
        floors[n] = Floor(allowed, 16 * length(of_author), entries)
    return floors


def unit(values: Mapping[str, Array], hand: Mapping[str, Array], found: Derivative) -> float:
    """The unit of the coarsest float on the way: of parameters, gradients, or of what the code casts to."""
    floats = [v.dtype for v in (*values.values(), *hand.values()) if v.dtype.kind == "f"]
    seen = found.traced.run.coarsest if found.traced is not None else 2.0**-52
    return max((*(float(np.finfo(dtype).eps) for dtype in floats), seen, 2.0**-52))


def rounding(found: Derivative, u: float) -> Rounding:
    """The true gradient once more, with a relative error of ±u on everything, decisions as they were."""
    spread = dict.fromkeys(found.gradient, 0.0)
    entries = {n: np.zeros(t.shape) for n, t in found.gradient.items()}
    traced = found.traced
    if traced is None or traced.again is None:
        return Rounding(spread, entries)
    exact = traced.gradient()
    moved: dict[int, Array] = {}
    done = 0
    for seed_ in range(RUNS):
        run = Run(
            noise=u, follow=traced.run.decisions, seed=seed_, watched=set(traced.run.gaps),
            stop_after=traced.last,
        )  # fmt: skip
        try:
            other = traced.again(run).gradient()
        except Exception:  # the code went another way: this run says nothing
            continue
        done += 1
        for i, gap in run.gaps.items():
            if gap.shape == traced.run.gaps[i].shape:
                apart = np.abs(gap - traced.run.gaps[i])
                moved[i] = np.maximum(moved.get(i, apart), apart)
        for n, t in exact.items():
            gap_of_gradients = length(other[n] - t)
            if np.isfinite(gap_of_gradients):
                spread[n] = max(spread[n], gap_of_gradients)
                entries[n] = np.maximum(entries[n], np.abs(other[n] - t))
    if not done:
        return Rounding(spread, entries)
    corners = {i: np.abs(gap) <= TIMES * moved.get(i, 0.0) for i, gap in traced.run.gaps.items()}
    return Rounding(spread, entries, corners)


def _scatter(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array],
    hand: Mapping[str, Array], counted: Mapping[str, Array], u: float,
) -> dict[str, Array]:  # fmt: skip
    """By entry, how far the author's own gradient moves with the parameters' last digits."""
    spread = {n: np.zeros(c.shape) for n, c in counted.items()}
    generator = np.random.default_rng(0)
    for _ in range(4):
        moved = {
            n: _nudged(v, np.where(generator.random(v.shape) < 0.5, -1, 1), u) if v.dtype.kind == "f" else v
            for n, v in values.items()
        }
        parameters, *data = fresh(kept)
        seed()
        other = gradients_of(names, result_of(call(nested(parameters, moved), *data))[1], values)
        for n, h in hand.items():
            if other[n].shape == h.shape:
                gap = other[n].astype(float) - h.astype(float)
                if gap.size == counted[n].size and np.isfinite(gap).all():
                    gap = np.abs(gap.reshape(counted[n].shape) * counted[n])
                    spread[n] = np.maximum(spread[n], gap)
    return spread


def _nudged(v: Array, ways: Array, u: float) -> Array:
    """Every entry one unit in the last place on: of its own dtype, or of the coarser one of `u`."""
    if u > np.finfo(v.dtype).eps:
        return v * (1 + u * ways)
    return np.nextafter(v, (ways * np.inf).astype(v.dtype))


def in_long(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array]
) -> dict[str, Array]:
    """The author's gradient by name in np.longdouble, where their code keeps it; {} where it fails."""
    parameters, *data = fresh(kept)
    wide = {n: v.astype(np.longdouble) if v.dtype.kind == "f" else v for n, v in values.items()}
    data = [
        d.astype(np.longdouble) if isinstance(d, np.ndarray) and d.dtype == np.float64 else d for d in data
    ]
    seed()
    try:
        found = gradients_of(names, result_of(call(nested(parameters, wide), *data))[1], values)
    except (Exception, SystemExit):  # not all of NumPy takes longer numbers
        return {}
    return {n: g for n, g in found.items() if g.dtype == np.longdouble}


def lost(h: Array, wide: Array | None, t: Array, allowed: float) -> float:
    """‖rounding‖ of h as its own formula in longer numbers shows it, where nothing else parts h from t."""
    if wide is None or h.shape != t.shape or wide.shape != t.shape or h.dtype != np.float64:
        return 0.0
    own = length((wide - h).astype(float))
    return own if length((wide - t).astype(float)) <= allowed + LONGER * own else 0.0
