"""The verdict on a hand-written gradient: floors, kinks, and what no comparison can settle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.comparison import compare
from mlp_torch.check.functions.decimals import LONGER, Formula, lost
from mlp_torch.check.functions.derivative import Derivative
from mlp_torch.check.functions.floors import SHARE, Floor, floors, measured, precision
from mlp_torch.check.functions.kinks import Kinks, kinks, settled
from mlp_torch.check.functions.tracing import TracedLoss
from mlp_torch.check.report import ArrayRow, CheckReport, length

FEW = 0.1  # of an entry: less is no difference, where rounding may be more than the entry


@dataclass(frozen=True)
class Judged:
    """The report, the true gradient that the author's is nearest to, and what is seen.

    ‖h − t‖ `allowed` is that of the gradients judged, `hand`; `rounded` that of those returned.
    """

    report: CheckReport
    true: Mapping[str, Array]
    hand: Mapping[str, Array]
    allowed: Mapping[str, float]
    rounded: Mapping[str, float]
    resolution: float
    traced: TracedLoss | None


def judge(
    found: Derivative, call: Callable[..., Any], kept: Any, names: Mapping[str, Any],
    values: Mapping[str, Array], hand: Mapping[str, Array], steady: bool, constants: Mapping[str, float],
) -> Judged:  # fmt: skip
    returned = hand
    hand, precise = precision(values, returned, found)
    corners = kinks(found.traced, found.gradient, precise.coarsest)
    taken = corners.conventions[0]
    if corners:  # rounding is that of the side which the author takes
        sizes = {n: max(length(c.gradient[n]) for c in corners.conventions) for n in found.gradient}
        taken, _ = settled(corners, hand, {n: 1e-9 * size for n, size in sizes.items()})
    if corners or corners.sites:
        found = replace(found, gradient=taken.gradient, traced=taken.traced)
        precise = measured(found, hand, precise.units, precise.constants)
    counted = {n: corners.free(n) for n in found.gradient}
    floor = floors(call, kept, names, values, hand, found, steady, counted, precise)
    allowed = {n: f.allowed for n, f in floor.items()}
    best, same = settled(corners, hand, allowed)
    true = best.gradient
    undecided: dict[str, str] = {}
    formula = Formula(call, kept, names, values, best.traced)
    digits = _digits(formula, hand, true, allowed) if steady else {}
    for n, own in digits.items():  # the author's own formula is the true one, and rounds
        allowed[n] += 2 * own
        if own > SHARE * length(true[n]):
            undecided[n] = (
                f"d{n}: rounding is {own / max(length(true[n]), 1e-300):.1g} of it: {LOSES}; {STABLE}"
            )
    for n, t in true.items():
        cause = _undecided(n, hand[n], t, floor[n].scatter, floor[n].allowed, corners, found)
        if cause and n not in undecided:
            undecided[n] = cause
    apart = {n: _apart(hand[n], t, floor[n], corners, n) for n, t in true.items()}
    apart |= dict.fromkeys(digits)  # judged as a whole: its own rounding is known as a norm
    if steady:
        apart |= dict.fromkeys(_rounded(formula, hand, true, floor, apart))
    gone = {n for n, t in true.items() if length(t) <= allowed[n] and _parted(hand[n], t)}
    doubts = {n: formula.contradicted(n, length(hand[n].astype(float))) for n in gone if steady}
    slips = {n for n, doubt in doubts.items() if doubt}
    undecided |= {
        n: f"d{n}: all of it is rounding of what cancels; {STABLE}" for n in slips if doubts[n] == "unsure"
    }
    unsure = slips | ({*digits, *found.straddled} & set(undecided))
    strict = {n: -1.0 if n in unsure else a for n, a in allowed.items()}
    verdict, rows, faults = compare(hand, true, strict, constants, values, set(undecided), apart)
    notes: tuple[str, ...] = ()
    message = ""
    if corners and same:
        notes = (f"note: at a kink: {corners.words}; your derivative there is {best.words}",)
    elif corners:
        notes = (f"note: at a kink: {corners.words}",)
    if verdict == "not_comparable":
        message = " ".join(dict.fromkeys(f"{cause}." for n, cause in undecided.items())).rstrip(".")
    rounds = [n for n in digits if n not in undecided]
    if rounds:
        notes = (*notes, f"note: rounding in {', '.join('d' + n for n in rounds)}: {LOSES}")
    zero = [n for n, t in true.items() if length(t) <= allowed[n] and rows[n].verdict == "right"]
    zero = [n for n in zero if true[n].any() or hand[n].any()]
    if zero:
        notes = (*notes, f"note: 0 up to the rounding of what cancels: {', '.join('d' + n for n in zero)}")
    notes = (*notes, *_unseen(hand, true, floor, rows))
    report = CheckReport(verdict, rows, faults, notes=notes, method=found.method, message=message)
    resolution = _resolution(true, allowed, max(precise.units.values()))
    rounded = {n: a + 64 * precise.constants[n] * length(true[n]) for n, a in allowed.items()}
    return Judged(report, true, hand, allowed, rounded, resolution, best.traced)


def _parted(h: Array, t: Array) -> bool:
    """By a share of either."""
    return h.size == t.size and bool(length(h.astype(float).ravel() - t.ravel()) > SHARE * length(t))


def _apart(h: Array, t: Array, floor: Floor, corners: Kinks, n: str) -> Array | None:
    """The entries of t's shape that rounding does not explain, under any side of a kink; None: unlike t."""
    if h.size != t.size or h.squeeze().shape != t.squeeze().shape:
        return None
    h, ways = h.astype(float).reshape(t.shape), [t]
    if corners:
        ways += [c.gradient[n] for c in corners.conventions]
    return np.asarray(~np.logical_or.reduce([np.abs(h - way) <= floor.entries for way in ways]))


def _rounded(
    formula: Formula, hand: Mapping[str, Array], true: Mapping[str, Array], floor: Mapping[str, Floor],
    apart: Mapping[str, Array | None],
) -> list[str]:  # fmt: skip
    """The arrays with entries apart that the author's own formula gives right in longer numbers."""

    def doubtful(n: str, a: Array | None) -> bool:
        if a is None or not a.any() or hand[n].dtype != np.float64:
            return False
        return formula.may_round(n, np.abs(hand[n].reshape(true[n].shape) - true[n]) * a, whole=False)

    left = {n for n, a in apart.items() if doubtful(n, a)}
    found: list[str] = []
    for wide in formula.longer() if left else ():
        for n in left & set(wide):
            w, h, t = wide[n], hand[n].reshape(true[n].shape), true[n]
            if w.size == t.size:
                w = w.reshape(t.shape)
                if np.all(np.abs(w - t) <= floor[n].entries + LONGER * np.abs(w - h)):
                    found.append(n)
        left -= set(found)
        if not left:
            break
    return found


def _unseen(
    hand: Mapping[str, Array], true: Mapping[str, Array], floor: Mapping[str, Floor],
    rows: Mapping[str, ArrayRow],
) -> tuple[str, ...]:  # fmt: skip
    """Notes of entries that differ and are less than their rounding, and of arrays that are 0."""
    below, zero = [], []
    for n, t in true.items():
        if rows[n].verdict != "right" or not t.size:
            continue
        size = np.abs(t)
        gap = np.abs(hand[n].astype(float).reshape(t.shape) - t)
        count = int(((floor[n].entries > size) & (gap > FEW * size)).sum())
        if count and not length(t) <= floor[n].allowed:
            below.append(f"{count} entr{'y' if count == 1 else 'ies'} of d{n}")
        if not t.any():
            zero.append(f"d{n}")
    notes = [f"note: not judged: {', '.join(below)} below rounding"] if below else []
    if zero:
        said = ", ".join(zero)
        notes.append(f"note: every true entry of {said} is 0: a fault in what goes into it cannot be seen")
    return tuple(notes)


LOSES = "a difference of nearly equal numbers loses digits (1 − h where h is near 1)"
STABLE = "write it without the difference (1/(1 + exp(z)) for 1 − h), or move the parameters"


def _digits(
    formula: Formula, hand: Mapping[str, Array], true: Mapping[str, Array], allowed: Mapping[str, float]
) -> dict[str, float]:
    """‖rounding‖ of the arrays that differ by it and by nothing else."""

    def doubtful(n: str) -> bool:
        if hand[n].dtype != np.float64 or hand[n].shape != true[n].shape:
            return False
        gap = np.abs(hand[n] - true[n])
        return length(gap) > allowed[n] and formula.may_round(n, gap)

    left = {n for n in true if doubtful(n)}
    found: dict[str, float] = {}
    for wide in formula.longer() if left else ():
        own = {n: lost(hand[n], wide.get(n), true[n], allowed[n]) for n in left}
        found |= {n: v for n, v in own.items() if v}
        left -= set(found)
        if not left:
            break
    return found


def _undecided(
    n: str, h: Array, t: Array, scatter: float, allowed: float, corners: Kinks, found: Derivative
) -> str:
    """Why an array that differs need not be wrong, and what would settle it; else ""."""
    if not np.isfinite(t).all():
        return f"d{n}: your loss has no finite derivative at these parameters; move the data off the point"
    if h.size != t.size or h.squeeze().shape != t.squeeze().shape or not np.isfinite(h).all():
        return ""
    h = h.astype(float).reshape(t.shape)
    gap, size = length(h - t), length(t)
    across = found.straddled.get(n)
    if across is not None and length((h - t) * ~across) <= allowed:
        index = [int(i) for i in np.argwhere(across)[0]]
        return f"d{n}: the loss has a kink next to {n}{index or ''}, nearer than differences see; move it off"
    if gap <= allowed:
        if allowed > SHARE * size and gap > SHARE * size and size > allowed:
            return f"d{n}: rounding leaves it uncertain by {allowed / size:.1g} of itself; compute in float64"
        return ""
    free = corners.free(n)
    if length((h - t) * free) > allowed:
        return "" if corners or gap > scatter or found.traced is not None else _jump(n, scatter, size)
    if corners and not corners.outside(n, h, allowed):
        remedy = "move the data or the parameters off the kink (other seeds, W not 0) and check again"
        between = "lies between the one-sided derivatives at a kink and is none of them"
        return f"d{n} {between} ({corners.words}); {remedy}"
    return ""


def _jump(n: str, scatter: float, size: float) -> str:
    share = f"{scatter / 16 / size:.1g} of itself" if size else "as much as itself"
    return (
        f"d{n} moves by {share} when the parameters move by one unit in the last place: a kink, or a sum that"
        " cancels, lies there; move the parameters off it"
    )


def _resolution(true: Mapping[str, Array], allowed: Mapping[str, float], u: float) -> float:
    """The largest share of an array, not 0 up to rounding, that its floor hides."""
    shares = [allowed[n] / length(t) for n, t in true.items() if length(t) > 0 and allowed[n] < length(t)]
    return max(shares, default=0.0) or 4096 * u
