"""Guilt by repair: whose value, exchanged for a true gradient, makes every wrong gradient right."""

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.candidates import PARAMETER, Candidate, for_site, pool
from mlp_torch.check.lines.draws import Draw, close
from mlp_torch.check.lines.program import Program
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.sites import Site

TINY = 1e-9  # what is left of values that cancel moves nothing when it is disturbed by a part of itself


@dataclass
class Hit:
    """A candidate that mends `mends` of the wrong gradients; `first`: the time of its first wrong event."""

    candidate: Candidate
    mends: frozenset[str]
    first: int
    last: int

    @property
    def site(self) -> int:
        return self.candidate.site


@dataclass
class Repairs:
    """The search on one draw, confirmed on the others; `held` are replacements made already."""

    program: Program
    draws: Sequence[Draw]
    deadline: float
    held: Sequence[Candidate] = ()
    expired: bool = False
    tried: int = 0
    reached: dict[int, frozenset[str]] = field(default_factory=dict)

    @property
    def draw(self) -> Draw:
        return self.draws[0]

    @property
    def sites(self) -> list[Site]:
        return self.program.sources.sites

    def replaced(self, draw: Draw, candidates: Sequence[Candidate]) -> dict[str, Array] | None:
        """The gradients of a run with candidates in place, or None where it does not run."""
        given: dict[At, Array] = {}
        for candidate in candidates:
            arrays = candidate.arrays(draw)
            if arrays is None:
                return None
            given |= arrays
        return self.run(draw, given)

    def reach(self, site: int) -> frozenset[str]:
        """The gradients that a site's backward values reach: those that move when it is disturbed."""
        if site not in self.reached:
            draw, generator, given = self.draw, np.random.default_rng(site), {}
            for k in draw.backward(site):
                v = draw.values[site][k]
                size = float(np.abs(v).max(initial=0.0))
                size = size if size > TINY else 1.0
                given[site, k] = v + 0.1 * size * generator.normal(size=v.shape)
            base = self.replaced(draw, []) or draw.hand if self.held else draw.hand
            hand = self.run(draw, given)
            moved = [n for n in draw.true if hand is None or not close(hand[n], base[n])]
            self.reached[site] = frozenset(moved)
        return self.reached[site]

    def run(self, draw: Draw, given: Mapping[At, Array]) -> dict[str, Array] | None:
        """The gradients of a run with values in place, and those that are held, or None where it fails."""
        whole: dict[At, Array] = {}
        for candidate in self.held:
            whole |= candidate.arrays(draw) or {}
        self.tried += 1
        try:
            return self.program.run(draw.parameters, draw.data, {**whole, **given})[1]
        except (Exception, SystemExit):  # whatever the author's code raises when a value has another shape
            return None

    def confirmed(self, hit: Hit) -> bool:
        """Whether it mends as much on every other draw."""
        for draw in self.draws[1:]:
            hand = self.replaced(draw, [hit.candidate])
            if hand is None or not all(draw.right(n, hand) for n in hit.mends):
                return False
        return True

    def of_site(
        self, site: int, pooled: Mapping[tuple[tuple[int, ...], ...], list[Candidate]], wrong: set[str]
    ) -> list[Hit]:
        """What mends at one site."""
        draw, found = self.draw, []
        zero: dict[str, Array] | None = None
        misshapen = any(draw.hand[n].size != draw.true[n].size for n in wrong)
        offered = list(for_site(draw, site, pooled, self.sites[site].assigned, misshapen))
        offered.sort(key=lambda c: not self.namesake(c))
        for candidate in offered:
            if time.monotonic() > self.deadline:
                self.expired = True
                break
            arrays = candidate.arrays(draw)
            if arrays is None:
                continue
            differing = [draw.order[at] for at, a in arrays.items() if not close(draw.values[site][at[1]], a)]
            if not differing:
                continue
            hand = self.replaced(draw, [candidate])
            if hand is None:
                continue
            mends = self._mends(hand, wrong)
            if not mends and candidate.what == "gradient" and candidate.where == "all":
                if zero is None:
                    zero = self.replaced(draw, [candidate.scaled(0.0)]) or {}
                factor = self._scale(hand, zero, wrong)
                if factor is not None:
                    candidate = candidate.scaled(factor)
                    again = candidate.arrays(draw) or {}
                    differing = [
                        draw.order[at] for at, a in again.items() if not close(draw.values[site][at[1]], a)
                    ]
                    hand = self.replaced(draw, [candidate]) if differing else None
                    mends = self._mends(hand, wrong) if hand is not None else set()
            if mends:
                places = [draw.order[at] for at in arrays]
                found.append(Hit(candidate, frozenset(mends), min(differing), max(places)))
                if mends == wrong and candidate.factor == 1:
                    break
        return sorted(found, key=lambda h: (-len(h.mends), h.candidate.factor != 1))

    def namesake(self, c: Candidate) -> bool:
        """Whether the place is named after the source: dz1, grad_z1, z1_delta after z1."""
        place = _stem(self.sites[c.site].target)
        source = _stem(c.name if c.source == PARAMETER else self.sites[c.source].target)
        return bool(place) and place == source

    def _mends(self, hand: Mapping[str, Array], wrong: set[str]) -> set[str]:
        if any(n not in wrong and not self.draw.right(n, dict(hand)) for n in self.draw.true):
            return set()
        return {n for n in wrong if self.draw.right(n, dict(hand))}

    def _scale(self, hand: Mapping[str, Array], zero: Mapping[str, Array], wrong: set[str]) -> float | None:
        """c for which the author's own scale, c times too large all along, comes out right: a likely one.

        The backward pass is linear in what it starts from: gradients are zero + c · (hand − zero).
        """
        true = self.draw.true
        moving = [
            n for n in wrong
            if n in zero and hand[n].shape == zero[n].shape == true[n].shape and not close(hand[n], zero[n])
        ]  # fmt: skip
        if not moving:
            return None
        a = np.concatenate([(hand[n] - zero[n]).ravel() for n in moving])
        b = np.concatenate([(true[n] - zero[n]).ravel() for n in moving])
        square = float(a @ a)
        if not np.isfinite(square) or not square or len(a) < 2:
            return None
        c = float(a @ b) / square
        if np.linalg.norm(c * a - b) > 1e-7 * np.linalg.norm(b) or abs(c - 1) < 1e-9:
            return None
        return c if any(abs(c - w) <= 1e-7 * abs(w) for w in self.likely()) else None

    def likely(self) -> set[float]:
        """Constants that an author may carry along: sizes, their inverses, signs, 2 and ½."""
        sizes = {1.0, 2.0}
        for v in [*self.draw.true.values(), *(d for d in self.draw.data if isinstance(d, np.ndarray))]:
            shape = v.shape
            sizes |= {float(d) for d in shape} | {float(np.prod(shape[:i])) for i in range(1, len(shape) + 1)}
        sizes.discard(0.0)
        return {w * f for d in sizes for w in (d, 1 / d) for f in (1, -1, 2, -2, 0.5, -0.5)}

    def search(self, wrong: set[str], statements: bool = True) -> list[Hit]:
        """Hits at what statements give (or at every expression), by the time of the site's first event."""
        draw = self.draw
        pooled = pool(draw, self.sites, "gradient")
        backward = [s for s in draw.values if draw.backward(s) and self.sites[s].kind != "argument"]
        backward.sort(key=lambda s: draw.order[s, draw.backward(s)[0]])
        found: list[Hit] = []
        for site in backward:
            if statements and not self.sites[site].assigned:
                continue
            if all(not draw.values[site][k].any() for k in draw.backward(site)) and (
                "zeros" in self.sites[site].text
            ):
                continue
            if not self.reach(site) <= wrong:
                continue  # another value there would spoil what is right
            found += self.of_site(site, pooled, wrong)
            if self.expired:
                break
        return found


class Known:
    """Arrays of one shape, found again by their slopes along one direction."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self.slopes: Array = np.empty(0)
        self.direction: Array = np.empty(0)

    def has(self, value: Array) -> bool:
        """Whether a value is one of them, up to rounding."""
        if len(self.slopes) < len(self.arrays):
            self.direction = np.random.default_rng(0).normal(size=value.shape)
            self.slopes = np.array([float((self.direction * a).sum()) for a in self.arrays])
        slope = float((self.direction * value).sum())
        far = 1e-6 * float(np.linalg.norm(self.direction)) * float(np.linalg.norm(value))
        return any(close(value, self.arrays[i]) for i in np.flatnonzero(np.abs(self.slopes - slope) <= far))


class Verified:
    """Which values are the whole true gradient of some forward value: of the one that they are named after,
    where there is one.
    """

    def __init__(self, draw: Draw, sites: list[Site]) -> None:
        self.draw, self.sites = draw, sites
        self.whole: dict[tuple[int, ...], Known] = defaultdict(Known)
        self.named: dict[tuple[str, tuple[int, ...]], Known] = defaultdict(Known)
        for (number, _), g in draw.truth.items():
            site = sites[number]
            if g is None or (site.kind == "use" and not site.target):
                continue  # of one use of it, not of the whole
            self.whole[g.shape].arrays.append(g)
            if site.target and site.kind != "argument":
                self.named[_stem(site.target), g.shape].arrays.append(g)
        for name, g in draw.true.items():
            self.whole[g.shape].arrays.append(g)
            self.named[_stem(name), g.shape].arrays.append(g)

    def __call__(self, at: At) -> bool:
        value = self.draw.values[at[0]][at[1]]
        by_name = self.by_name(at, value)
        if by_name is not None:
            return by_name and bool(value.any())
        return self.whole_of_any(value)

    def whole_of_any(self, value: Array) -> bool:
        """Whether a value is the whole gradient of any forward value of its shape."""
        return value.shape in self.whole and bool(value.any()) and self.whole[value.shape].has(value)

    def by_name(self, at: At, value: Array) -> bool | None:
        """Whether a value there is the gradient that its name says it is; None where no name says so."""
        target = self.sites[at[0]].target
        stem = _stem(target)
        if not stem or stem == target.lower() or (stem, value.shape) not in self.named:
            return None
        return self.named[stem, value.shape].has(value)


@lru_cache(maxsize=4096)
def _stem(name: str) -> str:
    """What a gradient's name says it is of."""
    bare = re.sub(r"\W", "", name.rpartition(".")[2].rpartition("[")[2] or name).lower()
    return re.sub(r"^(d_?|grad_?|delta_?|g_?)|(_?grad|_?delta|_?bar)$", "", bare)


def blamed(draw: Draw, sites: Sequence[Site], hits: Sequence[Hit]) -> Hit | None:
    """The last hit up to the first wrong value that mends anything, of those that mend most.

    What comes before it still is a true gradient; a value downstream mends as well, and is not to blame.
    """
    outside = [h for h in hits if draw.gradients(h.site) is None]  # not in a helper of both passes
    hits = outside or list(hits)
    if not hits:
        return None
    verified = Verified(draw, list(sites))
    firsts = []
    for h in hits:
        arrays = h.candidate.arrays(draw) or {}
        firsts += [
            draw.order[at] for at, a in arrays.items()
            if not close(draw.values[at[0]][at[1]], a) and not verified(at)
        ]  # fmt: skip
    limit = min(firsts, default=min(h.first for h in hits))
    timed = []
    for h in hits:
        times = [draw.order[at] for at in h.candidate.arrays(draw) or {} if draw.order[at] <= limit]
        if times:
            timed.append((len(h.mends), max(times), h.candidate.factor == 1, h))
    if timed:
        return max(timed, key=lambda t: t[:3])[3]
    return min(hits, key=lambda h: (-len(h.mends), h.first, h.candidate.factor != 1))
