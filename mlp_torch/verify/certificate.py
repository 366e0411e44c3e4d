"""Judging a trace by the local certificate: one `Judgement` a stage, with the evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage, Trace
from mlp_torch.verify.enclosure import UNDERFLOW, proven
from mlp_torch.verify.kinds import RULES
from mlp_torch.verify.local import NO_BOUND, NO_TRUTH, Context, Local, UnknownError
from mlp_torch.verify.rounding import Rounding

Verdict = Literal["exact", "certified", "undecided", "wrong"]
NOT_FINITE = "its inputs are not finite"
OVERFLOWS = "the bound overflows"
MISSHAPEN = "its inputs have a wrong shape"
WIDE = "the enclosure is wider than the bound"
NOT_JUDGED = (NOT_FINITE, OVERFLOWS, MISSHAPEN, WIDE)


def not_known(note: str) -> bool:
    """Whether a judgement of that note knows nothing of its stage; of a unit at a kink much is known."""
    return note in NOT_JUDGED or note.startswith((NO_TRUTH, NO_BOUND))


SEVERITY: tuple[Verdict, ...] = ("exact", "certified", "undecided", "wrong")


@dataclass(frozen=True)
class Judgement:
    """What the certificate says of one stage of one engine.

    `ratio` is the largest error in units of its bound; `index`, `value`, `truth`, `error` and `bound`
    belong to the entry where it stands. `units` are the entries at a kink. `note` says why nothing
    could be decided. `other` is the other engine's value at `index`, where two are held side by side.
    """

    stage: str
    verdict: Verdict
    ratio: float
    index: tuple[int, ...]
    value: float
    truth: float
    error: float
    bound: float
    units: tuple[tuple[int, ...], ...] = ()
    note: str = ""
    other: float = np.nan


def certify(trace: Trace, only: str | None = None) -> dict[str, Judgement]:
    """Hold every stage of a trace (or the one named) against its proven value.

    All arrays of the trace must share one float dtype, float32 or float64, whose arithmetic is judged.
    """
    dtype = trace["z1"].dtype
    values = {name: _float64(value) for name, value in trace.values.items()}
    context = Context(values, Rounding.of(dtype))
    stages = [s for s in trace if only in (None, s.name)]
    with np.errstate(all="ignore"):
        return {s.name: judge(s, context) for s in stages}


def shares(trace: Trace, names: Sequence[str]) -> dict[str, Array]:
    """For each named stage, every entry's error in units of its bound (0 where both are 0).

    A stage whose truth is not known is left out.
    """
    values = {name: _float64(value) for name, value in trace.values.items()}
    context = Context(values, Rounding.of(trace["z1"].dtype))
    found = {}
    with np.errstate(all="ignore"):
        for name in names:
            stage = trace.stage(name)
            try:
                local = _rule(stage, context)
            except UnknownError:
                continue
            error, _ = local.truth.distance(values[name])
            found[name] = np.where(error == 0, 0.0, error / np.broadcast_to(local.bound, error.shape))
    return found


def _float64(value: Any) -> Array:
    return np.asarray(value).astype(np.float64, copy=False)


def _rule(stage: Stage, context: Context) -> Local:
    with proven():
        return RULES[stage.kind](stage, context)


def judge(stage: Stage, context: Context) -> Judgement:
    """One stage against its rule."""
    value = context.values[stage.name]
    if not all(np.isfinite(context.values[name]).all() for name in stage.reads):
        return _undecided(stage, value, NOT_FINITE)
    if context.misshapen.intersection(stage.reads):
        return _undecided(stage, value, MISSHAPEN)
    try:
        local = _rule(stage, context)
    except UnknownError as error:
        return _undecided(stage, value, str(error))
    if value.shape != local.truth.hi.shape:
        context.misshapen.add(stage.name)
        return Judgement(
            stage.name, "wrong", np.inf, (), np.nan, np.nan, np.inf, 0.0, note=f"shape {value.shape}"
        )
    return _compare(stage, value, local, context.r)


def _undecided(stage: Stage, value: Array, note: str) -> Judgement:
    return Judgement(stage.name, "undecided", np.nan, (), np.nan, np.nan, np.nan, np.nan, note=note)


def _compare(stage: Stage, value: Array, local: Local, r: Rounding) -> Judgement:
    lower, upper = local.truth.distance(value)
    if local.kink is not None and local.other is not None and local.kink.any():
        low2, up2 = _hull(value, local)
        lower = np.where(local.kink, low2, lower)
        upper = np.where(local.kink, up2, upper)
    if not np.isfinite(value).all():
        broken = np.isnan(value) | (np.isinf(value) & ~np.isinf(local.truth.hi))
        lower, upper = np.where(broken, np.inf, lower), np.where(broken, np.inf, upper)
    bound = np.broadcast_to(local.bound, value.shape)
    off = lower > 0
    with np.errstate(all="ignore"):
        ratio = np.divide(lower, bound, out=np.zeros(value.shape), where=off)
    # the engine may have overflowed on its way, or the enclosure has: then nothing is proven
    known = (np.isfinite(part) for part in (bound, local.truth.hi, local.truth.lo, local.truth.radius))
    checks = [check for check in (*known, r.fits(local.size)) if not check.all()]
    open_ = np.zeros(value.shape, dtype=bool)
    for check in checks:
        open_ |= ~check
    ratio[open_] = 0.0
    wrong = ratio > 1
    # no float lies within 2⁻¹⁰⁰ of another: an enclosure need not be narrower, where nothing is to round
    grid = np.where(off, 0.0, 2.0**-100 * np.abs(value) + 2 * UNDERFLOW)
    between = (upper > bound + grid) & ~wrong & ~open_
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ratio), value.shape))
    kinks: tuple[tuple[int, ...], ...] = ()
    if local.kink is not None:
        kinks = tuple(tuple(int(i) for i in row) for row in np.argwhere(local.kink))
    verdict: Verdict = "certified"
    note = ""
    if wrong.any():
        verdict = "wrong"
    elif open_.any():
        verdict, note = "undecided", OVERFLOWS
    elif between.any():
        verdict, note = "undecided", WIDE
    elif kinks:
        verdict, note = "undecided", "a kink lies within rounding"
    return Judgement(
        stage.name,
        verdict,
        float(ratio[index]),
        index,
        float(value[index]),
        float(local.truth.hi[index] + local.truth.lo[index]),
        float(lower[index]),
        float(bound[index]),
        kinks,
        note,
    )


def _hull(value: Array, local: Local) -> tuple[Array, Array]:
    """Distance to the interval between the two sides of a kink."""
    assert local.other is not None
    a, b = local.truth.hi, local.other.hi
    low, high = np.minimum(a, b), np.maximum(a, b)
    slack = local.truth.radius + local.other.radius + np.abs(local.truth.lo) + np.abs(local.other.lo)
    outside = np.maximum(np.maximum(low - value, value - high), 0)
    return np.maximum(outside - slack, 0), outside + slack
