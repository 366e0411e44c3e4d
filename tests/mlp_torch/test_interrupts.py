"""Ctrl-C leaves no lock and no file half done: it waits where things are written, and nowhere else."""

import signal
import subprocess
import sys
import threading

import optuna
import pytest
from optuna.trial import TrialState

from mlp_torch.__main__ import main
from mlp_torch.config import ENGINES
from mlp_torch.interrupts import held, released, released_each
from mlp_torch.runs import Run
from mlp_torch.sweep import study as studies
from mlp_torch.sweep.journal import Journal
from tests.mlp_torch.running import config, epoch_of, metrics, train


def interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def answer(ctrl_c):
    """Ctrl-C is answered after each test as before it."""
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def done():
    """What was reached, in order; `interrupted` fills it."""
    return []


def interrupted(work):
    with pytest.raises(KeyboardInterrupt):
        work()


def test_ctrl_c_waits_for_the_end_of_the_outermost_held_block(done):
    @held()
    def work():
        with held():
            interrupt()
            done.append("inner")
        done.append("outer")

    interrupted(work)
    assert done == ["inner", "outer"]


def test_a_second_ctrl_c_does_not_wait(done):
    @held()
    def work():
        interrupt()
        done.append(1)
        interrupt()
        done.append(2)

    interrupted(work)
    assert done == [1]


def test_in_a_released_block_ctrl_c_acts_at_once_and_before_and_after_it_waits(done):
    def twice():
        with released():
            interrupt()
            done.append("never")

    def late():
        interrupt()
        done.append("held")
        with released():
            done.append("never")

    with held():
        interrupted(twice)
        interrupted(late)
        interrupted(twice)
    assert done == ["held"]


def test_without_a_held_block_around_released_changes_nothing():
    interrupted(released()(interrupt))


def test_between_items_ctrl_c_waits_and_the_used_item_is_used_to_its_end(done):
    def work():
        for item in released_each(range(5)):
            if item == 2:
                interrupt()
            done.append(item)

    with held():
        interrupted(work)
    assert done == [0, 1, 2]


def test_a_programs_own_answer_to_ctrl_c_stays():
    came = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        with held(), released():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == [signal.SIGINT]


def test_in_a_thread_which_may_set_no_answer_both_blocks_run_as_they_are():
    done = []

    def work():
        with held(), released():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


@pytest.mark.parametrize("engine", ENGINES)
def test_ctrl_c_while_an_epoch_is_written_leaves_that_epoch_whole(runs, engine, monkeypatch, capsys):
    log = Run.log

    def at_the_third(self, numbers):
        if numbers["epoch"] == 3:
            interrupt()
        log(self, numbers)

    monkeypatch.setattr(Run, "log", at_the_third)
    flags = "--data xor --hidden 4 --lr 0.001 --schedule constant --epochs 1000"
    assert train(runs, f"{flags} --engine {engine}") == 130
    assert "mlp train: interrupted; the weights of epoch 3, the last so far" in capsys.readouterr().err
    run = runs / "run"
    assert len(metrics(run)) == epoch_of(run) == config(run)["result"]["epoch"] == 3


def test_where_ctrl_c_is_ignored_as_under_nohup_a_run_trains_to_its_end(runs, monkeypatch):
    log = Run.log

    def interrupt_and_log(self, numbers):
        interrupt()
        log(self, numbers)

    monkeypatch.setattr(Run, "log", interrupt_and_log)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert train(runs, "--data xor --hidden 4 --epochs 3") == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(metrics(runs / "run")) == 3


def test_a_process_that_a_test_starts_answers_ctrl_c_whatever_started_the_tests():
    code = "import signal; signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize("nth", [1, 2, 3, 4, 6, 8, 9, 11])
def test_ctrl_c_while_a_study_is_locked_frees_the_lock_and_gives_the_trial_back(
    nth, runs, monkeypatch, capsys
):
    append, calls = Journal.append_logs, []

    def at_the_nth(self, logs):
        calls.append(logs)
        lock = self._lock
        if len(calls) == nth + 2:  # two words make the study
            release = lock.release

            def released_in_the_end():
                del lock.release
                interrupt()
                release()

            lock.release = released_in_the_end
        append(self, logs)

    monkeypatch.setattr(Journal, "append_logs", at_the_nth)
    line = "sweep --data xor --epochs 3 --hidden 4 --sweep lr=1e-3:1e-1:log --sampler random --pruner none"
    line += f" --study s --runs-dir {runs}"
    assert main([*line.split(), "--trials", "2"]) == 130
    assert len(calls) > nth + 2
    assert not list((runs / "s").glob("*.lock*"))
    monkeypatch.undo()
    assert main([*line.split(), "--trials", "3"]) == 0
    found = optuna.load_study(study_name="s", storage=studies.storage(None, runs / "s")).get_trials()
    assert sum(t.state == TrialState.COMPLETE for t in found) == 3
    assert not [t for t in found if t.state == TrialState.RUNNING]
