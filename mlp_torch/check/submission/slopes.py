"""The slope of a loss along a line, from its values alone, with how far it may be off."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

STEPS = tuple(0.25 * 4.0**-k for k in range(10))  # 0.25 … 1e-6 of the way
ORDER = (6, 7, 5, 4, 3, 2, 1, 0, 8, 9)  # of the steps: 6e-5 and the next, then longer ones, then the smallest
SHORT = 2e-3  # of them: h³ is nothing beside the rounding of float32


@dataclass(frozen=True)
class Slope:
    """dL/dt at 0, and a bound of its error: infinite where no two steps can be compared."""

    value: float
    error: float


@dataclass(frozen=True)
class _Stencil:
    """Five values of the loss, at −2h … 2h."""

    step: float
    values: tuple[float, ...]

    @property
    def slope(self) -> float:
        """L′ ≈ (8(L₁ − L₋₁) − (L₂ − L₋₂)) / 12h, off by O(h⁴) and by the rounding of L over h."""
        a, b, _, c, d = self.values
        return (8 * (c - b) - (d - a)) / (12 * self.step)

    @property
    def noise(self) -> float:
        """Two standard deviations of the values' rounding ε, as differences show it that a curve has not.

        Δ⁴ = L₋₂ − 4L₋₁ + 6L₀ − 4L₁ + L₂ ≈ √70 ε, and where h³ is small Δ³ = L₂ − 2L₁ + 2L₋₁ − L₋₂ ≈ √10 ε:
        what is rounded alike on both sides has no Δ⁴. Of neighbours that are equal all the way is rounding.
        """
        a, b, start, c, d = self.values
        fourth, third = abs(a - 4 * b + 6 * start - 4 * c + d) / 4, abs(d - 2 * c + 2 * b - a) / 1.6
        seen = max(fourth, third if self.step < SHORT else 0.0)
        equal = any(v == w for v, w in pairwise(self.values))
        return max(seen, max(self.values) - min(self.values)) if equal else seen

    @property
    def level(self) -> bool:
        return len(set(self.values)) == 1


def slope(loss: Callable[[float], float], start: float, wanted: float) -> Slope:
    """dL/dt at 0 of `loss`, which is `start` there; more steps are tried until the error is as `wanted`."""
    found: dict[int, _Stencil] = {}
    best = Slope(math.nan, math.inf)
    for k in ORDER:
        h = STEPS[k]
        a, b, c, d = (loss(i * h) for i in (-2, -1, 1, 2))
        found[k] = _Stencil(h, (a, b, start, c, d))
        best = min(_agreed(found), key=lambda s: s.error, default=Slope(math.nan, math.inf))
        if best.error <= wanted:
            break
    return best


def _agreed(found: dict[int, _Stencil]) -> list[Slope]:
    """What two steps beside each other agree on; its error is what they differ by, and the rounding.

    The rounding at a step is the largest seen there and at shorter ones: a kink within them is seen as
    well. Equal values tell of a level loss only where they are equal along all the way: shorter ways may
    lie between two of the numbers that the loss is rounded to.
    """
    size = max(abs(s.values[2]) for s in found.values())
    noise = size * _unit([v for s in found.values() for v in s.values])
    level = all(s.level for s in found.values()) and 0 in found
    slopes = []
    for short, long in pairwise(sorted(found, reverse=True)):
        fine, coarse = found[short], found[long]
        noise = max(noise, fine.noise)
        if short != long + 1 or (fine.level and not level):
            continue
        error = abs(fine.slope - coarse.slope) + noise / fine.step
        if math.isfinite(error):
            slopes.append(Slope(coarse.slope, error))
    return slopes


def _unit(values: list[float]) -> float:
    """The rounding of numbers of the dtype that they all fit in, relative."""
    with np.errstate(over="ignore"):  # too large for float32: it is none
        single = all(float(np.float32(v)) == v for v in values)
    return 2.0**-23 if single else 2.0**-52
