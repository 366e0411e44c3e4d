"""Where a loss has a corner: which line, which entry, and the derivatives from either side of it.

At a corner every one of them is right (`z > 0` and `z >= 0` alike), and so is their mean; one side is taken
for all entries of one line. What no side moves is judged as ever.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.functions.eager.run import Key, Run, Site
from mlp_torch.check.functions.floors import Rounding
from mlp_torch.check.functions.tracing import TracedLoss
from mlp_torch.check.report import length

MOST = 3  # lines whose sides are combined
SEEN = 24  # lines that are tried
AROUND = 8  # directions in which the loss is looked at beside a corner, and as many the other way
STEP = 1e-7  # of the parameters
MEAN = "the mean of both sides"
ONE_OPERAND = {
    "maximum", "minimum", "fmax", "fmin", "absolute", "sign", "greater", "greater_equal", "less",
    "less_equal", "heaviside",
}  # fmt: skip
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
        return "; ".join(dict.fromkeys(map(told, self.sites)))


def told(site: Site) -> str:
    """z1[0, 1] and 3 more entries on the corner of np.maximum (net.py:12)."""
    what = f"{site.operand or 'an array'}{list(site.index) if site.index else ''}"
    more = f" and {site.entries - 1} more entries lie" if site.entries > 1 else " lies"
    return f"{what}{more} on the corner of {WORDS.get(site.operation, site.operation)} ({place(site)})"


def place(site: Site) -> str:
    return f"{Path(site.file).name}:{site.line}"


def kinks(traced: TracedLoss | None, gradient: Mapping[str, Array], noise: Rounding) -> Kinks:
    """The corners of the traced loss on which its gradient depends, by more than rounding.

    Every derivative is right that the loss has beside the point, in whatever direction, and so is every
    uniform convention (one side for all entries of a line) in those entries where the loss has a kink. Where
    all directions give one derivative the loss is smooth, however its operations are cut: only that one is
    right. Operations of one operand (max(z, 0) and |z|) are on one side together.
    """
    usual = Convention("torch's", gradient, traced)
    if traced is None or traced.again is None or not traced.sites:
        return Kinks([], [usual])
    moving: list[tuple[Site, dict[int, Convention]]] = []
    sites = [kept for site in traced.sites if (kept := _confirmed(site, noise)) is not None]
    for site in sites[:SEEN]:
        sides = {s: c for s in (1, -1) if (c := _taken(traced, {site.key: s}, noise)) is not None}
        if any(_differs(c.gradient, gradient, noise) for c in sides.values()):
            moving.append((site, sides))
    lines = [site for site, _ in moving]
    beside, groups = around(traced, sites[:SEEN], noise)
    if not moving and not any(_differs(c.gradient, gradient, noise) for c in beside):
        return Kinks([], [usual])
    lines = lines or sites[:1]
    tied = [g for g in groups if any(site.key in g for site in lines)]
    tied += [{site.key: 1} for site in lines if not any(site.key in g for g in tied)]
    found = [usual]
    if len(tied) <= MOST:
        ends = []
        for signs in itertools.product((1, -1, 0), repeat=len(tied)):
            if any(signs):
                c = _taken(traced, _sides(tied, signs), noise)
                found += [c] if c is not None else []
                ends += [c] if c is not None and all(signs) else []
        found += _means(ends)
    else:
        both = [c for s in (1, -1) if (c := _taken(traced, _sides(tied, [s] * len(tied)), noise)) is not None]
        found += [*both, *_means(both)]
        for i in range(len(tied)):
            alone = [s * (i == j) for s in (1, -1) for j in range(len(tied))]
            for one in (alone[: len(tied)], alone[len(tied) :]):
                c = _taken(traced, _sides(tied, one), noise)
                found += [c] if c is not None else []
    if any(len(g) > 1 for g in tied):  # torch's mixes the sides of one operand
        found = found[1:] or found
    if beside:
        found = _smooth(found, beside, noise)
    return Kinks(lines, _distinct([*found, *beside], noise))


def _sides(tied: Sequence[Mapping[Key, int]], signs: Sequence[int]) -> dict[Key, int]:
    return {key: sign * way for group, sign in zip(tied, signs, strict=True) for key, way in group.items()}


def around(
    traced: TracedLoss, sites: Sequence[Site], noise: Rounding
) -> tuple[list[Convention], list[dict[Key, int]]]:
    """(the derivatives beside the point, lines whose operand is one or its negative, with its sign).

    The decisions that the code makes a little off the point are taken at the point: in the entries that lie
    on a corner, and nowhere else.
    """
    assert traced.again is not None
    generator = np.random.default_rng(2)
    found: list[Convention] = []
    seen: dict[Key, list[Array]] = {}
    values = {n: leaf.detach().numpy() for n, leaf in traced.leaves.items()}
    for _ in range(AROUND):
        way = {n: generator.normal(size=v.shape) * _size(v) for n, v in values.items()}
        for sign in (STEP, -STEP):
            beyond = Run(shift={n: sign * w for n, w in way.items()}, watched=set(traced.run.gaps))
            try:
                moved = traced.again(beyond).run
                followed = _merged(traced.run.decisions, moved.decisions, noise)
                other = traced.again(Run(follow=followed))
                found.append(Convention("from one direction", other.gradient(), other))
            except Exception:  # no array has the loss's value there, or the code went another way
                continue
            if len(moved.decisions) == len(traced.run.decisions):
                for site in sites:
                    seen.setdefault(site.key, []).append(_signs(site, traced.run, moved, noise))
    groups: list[dict[Key, int]] = []
    for key, signs in seen.items():
        own = np.concatenate(signs)
        for group in groups:
            first = np.concatenate(seen[next(iter(group))])
            if (
                own.size
                and first.shape == own.shape
                and (np.array_equal(own, first) or np.array_equal(own, -first))
            ):
                group[key] = 1 if np.array_equal(own, first) else -1
                break
        else:
            groups.append({key: 1})
    return found, [g for g in groups if len(g) > 1]


def _size(v: Array) -> Array:
    root = float(np.sqrt(np.mean(v * v))) if v.size else 0.0
    return np.asarray(np.abs(v) + (root or 1.0))


def _merged(base: Sequence[Any], moved: Sequence[Any], noise: Rounding) -> list[Any]:
    """The moved decisions, but for what lies off every corner."""
    if len(base) != len(moved):
        return list(moved)
    merged = []
    for i, (a, b) in enumerate(zip(base, moved, strict=True)):
        mask = (noise.corners or {}).get(i)
        if noise.corners is not None and (mask is None or not mask.any()):
            merged.append(a)
        elif mask is None or np.shape(a) != mask.shape or np.shape(b) != mask.shape:
            merged.append(b)
        elif isinstance(a, torch.Tensor):
            merged.append(torch.where(torch.from_numpy(np.array(mask)), b, a))
        else:
            merged.append(np.where(mask, b, a))
    return merged


def _signs(site: Site, base: Run, moved: Run, noise: Rounding) -> Array:
    """On which side of the corner every entry of the line's operand went."""
    if site.operation not in ONE_OPERAND:
        return np.zeros(0)
    signs = []
    for i in site.decisions:
        if i not in base.gaps or i not in moved.gaps or base.gaps[i].shape != moved.gaps[i].shape:
            continue
        apart = moved.gaps[i] - base.gaps[i]
        mask = (noise.corners or {}).get(i, np.abs(base.gaps[i]) <= np.abs(apart))
        signs.append(np.sign(apart[mask]).ravel() * (-1 if site.turned else 1))
    return np.concatenate(signs) if signs else np.zeros(0)


def _smooth(found: list[Convention], beside: list[Convention], noise: Rounding) -> list[Convention]:
    """The conventions, with the one derivative that there is in the entries where there is one only."""
    fixed = {}
    for n in beside[0].gradient:
        all_ = np.stack([c.gradient[n] for c in beside])
        size = max(float(np.max(np.abs(all_), initial=0.0)), 1e-300)
        fixed[n] = np.ptp(all_, axis=0) <= 1e-9 * size + 32 * noise.spread[n]
    return [
        replace(c, gradient={n: np.where(fixed[n], beside[0].gradient[n], g) for n, g in c.gradient.items()})
        for c in found
    ]


def _distinct(found: list[Convention], noise: Rounding) -> list[Convention]:
    kept: list[Convention] = []
    for c in found:
        if not any(not _differs(c.gradient, k.gradient, noise) for k in kept) or c.words == MEAN:
            kept.append(c)
    return kept if any(_differs(c.gradient, kept[0].gradient, noise) for c in kept) else kept[:1]


def _means(ends: list[Convention]) -> list[Convention]:
    if len(ends) < 2:
        return []
    mean = {n: np.mean([c.gradient[n] for c in ends], axis=0) for n in ends[0].gradient}
    return [Convention(MEAN, mean, ends[0].traced)]


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


def _taken(traced: TracedLoss, sides: Mapping[Key, int], noise: Rounding) -> Convention | None:
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
    return Convention(words, other.gradient(), other)


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
