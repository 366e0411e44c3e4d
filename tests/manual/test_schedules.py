"""Every schedule has torch's rates; its edges: arrays of steps, one step after the warm-up, many half turns.

And Lion at 0.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as s

from manual import OPTIMIZERS, SCHEDULES, learning_rate
from manual.catalogue.schedules import cosine_of_half_turns


@given(st.floats(-40, 40))
def test_half_turns_are_taken_off_before_the_cosine(f: float) -> None:
    assert cosine_of_half_turns(f) == pytest.approx(math.cos(math.pi * f), abs=1e-13)


@pytest.mark.parametrize("warmup", [0, 3])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_array_of_steps_gives_the_rate_of_each(schedule: str, warmup: int) -> None:
    together = learning_rate(schedule, 0.3, np.arange(11), 11, warmup)
    assert together.tolist() == [learning_rate(schedule, 0.3, step, 11, warmup) for step in range(11)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_step_after_the_warm_up_is_a_whole_run_of_one_step(schedule: str) -> None:
    assert learning_rate(schedule, 0.3, 4, 5, 4) == learning_rate(schedule, 0.3, 0, 1)


def test_lion_keeps_its_average_by_adams_name_and_stands_still_where_the_gradient_is_0() -> None:
    weights = np.array([1.0, -2.0])
    rule = OPTIMIZERS["lion"]({"w": weights}, lr=0.5)
    rule.step({"w": np.array([0.0, 3.0])})
    assert weights.tolist() == [1, -2.5]
    assert list(rule.state["w"]) == ["exp_avg"]


def torch_rates(schedule: str, base: float, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=base)
    scheduler: Any = {
        "constant": lambda: s.ConstantLR(optimizer, factor=1.0),
        "step": lambda: s.StepLR(optimizer, step_size=math.ceil(total / 3), gamma=0.1),
        "cosine": lambda: s.CosineAnnealingLR(optimizer, T_max=total),
        "one_cycle": lambda: s.OneCycleLR(optimizer, base, total_steps=total, cycle_momentum=False),
    }[schedule]()
    rates = []
    for step in range(total):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    return rates


@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 10, 31, 100, 301])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_are_torchs(schedule: str, total: int) -> None:
    ours = [learning_rate(schedule, 0.3, step, total) for step in range(total)]
    # torch's cosine multiplies its way down from step to step, 3 roundings each
    np.testing.assert_allclose(ours, torch_rates(schedule, 0.3, total), rtol=1e-14, atol=0.3 * total * 1e-15)


@pytest.mark.parametrize("warmup", [1, 2, 5, 20])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_warm_up_is_torchs_linear_one_to_the_schedules_start(schedule: str, warmup: int) -> None:
    total, base = 40 + warmup, 0.3
    ours = [learning_rate(schedule, base, step, total, warmup) for step in range(total)]
    start = learning_rate(schedule, base, 0, 40)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=start)
    scheduler = s.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
    for step in range(warmup):
        assert math.isclose(ours[step], optimizer.param_groups[0]["lr"], rel_tol=1e-13)
        optimizer.step()
        scheduler.step()
    assert ours[warmup] == start
    assert ours[warmup:] == [learning_rate(schedule, base, step, 40) for step in range(40)]


def test_a_rate_one_step_late_is_seen() -> None:
    for schedule in set(SCHEDULES) - {"constant"}:
        late = [learning_rate(schedule, 0.3, max(0, step - 1), 31) for step in range(31)]
        assert not np.allclose(late, torch_rates(schedule, 0.3, 31), rtol=1e-3)
