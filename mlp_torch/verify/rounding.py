"""How far rounding may carry each stage: bounds that follow from the operation count, none guessed.

u is half the distance from 1 to the next float. Every +, −, ×, ÷ is assumed correct to a relative u
(IEEE 754), a sum of n terms in any order, fused or not, to γₙ = n u / (1 − n u) of the sum of absolute
values (Higham 2002, lemma 3.1), an elementary function (exp, log, tanh, erf, expm1, log1p, sqrt) to 4
ulp, which is 8 u (erf inside torch's float32 gelu: 20 ulp): a test measures both libraries. Results
below the smallest normal number may be flushed, on the way too, where they are then multiplied by what may
be large: the hand-written runs do so (`manual.training.subnormals`). Where an intermediate result could
overflow, nothing is claimed. The bounds hold for every usual way to evaluate a stage, so they judge
any engine; they are themselves computed in float64 and rounded up by `up`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from manual.numbers import Array

ELEMENTARY = 8  # units of u: 4 ulp
ERF_FLOAT32 = 40  # torch's float32 gelu takes a fast erf that is documented to 20 ulp


@dataclass(frozen=True)
class Rounding:
    """The arithmetic of one dtype: unit roundoff, smallest normal and largest number."""

    u: float
    tiny: float
    largest: float

    @classmethod
    def of(cls, dtype: Any) -> "Rounding":
        info = np.finfo(dtype)
        return cls(float(info.eps) / 2, float(info.tiny), float(info.max))

    def fits(self, size: Array | float) -> Array:
        """Whether intermediate results of that size, rounded, cannot overflow."""
        return np.asarray(size <= self.largest / 2)  # ½: no bound here is used where n u > ½

    @property
    def erf(self) -> int:
        """The error of erf inside gelu, in units of u."""
        return ERF_FLOAT32 if self.u > 2.0**-50 else ELEMENTARY

    def gamma(self, n: float) -> float:
        """γₙ; infinite where n u ≥ 1, and nothing can be said."""
        return n * self.u / (1 - n * self.u) if n * self.u < 1 else np.inf


def up(bound: Array, n: int = 0) -> Array:
    """A computed bound, raised by what its own float64 evaluation over n terms may have lost."""
    return bound * (1 + (n + 128) * 2.0**-52)


def erf(x: Array) -> Array:
    """The error function in float64, by torch, which is there anyway: SciPy takes a sixth of a second."""
    found: Array = torch.erf(torch.from_numpy(np.asarray(x, np.float64))).numpy()
    return found
