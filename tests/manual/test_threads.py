"""Several threads on one batch: they agree, stop together, and none is left or waited for in vain."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from manual import MLP, OPTIMIZERS
from manual.compiled import CompiledEngine, engine
from manual.compiled.threads import SLOT, together
from manual.numbers import Array
from tests.problems import gap


def threaded(threads: int, n: int = 29) -> tuple[CompiledEngine, Array, Array]:
    rng = np.random.default_rng(0)
    model = MLP((5, 7, 2))
    e = CompiledEngine(model, "mse", OPTIMIZERS["sgd"](model.parameters), threads=threads)
    return e, rng.normal(size=(n, 5)), rng.normal(size=(n, 2))


def test_threads_stop_together_at_the_step_whose_loss_is_not_finite() -> None:
    for bad in range(8):
        e, x, y = threaded(3)
        y[8 + bad] = np.nan  # in the second batch, so in each thread's share once
        losses_ = e.epoch(x, y, np.arange(29), 8, np.full(4, 0.1))
        assert np.isfinite(losses_).tolist() == [True, False]
        assert e.optimizer.steps == 1
        assert np.isfinite(e.flat).all()


def test_threads_refuse_a_bad_index_together() -> None:
    e, x, y = threaded(3)
    with pytest.raises(IndexError, match="29 samples"):
        e.epoch(x, y, np.array([0, 1, 2, 29]), 4, np.ones(1))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_nobody_waits_for_a_thread_that_an_error_or_ctrl_c_kept_from_coming(
    missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    e, x, y = threaded(3)
    seen: list[int] = []

    def interrupted(work: Any, threads: int, arrivals: Array) -> int:
        def without(thread: int) -> int:
            if thread == missing:
                raise KeyboardInterrupt
            seen.append(thread)
            return int(work(thread))

        return together(without, threads, arrivals)

    monkeypatch.setattr(engine, "together", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        e.epoch(x, y, np.arange(29), 8, np.full(4, 0.1))
    assert set(seen) <= {0, 1, 2} - {missing}  # who begins after that does not work at all
    assert threading.active_count() == before


def test_a_thread_that_begins_after_ctrl_c_ended_the_others_touches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late: list[threading.Timer] = []

    class Late(threading.Thread):
        def start(self) -> None:
            late.append(threading.Timer(0.1, super().start))
            late[0].start()
            raise KeyboardInterrupt

    runs: list[int] = []
    monkeypatch.setattr(threading, "Thread", Late)
    with pytest.raises(KeyboardInterrupt):
        together(lambda thread: runs.append(thread) or 0, 2, np.zeros(2 * SLOT, np.int64))
    late[0].join()
    assert runs == []


def test_a_second_ctrl_c_while_the_threads_end_does_not_leave_a_thread_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    join, calls = threading.Thread.join, []

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        calls.append(self)
        if len(calls) == 1:
            raise KeyboardInterrupt
        join(self, timeout)

    def slow(thread: int) -> int:
        time.sleep(0.2 * thread)
        return thread

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        together(slow, 2, np.zeros(2 * SLOT, np.int64))
    assert len(calls) == 2
    assert threading.active_count() == before


def test_more_threads_than_cores_or_samples_still_agree() -> None:
    one, x, y = threaded(1)
    many, _, _ = threaded(11)
    for e in (one, many):
        e.epoch(x, y, np.arange(29), 5, np.full(6, 0.1))
    assert gap(many.parameters(), one.parameters()) < 1e-13
    assert gap({"": many.predict(x)}, {"": one.predict(x)}) < 1e-13
