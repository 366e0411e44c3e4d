"""However a run ends, the weights to keep are in its folder and one line says what happened."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlp_torch.autograd import AutogradEngine
from mlp_torch.config import ENGINES
from tests.mlp_torch.running import config, epoch_of, metrics, train, weights


def best_of(rows):
    """The epoch of the most accurate validation, of equals that of the lowest loss."""
    return min(rows, key=lambda row: (-row["accuracy/validation"], row["loss/validation"]))["epoch"]


def test_early_stopping_keeps_the_most_accurate_weights_and_of_equals_those_of_the_lowest_loss(runs, capsys):
    flags = "--data moons --hidden 32 --lr 0.3 --schedule constant --batch-size 8 --epochs 60"
    assert train(runs, f"{flags} --early-stopping 4") == 0
    rows, run = metrics(runs / "run"), runs / "run"
    best = best_of(rows)
    assert len(rows) == best + 4 < 60
    assert epoch_of(run) == config(run)["result"]["epoch"] == best
    assert train(runs, f"{flags.replace('60', str(best))}", "again") == 0
    again = weights(runs / "again")
    assert all(np.array_equal(value, again[name]) for name, value in weights(run).items())


def test_a_name_that_is_taken_is_refused_and_nothing_is_lost(runs, capsys):
    assert train(runs, "--data xor --epochs 2") == 0
    before = {path.name: path.read_bytes() for path in (runs / "run").iterdir()}
    capsys.readouterr()
    assert train(runs, "--data xor --epochs 3") == 2
    assert capsys.readouterr().err.startswith("mlp train: --name run: ")
    assert {path.name: path.read_bytes() for path in (runs / "run").iterdir()} == before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_initial_weights(runs, engine, capsys):
    assert train(runs, f"--lr 1e30 --optimizer sgd --engine {engine}") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("mlp train: the loss became ")
    assert "at step " in err
    assert "try a smaller --lr (now 1e+30)" in err
    kept = weights(runs / "run")
    assert epoch_of(runs / "run") == 0
    assert all(np.isfinite(value).all() for value in kept.values())
    assert metrics(runs / "run") == []


def test_a_run_that_grows_without_bound_ends_in_one_line(runs, capsys):
    assert train(runs, "--data line --lr 1e3 --optimizer sgd --engine both") == 2
    assert capsys.readouterr().err.startswith("mlp train: ")
    assert all(np.isfinite(value).all() for value in weights(runs / "run").values())


def test_a_run_that_fails_in_its_fourth_epoch_keeps_the_weights_of_the_third(runs, monkeypatch, capsys):
    step = AutogradEngine.step
    seen = []

    def failing(self, x, y, lr, masks=None):
        seen.append(lr)
        return step(self, x, y, lr, masks) if len(seen) <= 3 * 22 + 5 else float("nan")

    monkeypatch.setattr(AutogradEngine, "step", failing)
    flags = "--data moons --hidden 8 --schedule constant --engine autograd"
    assert train(runs, flags) == 2
    assert "the loss became nan at step 72 (epoch 4)" in capsys.readouterr().err
    monkeypatch.undo()
    assert train(runs, f"{flags} --epochs 3", "three") == 0
    three = weights(runs / "three")
    assert all(np.array_equal(v, three[n]) for n, v in weights(runs / "run").items())
    assert len(metrics(runs / "run")) == epoch_of(runs / "run") == 3


def test_a_validation_loss_that_is_not_finite_stops_the_run(runs, monkeypatch, capsys):
    predict = AutogradEngine.predict
    monkeypatch.setattr(AutogradEngine, "predict", lambda self, x: predict(self, x) * np.float32(np.nan))
    assert train(runs, "--data moons --hidden 8 --engine autograd") == 2
    assert "the validation loss became nan at step 22 (epoch 1)" in capsys.readouterr().err
    assert epoch_of(runs / "run") == 0


def test_a_weight_that_is_not_finite_stops_the_run_though_the_loss_is(runs, monkeypatch, capsys):
    parameters = AutogradEngine.parameters
    calls = []

    def broken(self):
        found = parameters(self)
        calls.append(1)
        if len(calls) > 1:
            found["layers.0.bias"][2] = -np.inf
        return found

    monkeypatch.setattr(AutogradEngine, "parameters", broken)
    assert train(runs, "--data moons --hidden 8 --engine autograd") == 2
    assert "an entry of layers.0.bias became -inf at step 22" in capsys.readouterr().err
    assert all(np.isfinite(value).all() for value in weights(runs / "run").values())


def test_ctrl_c_keeps_the_best_weights_and_exits_130(runs, monkeypatch, capsys):
    step = AutogradEngine.step
    seen = []

    def interrupted(self, x, y, lr, masks=None):
        seen.append(lr)
        if len(seen) == 100:
            raise KeyboardInterrupt
        return step(self, x, y, lr, masks)

    monkeypatch.setattr(AutogradEngine, "step", interrupted)
    assert train(runs, "--data moons --hidden 8 --engine autograd") == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(
        "mlp train: interrupted; the weights of epoch 4, the best in validation so far, are kept"
    )
    assert epoch_of(runs / "run") == 4
    assert config(runs / "run")["result"]["interrupted"] is True


def test_a_killed_run_leaves_a_readable_folder(runs):
    command = [sys.executable, "-m", "mlp_torch", "train", "--data", "moons", "--epochs", "100000"]
    process = subprocess.Popen(
        [*command, "--runs-dir", str(runs), "--name", "run"], stdout=subprocess.DEVNULL
    )
    run = runs / "run"
    try:
        deadline = time.monotonic() + 60
        while not (run / "metrics.jsonl").is_file() or len(metrics(run)) < 5:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    rows = metrics(run)
    assert epoch_of(run) in (best_of(rows), len(rows) + 1)  # killed between the two files at most
    assert all(np.isfinite(value).all() for value in weights(run).values())
    assert "result" not in config(run)


def test_a_write_that_fails_is_said_in_one_line(runs, monkeypatch, capsys):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert train(runs, "--data xor") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no run can be kept in" in err
    assert "No space left on device" in err
    assert not list(runs.iterdir())
