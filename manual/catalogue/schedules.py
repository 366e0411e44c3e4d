"""Learning-rate schedules as pure functions of the step, one row of `SCHEDULES` a schedule.

A row maps progress t (steps after the warm-up, a number or an array of them) and T (their total) to a
factor of the base rate.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def constant(t: Any, total: int) -> Any:
    """1."""
    return np.ones(np.shape(t))[()]


def step(t: Any, total: int) -> Any:
    """Divided by 10 after each third of the run: torch's StepLR(step_size=⌈T/3⌉, gamma=0.1)."""
    return 1 / 10 ** (t // math.ceil(total / 3))


def cosine(t: Any, total: int) -> Any:
    """½ (1 + cos(π t / T)), from 1 to 0: torch's CosineAnnealingLR(T_max=T)."""
    return (1 + cosine_of_half_turns(t / total)) / 2


def one_cycle(t: Any, total: int) -> Any:
    """Up from 1/25 to 1 over 30 % of the steps, down to 1/250,000: torch's OneCycleLR defaults."""
    rise, last = 0.3 * total - 1, total - 1  # no whole T makes the rise 0; up to one below 0 is no step
    up = _anneal(1 / 25, 1, t / rise)
    down = _anneal(1, 1 / 25 / 1e4, (t - rise) / (last - rise))
    return np.where(t <= rise, up, down)[()]


def _anneal(start: float, end: float, fraction: Any) -> Any:
    return end + (start - end) / 2 * (1 + cosine_of_half_turns(fraction))


# cos π f = 1 − 2 sin² (½ π f) for 0 ≤ f ≤ ½, the sine by its power series; −cos π (1 − f) up to 1
def cosine_of_half_turns(f: Any) -> Any:
    """cos π f from sums and products alone: NumPy's and C's cosines differ between processors by a bit."""
    f = np.abs(f - 2 * np.rint(f / 2))
    x = math.pi / 2 * np.minimum(f, 1 - f)
    sine: Any = 1.0
    for k in range(9, 0, -1):
        sine = 1 - sine * (x * x / (2 * k * (2 * k + 1)))
    return np.where(f > 0.5, -1.0, 1.0) * (1 - 2 * (x * sine) ** 2)


SCHEDULES: dict[str, Callable[[Any, int], Any]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def learning_rate(schedule: str, base: float, step: Any, total_steps: int, warmup_steps: int = 0) -> Any:
    """The rate of step 0, 1, … (a number or an array of them).

    The first `warmup_steps` rise linearly to the schedule's start.
    """
    if warmup_steps == 0:
        return base * SCHEDULES[schedule](step, max(1, total_steps))
    factor = SCHEDULES[schedule](np.maximum(step - warmup_steps, 0), max(1, total_steps - warmup_steps))
    return base * factor * np.minimum(1.0, (step + 1) / (warmup_steps + 1))
