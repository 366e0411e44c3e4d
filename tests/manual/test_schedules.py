"""Schedules at their edges: arrays of steps, one step after the warm-up, many half turns; and Lion at 0."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
