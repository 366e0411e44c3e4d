"""A study outlives its processes: killed, interrupted, resumed, it goes on and is never mixed."""

import json
import signal
import subprocess
import sys
import time

import optuna
import pytest
from optuna.trial import TrialState

from mlp_torch.processes import owner
from mlp_torch.sweep import study as studies
from mlp_torch.training.loop import Kept
from tests.mlp_torch.sweep.sweeping import FIXED, sweep, trials


def pretended(given, around):
    """A training of one epoch, whose validation loss is its learning rate."""
    watch = around.__self__
    watch.trial.set_user_attr("epoch", 1)
    watch.after_epoch(Kept(1, given.lr, {}), None)
    return 0


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_proposes_the_same_trials_also_after_an_interruption(
    sampler, runs, capsys, monkeypatch
):
    monkeypatch.setattr("mlp_torch.sweep.command.train", pretended)
    flags = f"{FIXED} --sampler {sampler} --sweep lr=1e-4:1:log hidden=2,3x2 batch_size=1:4"
    for name, parts in {"once": [16], "parts": [3, 13, 16]}.items():
        for number in parts:
            assert sweep(runs, f"{flags} --trials {number}", name) == 0
    once, parts = ([t.params for t in trials(runs, name)] for name in ("once", "parts"))
    assert once == parts
    assert len({json.dumps(p) for p in once}) == 16
    assert sweep(runs, f"{flags} --trials 2 --seed 1", "other") == 0
    assert trials(runs, "other")[0].params != once[0]


def test_a_study_begun_with_other_flags_is_not_mixed(runs, capfd):
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --trials 1") == 0
    capfd.readouterr()
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --activation tanh --trials 2") == 2
    assert "--study s: was begun with --activation relu; take another name" in capfd.readouterr().err
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.3 --trials 2") == 2
    assert len(trials(runs)) == 1


def test_an_interrupted_trial_is_tried_again_by_the_next_process(runs, capsys, monkeypatch):
    calls = iter([KeyboardInterrupt])

    def interrupted(*_):
        for error in calls:
            raise error

    monkeypatch.setattr("mlp_torch.training.loop.Display.show", interrupted)
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --sampler grid") == 130
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --sampler grid") == 0
    states = [t.state for t in trials(runs)]
    assert states.count(TrialState.COMPLETE) == 2
    assert states.count(TrialState.FAIL) == 1


def until(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["journal", pytest.param("sqlite", marks=pytest.mark.long)])
def test_of_two_processes_in_one_study_one_is_killed_and_the_other_goes_on(kind, runs, tmp_path, ctrl_c):
    storage = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else str(tmp_path / "s.log")
    line = [sys.executable, "-m", "mlp_torch", "sweep", "--data", "xor", "--epochs", "200", "--hidden", "4"]
    line += ["--sweep", "lr=1e-3:1e-1:log", "--trials", "1000", "--pruner", "none", "--sampler", "random"]
    line += ["--study", "s", "--storage", storage, "--runs-dir", str(runs)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first, second = (subprocess.Popen(line, **quiet) for _ in range(2))
    try:
        until(lambda: len(list(runs.glob("s/trial-*/metrics.jsonl"))) >= 2)

        def at_work(pid):
            now = [t for t in trials(runs, storage=storage) if t.state == TrialState.RUNNING]
            return [t.number for t in now if t.user_attrs.get("owner", {}).get("pid") == pid]

        def in_the_middle():
            """Both are at work, and the first has most of a trial before it."""
            mine = at_work(first.pid) if at_work(second.pid) else []
            lines = [runs / "s" / f"trial-{number:04d}" / "metrics.jsonl" for number in mine]
            return [p for p in lines if p.exists() and len(p.read_text().splitlines()) < 30]

        until(in_the_middle)
        first.send_signal(signal.SIGKILL)
        assert first.wait(10) == -signal.SIGKILL

        def retried():
            again = [t for t in trials(runs, storage=storage) if "retry_of" in t.user_attrs]
            return [t for t in again if t.state == TrialState.COMPLETE]

        until(retried)
        second.send_signal(signal.SIGINT)
        out, _ = second.communicate(timeout=60)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert second.returncode == 130
    [again] = retried()
    found = trials(runs, storage=storage)
    cut_off = found[again.user_attrs["retry_of"]]
    assert f"trial {cut_off.number} was cut off with its process; its values are tried again" in out
    assert (cut_off.state, cut_off.user_attrs["owner"]["pid"]) == (TrialState.FAIL, first.pid)
    assert (again.params, again.user_attrs["owner"]["pid"]) == (cut_off.params, second.pid)
    done = [t.params["lr"] for t in found if t.state == TrialState.COMPLETE]
    assert len(set(done)) == len(done)
    studies.free_stale(optuna.load_study(study_name="s", storage=studies.storage(storage, runs)))
    assert not at_work(first.pid) + at_work(second.pid)


def frozen(**attributes):
    trial = optuna.trial.create_trial(state=TrialState.RUNNING)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return trial


def test_a_process_is_known_to_live_by_its_id_and_birth_and_far_ones_by_their_last_epoch():
    mine = owner()
    assert studies.alive(frozen(owner=mine))
    assert not studies.alive(frozen(owner=mine | {"born": "another process with this id"}))
    assert not studies.alive(frozen(owner=mine | {"pid": 2**22 + 1}))
    far = mine | {"host": "elsewhere"}
    assert studies.alive(frozen(owner=far, beat=time.time() - 60))
    assert not studies.alive(frozen(owner=far, beat=time.time() - studies.SILENT_SECONDS - 60))
    assert studies.alive(frozen())


def test_a_folder_with_trials_of_another_study_is_refused(runs, capfd):
    assert sweep(runs, f"{FIXED} --sweep lr=0.1 --sampler grid") == 0
    (runs / "s" / "study.journal").unlink()
    capfd.readouterr()
    assert sweep(runs, f"{FIXED} --sweep lr=0.1 --sampler grid") == 2
    assert "holds the trials of another study; take another --study name" in capfd.readouterr().err


@pytest.mark.parametrize("pruner", ["hyperband", "median"])
def test_no_trial_begins_after_the_timeout_and_none_completed_is_said(pruner, runs, capsys, monkeypatch):
    assert sweep(runs, f"{FIXED} --pruner {pruner} --sweep lr=0.1,0.2 --timeout 1e-9", "late") == 1
    said = capsys.readouterr().out
    assert "1e-09 s are over" in said
    assert "no trial was completed" in said
    assert sweep(runs, f"{FIXED} --pruner {pruner} --sweep lr=1e-9,0.1 --trials 3", "all") == 0
    assert len(trials(runs, "all")) == 3
