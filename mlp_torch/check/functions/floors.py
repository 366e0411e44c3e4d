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
from mlp_torch.check.functions.derivative import EXACT, Derivative
from mlp_torch.check.functions.eager.run import FINE, Run, unit_of
from mlp_torch.check.report import length

RUNS, FEW = 6, 2
TIMES_SEEN = 32.0  # what rounding leaves on one way, in terms of what it was seen to leave on another
TIMES = 64  # what rounding leaves between equals, in terms of what it was seen to leave
MUCH = 1e3  # what rounding may leave, in terms of what errors put on the formula leave
SHARE = 1e-3  # of a gradient: more is no rounding, in whatever dtype
SINGLE = 2.0**-23
FAR = 1e-2  # of a gradient: beyond every floor, and so are 1e6 times what few runs saw rounding leave
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


@dataclass(frozen=True)
class Precision:
    """By name: the unit of a gradient, and what its constants may be off by; by unit: the noise."""

    units: Mapping[str, float]
    constants: Mapping[str, float]
    noise: Mapping[float, Rounding]

    @property
    def coarsest(self) -> Rounding:
        return self.noise[max(self.noise)]


def floors(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array],
    hand: Mapping[str, Array], found: Derivative, steady: bool, counted: Mapping[str, Array],
    precision: Precision,
) -> dict[str, Floor]:  # fmt: skip
    """The floors by name; `counted`: the entries (of t's shape) that no kink moves."""
    whole = all(c.all() for c in counted.values())
    least = {n: _floor(n, found, precision, np.zeros(t.shape), whole) for n, t in found.gradient.items()}
    if not steady or all(_within(hand[n], t, least[n]) for n, t in found.gradient.items()):
        return least
    scatter = _scatter(call, kept, names, values, hand, counted, max(precision.units.values()))
    return {n: _floor(n, found, precision, scatter[n], whole) for n in least}


def _floor(n: str, found: Derivative, precision: Precision, of_author: Array, whole: bool) -> Floor:
    """The floor of one array, whose entries the author's way scatters by `of_author`."""
    t, u = found.gradient[n], precision.units[n]
    noise = precision.noise[u]
    most = 1e-6 if u < 1e-12 else max(SHARE, 64 * u)
    if not whole:
        most = 0.0  # a nudge flips units one by one: the author's own spread tells of kinks
    relative = max(found.accuracy, 8 * u if u > FINE else 0.0, precision.constants[n])
    times, more = TIMES_SEEN, MUCH
    if u > 1e-4:  # float16: bounds of several units would be shares; what was measured is
        relative, most, times, more = found.accuracy, min(most, 4 * u), 1.0, 1.0
    size, each = length(t), np.abs(t)
    own = min(16 * length(of_author), most * size + more * noise.spread[n])
    allowed = relative * size + times * noise.spread[n] + found.error.get(n, 0.0) + own
    share = max(ENTRY, (64 if times > 1 else 4) * u if u > FINE else 0.0, precision.constants[n])
    excused = np.minimum(16 * of_author.max(initial=0.0) if u > SINGLE else 16 * of_author,
                         SHARE * each + MUCH * noise.entries[n])  # fmt: skip
    entries = share * each + times * noise.entries[n] + excused
    if found.traced is None:  # nothing was measured on the way: the array's own floor, of each entry
        entries = entries + (found.error.get(n, 0.0) + (relative if found.error else 1e-13) * size)
    return Floor(allowed, 16 * length(of_author), entries)


def _least(t: Array, noise: Rounding, n: str) -> Floor:
    """The floor in float64, without the author's own way."""
    allowed = EXACT * length(t) + TIMES_SEEN * noise.spread[n]
    return Floor(allowed, 0.0, ENTRY * np.abs(t) + TIMES_SEEN * noise.entries[n])


def _within(h: Array, t: Array, floor: Floor) -> bool:
    if h.size != t.size or h.squeeze().shape != t.squeeze().shape:
        return False
    gap = np.abs(h.astype(float).reshape(t.shape) - t)
    return bool(length(gap) <= floor.allowed and (gap <= floor.entries).all())


def _beyond(h: Array, t: Array, spread: float, u: float) -> bool:
    """No number of runs would explain the gap."""
    if h.size != t.size or not np.isfinite(h).all():
        return True
    gap = length(h.astype(float).ravel() - t.ravel())
    return bool(gap > max(FAR, 1e3 * u) * length(t) + 1e3 * MUCH * spread)


def units_of(values: Mapping[str, Array], hand: Mapping[str, Array], found: Derivative) -> dict[str, float]:
    """The unit of the coarsest float on the way to each gradient; that of any way where it was not seen."""
    traced = found.traced
    seen = traced.run.coarsest if traced is not None else FINE
    every = max((seen, *(unit_of(v.dtype) for v in (*values.values(), *hand.values()))))
    own = traced.units if traced is not None else {}
    return {n: max(own[n], unit_of(hand[n].dtype)) if n in own else every for n in found.gradient}


def precision(
    values: Mapping[str, Array], hand: Mapping[str, Array], found: Derivative
) -> tuple[dict[str, Array], Precision]:
    """(the gradients to be judged, and how precise they are).

    Where a dtype is coarser than float64, the author's own formula was run in float64 too: where what they
    give is that up to the dtype's rounding, that is judged, within what a constant loses in the dtype.
    """
    units = units_of(values, hand, found)
    exact = found.traced.hand if found.traced is not None else {}
    judged, constants = dict(hand), dict.fromkeys(units, 0.0)
    for n, u in units.items():
        if u > FINE and n in exact and _rounded(hand[n], exact[n], u):
            judged[n], units[n], constants[n] = exact[n], FINE, u
    return judged, measured(found, judged, units, constants)


def measured(
    found: Derivative, hand: Mapping[str, Array], units: Mapping[str, float], constants: Mapping[str, float]
) -> Precision:
    """With as many runs as tell right gradients."""
    noise = {u: rounding(found, u, {n: hand[n] for n in units if units[n] == u}) for u in set(units.values())}
    return Precision(units, constants, noise)


def _rounded(h: Array, exact: Array, u: float) -> bool:
    if h.shape != exact.shape or h.dtype.kind != "f" or not np.isfinite([h.sum(), exact.sum()]).all():
        return False
    return length(h.astype(float) - exact) <= max(SHARE, 64 * u) * length(exact)


def rounding(found: Derivative, u: float, hand: Mapping[str, Array] | None = None) -> Rounding:
    """The true gradient once more, with a relative error of ±u on everything, decisions as they were.

    Where each gradient of `hand` lies within what FEW runs leave, or far beyond it, there are no more runs.
    """
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
        if done == FEW and not traced.sites and hand is not None:
            seen = Rounding(spread, entries)
            if all(
                _within(h, exact[n], _least(exact[n], seen, n)) or _beyond(h, exact[n], seen.spread[n], u)
                for n, h in hand.items()
            ):
                break
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
