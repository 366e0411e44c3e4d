"""Array by array and entry by entry: what lies beyond its own rounding, and what no comparison can see."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import shapes
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.describe.noise import by_entry as rounded
from mlp_torch.check.faults import regions
from mlp_torch.check.faults.claims import Claim, Claims, norm
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.report import ArrayRow, row

AGAIN = 2.0  # seconds of work for the arrays that no part of them explains
BESIDE = 1e-3  # of what an array differs by: another that differs by less has no part in it
LOOSE = 1e-5  # of an entry's terms: what an ε that costs an array 3e-7 may cost its entries
LEAST = 1e-300  # what a kink's sides may differ by
FEW = 0.1  # of an entry: less is no difference, where rounding may be more than the entry


@dataclass(frozen=True)
class Entry:
    """An array's true entries, their rounding (`floor`: a step's), their terms, the penalty's gradient."""

    true: Array
    rounding: Array
    floor: float
    terms: Array
    penalty: Array

    def allowed(self, share: float) -> Array:
        return np.asarray(self.rounding + self.floor + share * np.maximum(self.terms, np.abs(self.true)))

    def beyond(self, h: Array, share: float) -> Array:
        """The entries that rounding, and this share of what they are a sum of, do not explain."""
        return np.asarray(~(np.abs(h - self.true) <= self.allowed(share)))

    def penalty_lost(self, h: Array) -> bool:
        """What differs is the penalty's gradient times something, and more than rounding."""
        gap, R = h - self.true, self.penalty
        noise = float(np.hypot(norm(self.rounding), self.floor))
        square = float((R * R).sum())
        if not square or not norm(gap) > noise:
            return False
        amount = float((gap * R).sum()) / square
        return norm(gap - amount * R) <= max(noise, 1e-3 * norm(gap)) and abs(amount) > 1e-9

    def unjudged(self, h: Array) -> Array:
        """The entries that differ and are less than their rounding."""
        size = np.abs(self.true)
        return np.asarray((self.rounding + self.floor > size) & (np.abs(h - self.true) > FEW * size + LEAST))

    @property
    def penalty_unseen(self) -> bool:
        return bool(self.penalty.any()) and norm(self.penalty) <= float(
            np.hypot(norm(self.rounding), self.floor)
        )


def by_entry(
    c: Evidence, true: Mapping[Part, Array], single: bool, floors: Mapping[str, float]
) -> dict[Part, Entry]:
    """By the part that stands for its array: the last of those that share one."""
    p, found = c.problem, rounded(c.problem, single)
    groups: dict[tuple[str, str], list[Part]] = {}
    for part in true:
        groups.setdefault((part.name, part.role), []).append(part)
    made = {}
    for members in groups.values():
        last = members[-1]

        def total(values: Mapping[Part, Array], members: list[Part] = members, last: Part = last) -> Array:
            turned = (values[q] if q.layout == last.layout else values[q].T for q in members)
            return np.asarray(sum(turned, np.zeros(1)))

        made[last] = Entry(
            total(true), total(found.rounding), floors.get(last.name, 0.0), total(found.terms),
            total({q: p.regulariser(q) for q in members}),
        )  # fmt: skip
    return made


def unseen(c: Evidence, true: Mapping[Part, Array], entries: Mapping[Part, Entry]) -> tuple[str, ...]:
    """Notes of what lies below rounding, and of arrays that are 0 whatever is made of them."""
    count: dict[str, int] = {}
    for part, entry in entries.items():
        h = c.h[part]
        if h is not None and h.shape == entry.true.shape:
            count[part.name] = count.get(part.name, 0) + int(entry.unjudged(h).sum())
    notes = []
    if below := [f"{n} entr{'y' if n == 1 else 'ies'} of d{name}" for name, n in count.items() if n]:
        notes.append(f"note: not judged: {', '.join(below)} below rounding")
    if lost := [f"d{part.name}" for part, entry in entries.items() if entry.penalty_unseen]:
        notes.append(f"note: not judged: the penalty's gradient in {', '.join(lost)}, below rounding")
    names = dict.fromkeys(part.name for part in true)
    zero = [n for n in names if not any(t.any() for q, t in true.items() if q.name == n)]
    if zero:
        said = ", ".join(f"d{n}" for n in zero)
        notes.append(f"note: every true entry of {said} is 0: a fault in what goes into it cannot be seen")
    return tuple(notes)


def right_arrays(
    c: Evidence, true: Mapping[Part, Array], entries: Mapping[Part, Entry]
) -> tuple[dict[str, bool], bool]:
    """Per name: equal to the truth; and whether all are within 1e-6, as an ε in a log leaves them."""
    sums: dict[str, list[Part]] = {}
    for part in true:
        sums.setdefault(part.name, []).append(part)
    right, loose = {}, True
    apart: dict[int, list[tuple[bool, float]]] = {}
    for name, members in sums.items():
        fine = True
        for group in _groups(members):
            part, h = group[-1], c.h[group[-1]]
            t = sum((_turn(q, true[q], part) for q in group), np.zeros(1))
            good = h is not None and bool(np.isfinite(h).all()) and c.same(h, t, part)
            entry = entries.get(part)
            if good and h is not None and entry is not None:
                good = not entry.beyond(h, c.rtol).any() and not entry.penalty_lost(h)
            fine &= good
            if h is not None and h.shape == t.shape and (size := norm(t)) > 0:
                apart.setdefault(part.layer, []).append((good, norm(h - t) / size))
            if not good:
                near = h is not None and h.shape == t.shape and bool(np.isfinite(h).all())
                gap = np.inf if h is None or not near else float(np.linalg.norm(h - t))
                loose &= gap <= 3e-7 * float(np.linalg.norm(t))
                if loose and h is not None and entry is not None:
                    loose = not entry.beyond(h, LOOSE).any() and not entry.penalty_lost(h)
        right[name] = fine
    return right, loose and not _of_one_array(apart)


def _of_one_array(apart: Mapping[int, list[tuple[bool, float]]]) -> bool:
    """An array differs and another of its layer does not: what goes into both, dz, holds no ε."""
    return any(
        not good and any(fine and other <= BESIDE * gap for fine, other in own)
        for own in apart.values()
        for good, gap in own
    )


def _groups(members: list[Part]) -> list[list[Part]]:
    """Parts of one array that hold the same entries: one each, or all the layers that use it."""
    by_role: dict[str, list[Part]] = {}
    for part in members:
        by_role.setdefault(part.role, []).append(part)
    return list(by_role.values())


def _turn(part: Part, value: Array, like: Part) -> Array:
    return value if part.layout == like.layout else value.T


@dataclass(frozen=True)
class Shaped:
    """One array as the author shaped it: theirs, the true one, and how far each entry may be off."""

    hand: Array
    true: Array
    allowed: Array

    @property
    def comparable(self) -> bool:
        return self.hand.shape == self.true.shape and bool(np.isfinite(self.hand).all())


def shaped(c: Evidence, true: Mapping[Part, Array], entries: Mapping[Part, Entry]) -> dict[str, Shaped]:
    """The arrays by name; one that misfits keeps its own shape beside the parameter's."""
    p, natural_shapes = c.problem, {}
    for part in true:
        lay = p.layers[part.layer - 1]
        full = (lay.W.shape[0] + bool(part.fold), lay.W.shape[1])
        natural = full if part.layout == "in,out" else full[::-1]
        size = int(np.prod(full)) if part.role == "W" else p.theta(part).size
        if part.role == "b" and part.fold:
            continue
        own = c.raw[part.name].shape
        natural_shapes[part.name] = (
            own
            if int(np.prod(own)) == size and shapes.canonical(part, c.raw[part.name], p) is not None
            else (natural if part.role == "W" else (size,))
        )
    truth = shapes.author(true, natural_shapes)
    allowed = shapes.author({q: entry.allowed(c.rtol) for q, entry in entries.items()}, natural_shapes)
    return {name: Shaped(c.raw[name], t, allowed[name]) for name, t in truth.items()}


def table(
    c: Evidence, arrays: Mapping[str, Shaped], true: Mapping[Part, Array], right: Mapping[str, bool]
) -> dict[str, ArrayRow]:
    """One row an array."""
    floor: dict[str, float] = {}
    for part in true:
        floor[part.name] = floor.get(part.name, 0.0) + c.floor[part]
    rows = {}
    for name, own in arrays.items():
        h, t = own.hand, own.true
        with np.errstate(invalid="ignore"):
            rows[name] = row(name, h, t, right[name], allowed=own.allowed)
        if not min(norm(t), norm(h)) > floor[name] or not np.isfinite(
            rows[name].ratio
        ):  # what is 0 but for rounding has no ratio
            nan = np.nan
            rows[name] = replace(rows[name], ratio=nan, spread=nan, cosine=nan)
            if not right[name] and norm(t) <= floor[name]:
                rows[name] = replace(rows[name], verdict="wrong")
    return rows


def in_parts(
    c: Evidence, arrays: Mapping[str, Shaped], right: Mapping[str, bool], searched: bool
) -> list[Claims]:
    """The set that says what a part of each wrong array holds. `searched`: nothing else explains them; before
    that, one array alone, where another one of its layer is right.
    """
    bad = [name for name, fine in right.items() if not fine]
    layers = {name: next(q.layer for q in c.h if q.name == name) for name in right}
    beside = [n for n in right if right[n] and layers[n] in {layers[m] for m in bad}]
    if not searched and (len(bad) > 1 or not beside):
        return []
    claims: Claims = ()
    for name in bad:
        own = arrays[name]
        said = regions.told(own.hand, own.true, own.allowed) if own.comparable else None
        if said is not None:
            kind, variant, words = said
            claims += (Claim(kind, variant, words, layers[name], name),)
    return [claims] if claims else []


def mended(
    c: Evidence, true: Mapping[Part, Array], arrays: Mapping[str, Shaped], names: set[str]
) -> Evidence:
    """What is left to explain where the arrays `names` are explained: these as if they were right."""
    h = {q: true[q] if q.name in names else v for q, v in c.h.items()}
    raw = {n: arrays[n].true if n in names else v for n, v in c.raw.items()}
    return replace(c, h=h, raw=raw, rests={}, slopes={}, found_limits=[], deadline=time.thread_time() + AGAIN)


def lone_wrong(c: Evidence) -> Part | None:
    """The one array that is wrong, where another one of its layer shows that its dz is right."""
    true = c.problem.true()
    wrong = [q for q, h in c.h.items() if h is None or not c.same(h, true[q], q)]
    if len(wrong) != 1 or c.h[wrong[0]] is None or sum(q.name == wrong[0].name for q in true) > 1:
        return None
    beside = any(q.layer == wrong[0].layer and q != wrong[0] for q in c.h)
    return wrong[0] if beside else None
