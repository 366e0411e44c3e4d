"""Where a loss has a corner: which line, which entry, and the derivatives from either side of it.

At a corner every one of them is right (`z > 0` and `z >= 0` alike), and so is their mean; one side is taken
for all entries of one line. What no side moves is judged as ever.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.eager.run import Run, Site
from mlp_torch.check.functions.floors import Rounding
from mlp_torch.check.functions.tracing import TracedLoss
from mlp_torch.check.report import length

MOST = 3  # lines whose sides are combined
SEEN = 24  # lines that are tried
WORDS = {
    "maximum": "np.maximum", "minimum": "np.minimum", "fmax": "np.fmax", "fmin": "np.fmin",
    "absolute": "np.abs", "sign": "np.sign", "greater": ">", "greater_equal": ">=", "less": "<",
    "less_equal": "<=", "max": "max, reached twice", "min": "min, reached twice",
    "argmax": "argmax, reached twice", "argmin": "argmin, reached twice", "sqrt": "the root of 0",
    "power": "a power of 0", "heaviside": "np.heaviside",
}  # fmt: skip


@dataclass(frozen=True)
class Convention:
    """One way to take every corner, and the gradient that it gives."""

    words: str
    gradient: Mapping[str, Array]
    traced: TracedLoss | None = None


@dataclass(frozen=True)
class Kinks:
    """The corners on which the gradient depends, and what it may be there."""

    sites: Sequence[Site]
    conventions: Sequence[Convention]

    def __bool__(self) -> bool:
        return len(self.conventions) > 1

    def free(self, name: str) -> Array:
        """The entries that no side moves."""
        all_ = np.stack([c.gradient[name] for c in self.conventions])
        size = float(np.max(np.abs(all_), initial=0.0))
        return np.asarray(np.ptp(all_, axis=0) <= 1e-9 * size)

    def outside(self, name: str, h: Array, allowed: float) -> bool:
        """Some entry of h lies beyond what either side gives."""
        every = [c.gradient[name] for c in self.conventions]
        low, high = np.minimum.reduce(every) - allowed, np.maximum.reduce(every) + allowed
        return not bool(((h >= low) & (h <= high)).all())

    @property
    def words(self) -> str:
        return "; ".join(map(told, self.sites))


def told(site: Site) -> str:
    """z1[0, 1] and 3 more entries on the corner of np.maximum (net.py:12)."""
    what = f"{site.operand or 'an array'}{list(site.index) if site.index else ''}"
    more = f" and {site.entries - 1} more entries lie" if site.entries > 1 else " lies"
    return f"{what}{more} on the corner of {WORDS.get(site.operation, site.operation)} ({place(site)})"


def place(site: Site) -> str:
    return f"{Path(site.file).name}:{site.line}"


def kinks(traced: TracedLoss | None, gradient: Mapping[str, Array], noise: Rounding) -> Kinks:
    """The corners of the traced loss on which its gradient depends, by more than rounding."""
    usual = Convention("torch's", gradient, traced)
    if traced is None or traced.again is None or not traced.sites:
        return Kinks([], [usual])
    moving: list[tuple[Site, dict[int, Convention]]] = []
    sites = [kept for site in traced.sites if (kept := _confirmed(site, noise)) is not None]
    for site in sites[:SEEN]:
        sides = {s: c for s in (1, -1) if (c := _taken(traced, {site.key: s}, noise)) is not None}
        if any(_differs(c.gradient, gradient, noise) for c in sides.values()):
            moving.append((site, sides))
    if not moving:
        return Kinks([], [usual])
    found = [usual]
    if len(moving) == 1:
        found += moving[0][1].values()
        found += _means(list(moving[0][1].values()))
    elif len(moving) <= MOST:
        keys = [site.key for site, _ in moving]
        ends = []
        for signs in itertools.product((1, -1, 0), repeat=len(keys)):
            if any(signs):
                c = _taken(traced, dict(zip(keys, signs, strict=True)), noise)
                found += [c] if c is not None else []
                ends += [c] if c is not None and all(signs) else []
        found += _means(ends)
    else:
        uniform = [_taken(traced, {site.key: s for site, _ in moving}, noise) for s in (1, -1)]
        both = [c for c in uniform if c is not None]
        found += [*both, *_means(both), *(c for _, sides in moving for c in sides.values())]
    return Kinks([site for site, _ in moving], found)


def _means(ends: list[Convention]) -> list[Convention]:
    if len(ends) < 2:
        return []
    mean = {n: np.mean([c.gradient[n] for c in ends], axis=0) for n in ends[0].gradient}
    return [Convention("the mean of both sides", mean, ends[0].traced)]


def _confirmed(site: Site, noise: Rounding) -> Site | None:
    """The site with the entries that rounding was seen to leave between its operands, if there are any."""
    if noise.corners is None or site.operation in ("sqrt", "power", "hypot", "cbrt"):
        return site
    masks = [noise.corners[i] for i in site.decisions if i in noise.corners]
    entries = sum(int(np.count_nonzero(m)) for m in masks)
    if not entries:
        return None
    first = np.argwhere(next(m for m in masks if m.any()))[0]
    return replace(site, entries=entries, index=tuple(int(i) for i in first))


def _taken(
    traced: TracedLoss, sides: Mapping[tuple[str, int, str], int], noise: Rounding
) -> Convention | None:
    """The gradient with these sides, where the loss is the same there: a jump has no derivative."""
    assert traced.again is not None
    try:
        other = traced.again(Run(sides=sides, corners=noise.corners))
    except Exception:  # no array has the loss's value on this side: the loss jumps
        return None
    last = {"max": ("the first of the equal ones", "the last of the equal ones")}
    names = {
        k[2]: last.get(k[2].removeprefix("arg").replace("min", "max"), ("from above", "from below"))
        for k in sides
    }
    signs = {names[k[2]][0 if s > 0 else 1] for k, s in sides.items() if s}
    words = signs.pop() if len(signs) == 1 else ", ".join(
        f"{names[k[2]][0 if s > 0 else 1]} at line {k[1]}" for k, s in sides.items() if s
    )  # fmt: skip
    return Convention(words, other.gradient(), replace(other, again=traced.again))


def _differs(a: Mapping[str, Array], b: Mapping[str, Array], noise: Rounding) -> bool:
    return any(length(a[n] - b[n]) > 1e-9 * max(length(a[n]), length(b[n])) + 32 * noise.spread[n] for n in b)


def settled(found: Kinks, hand: Mapping[str, Array], allowed: Mapping[str, float]) -> tuple[Convention, bool]:
    """(the convention nearest to the hand-written gradient, whether it is that one in every array)."""

    def distance(c: Convention) -> tuple[int, float]:
        gaps = []
        for n, t in c.gradient.items():
            h = hand[n]
            fits = h.size == t.size and h.squeeze().shape == t.squeeze().shape
            gap = length(h.astype(float).ravel() - t.ravel()) / max(allowed[n], 1e-300) if fits else np.inf
            gaps.append(float(gap))
        return sum(not g <= 1 for g in gaps), float(
            np.nan_to_num(sum(min(g, 1e300) for g in gaps), nan=1e300)
        )

    fitting = [c for c in found.conventions if distance(c)[0] == 0]
    if fitting:  # torch's own, only where no side is meant
        return fitting[-1] if found and fitting[0] is found.conventions[0] else fitting[0], True
    return min(found.conventions, key=distance), False
