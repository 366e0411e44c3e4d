"""Lengths and entries that arrays may have been cut to: a limit is common to several, or a round number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import norm


@dataclass(frozen=True)
class Limits:
    """`lengths`: limits that the longest arrays share, of whole arrays, of their largest entries, and of the
    parts of folded ones; None where none is shared. `entries`: how often each array's largest entry occurs.
    """

    lengths: tuple[float | None, float | None, float | None]
    entries: tuple[float, ...]
    slack: float

    def reaches(self, h: Array | None, raw: Array) -> bool:
        """The array is as long as the limit: it may have been cut to it."""
        own = (norm(raw), float(np.abs(raw).max(initial=0)), 0.0 if h is None else norm(h))
        return any(
            limit is not None and value >= limit * (1 - self.slack)
            for limit, value in zip(self.lengths, own, strict=True)
        )

    def is_limit(self, v: float, times: int) -> bool:
        """±v is a limit of entries: in two places at least, of one array or several, or a round number."""
        alike = sum(abs(v - other) <= self.slack * v for other in self.entries)
        return times > 1 or alike > 1 or is_round(v, self.slack)


def is_round(v: float, slack: float) -> bool:
    """A number that somebody typed: a few digits, the fewer the less exactly it is known."""
    digits = 6 if slack <= 1e-11 else 4 if slack <= 1e-8 else 3
    return v > 0 and abs(v - float(f"{v:.{digits}g}")) <= slack * v


def limits_of(
    h: Mapping[Part, Array | None], raw: Mapping[str, Array], rtol: float, floor: Mapping[Part, float]
) -> Limits:
    """The limits that the author's arrays agree on."""
    parts = [v for v in h.values() if v is not None]
    longest = max((norm(v) for v in parts), default=0.0)
    slack = 1e-6 if rtol > 1e-8 else max(1e-12, max(floor.values(), default=0.0) / max(longest, 1e-300))
    slack = min(slack, 1e-6)

    def shared(values: Sequence[float]) -> float | None:
        most = max(values, default=0.0)
        alike = sum(v >= most * (1 - slack) for v in values)
        return most if most > 0 and (alike > 1 or is_round(most, slack)) else None

    entries = tuple(float(np.abs(v).max(initial=0)) for v in raw.values())
    lengths = (shared([norm(v) for v in raw.values()]), shared(entries), shared([norm(v) for v in parts]))
    return Limits(lengths, entries, slack)
