"""Entry by entry: what lies beyond its own rounding, and what no comparison can see."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.describe.noise import by_entry as rounded
from mlp_torch.check.faults.claims import norm
from mlp_torch.check.faults.evidence import Evidence

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
