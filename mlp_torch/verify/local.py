"""The local certificate's terms: what a rule says of one stage, and what it is given.

A rule (`kinds/`) gives a stage's true value, enclosed, on the engine's own inputs, and the bound within
which rounding may carry it. No error is passed on from stage to stage, so the depth of the network does
not matter, and a stage that breaks its bound is itself wrong, whatever arrived there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.enclosure import Enclosure
from mlp_torch.verify.rounding import Rounding

NO_TRUTH, NO_BOUND = "no truth for", "no bound for"


class UnknownError(LookupError):
    """Nothing can be proven of a stage: `truth.py` has no row for what it applies, or no bound follows."""

    def __init__(self, row: str, what: str = NO_TRUTH) -> None:
        super().__init__(f"{what} {row}")


@dataclass(frozen=True)
class Local:
    """The true value of one stage, the bound on its rounding, and the entries at a kink.

    `size` is the largest intermediate result of any usual evaluation: where it could overflow, the
    bound claims nothing. An entry where `kink` holds may take either side's value, `truth` or `other`.
    """

    truth: Enclosure
    bound: Array
    size: Array | float = 0.0
    kink: Array | None = None
    other: Enclosure | None = None


@dataclass
class Context:
    """Float64 copies of a trace's values, its arithmetic, what was evaluated and found misshapen so far."""

    values: Mapping[str, Array]
    r: Rounding
    memo: dict[Any, Any] = field(default_factory=dict)
    misshapen: set[str] = field(default_factory=set)

    def read(self, stage: Stage) -> list[Array]:
        return [self.values[name] for name in stage.reads]


# Raises UnknownError where `truth.py` does not know the row.
Rule = Callable[[Stage, Context], Local]
