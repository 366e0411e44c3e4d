"""The global bound's terms: the errors found so far, and what a step is given to find the next.

Where a rule asks of one stage whether it is right, a step (`kinds/`) carries rounding on: e_out = what
the inputs' errors may change, second order included, plus the stage's own rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.rounding import Rounding


@dataclass(frozen=True)
class Shape:
    """sup |f′|, sup |f″| between the kinks, and by how much f′ and f jump at one."""

    slope: float = 1.0
    curvature: float = 0.0
    jump: float = 0.0
    value_jump: float = 0.0


@dataclass
class Bounds:
    """`errors[name]`: |value − true| at most, by stage; `kinks[name]`: units that could fall either way.

    `unknown` are the stages whose truth is not known, and all that follow from one: their errors are NaN.
    """

    r: Rounding
    values: dict[str, Array]
    jumps: bool = True
    errors: dict[str, Array] = field(default_factory=dict)
    kinks: dict[str, Array] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def error(self, name: str) -> Array:
        """The error of a stage; leaves are exact."""
        return self.errors[name] if name in self.errors else np.zeros_like(self.values[name])

    def read(self, stage: Stage) -> list[Array]:
        return [self.values[name] for name in stage.reads]


Step = Callable[[Stage, Bounds], Array]
