"""Learning-rate schedules as pure functions of the step, one row of `SCHEDULES` a schedule.

A row maps progress t (steps after the warm-up) and T (their total) to a factor of the base rate.
"""

import math
from collections.abc import Callable


def constant(t: int, total: int) -> float:
    """1."""
    return 1.0


def step(t: int, total: int) -> float:
    """Divided by 10 after each third of the run: torch's StepLR(step_size=⌈T/3⌉, gamma=0.1)."""
    return float(0.1 ** (t // math.ceil(total / 3)))


def cosine(t: int, total: int) -> float:
    """½ (1 + cos(π t / T)), from 1 to 0: torch's CosineAnnealingLR(T_max=T)."""
    return (1 + math.cos(math.pi * t / total)) / 2


def one_cycle(t: int, total: int) -> float:
    """Up from 1/25 to 1 over 30 % of the steps, down to 1/250,000: torch's OneCycleLR defaults."""
    rise = 0.3 * total - 1
    if t <= rise:
        return _anneal(1 / 25, 1, t / rise)
    return _anneal(1, 1 / 25 / 1e4, (t - rise) / (total - 1 - rise)) if total - 1 > rise else 1.0


def _anneal(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def learning_rate(schedule: str, base: float, step: int, total_steps: int, warmup_steps: int = 0) -> float:
    """The rate of step 0, 1, …; the first `warmup_steps` rise linearly to the schedule's start."""
    if step < warmup_steps:
        return (
            base
            * SCHEDULES[schedule](0, max(1, total_steps - warmup_steps))
            * (step + 1)
            / (warmup_steps + 1)
        )
    return base * SCHEDULES[schedule](step - warmup_steps, max(1, total_steps - warmup_steps))
