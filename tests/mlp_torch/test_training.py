"""`mlp train` from end to end: what is learned, kept and said, however a run ends."""

import json
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

import mlp_torch.training as training
from manual.training import ManualEngine
from mlp_torch.__main__ import main
from mlp_torch.data import load
from mlp_torch.engines import AutogradEngine

FILES = {"config.toml", "metrics.jsonl", "model.safetensors"}


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def train(runs, flags, name="run"):
    """The exit code of `mlp train` with these flags."""
    return main(["train", *flags.split(), "--runs-dir", str(runs), "--name", name])


def weights(run):
    return load_file(run / "model.safetensors")


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def config(run):
    return tomllib.loads((run / "config.toml").read_text())


def epoch_of(run):
    with safe_open(run / "model.safetensors", "numpy") as file:
        return int(file.metadata()["epoch"])


@pytest.mark.parametrize("engine", ["autograd", "manual"])
def test_the_defaults_reach_96_percent_on_digits(runs, engine, capsys):
    assert train(runs, f"--engine {engine}") == 0
    said = capsys.readouterr().out
    accuracy = config(runs / "run")["result"]["test_accuracy"]
    assert accuracy >= 0.96
    assert f"test accuracy {accuracy:.3f} on 360 images" in said
    assert "gradient check: " in said
    assert str(runs / "run") in said
    assert f"tensorboard --logdir {runs}" in said


@pytest.mark.parametrize("engine", ["autograd", "manual", "both"])
@pytest.mark.parametrize(
    ("data", "flags"),
    [
        ("line", "--hidden --lr 0.02 --epochs 300"),
        ("xor", "--hidden 16"),
        ("moons", "--hidden 16 16 --epochs 40 --lr 0.01"),
    ],
)
def test_every_engine_learns_every_data_set(runs, engine, data, flags, capsys):
    assert train(runs, f"--data {data} --engine {engine} {flags}") == 0
    result = config(runs / "run")["result"]
    if data == "line":
        assert result["test_loss"] < 0.01
        assert "test loss" in capsys.readouterr().out
    else:
        assert result["test_accuracy"] > 0.93


@pytest.mark.parametrize(
    "flags",
    [
        "--optimizer sgd --momentum 0.9 --nesterov --weight-decay 1e-3",
        "--optimizer rmsprop --momentum 0.5 --l1 1e-4 --schedule step",
        "--optimizer adagrad --dropout 0.3 --schedule one_cycle --warmup 1",
        "--optimizer adamw --normalization batch_norm --schedule constant",
        "--normalization layer_norm --activation prelu --loss hinge",
        "--output-activation sigmoid --loss mse --initialization xavier --batch-size 100000",
    ],
)
def test_both_engines_stay_together_over_50_steps_in_float64(runs, flags):
    """Where a gradient cancels to 0, its relative gap is one of rounding errors, and Adam steps on them.

    So it is with a bias before batch_norm, and with hinge's last bias when both classes tie.
    """
    hidden = "--data moons --hidden 12 8 --batch-size 70 --epochs 5 --dtype float64 --engine both "
    assert train(runs, hidden + flags) == 0
    rows = metrics(runs / "run")
    bound = 1e-6 if "batch_norm" in flags else 1e-9
    assert all(row["parameter_gap"] <= bound for row in rows)
    if "batch_norm" not in flags and "hinge" not in flags:
        assert all(row["gradient_gap"] <= 1e-6 for row in rows)


def test_a_fault_in_the_manual_gradient_shows_as_a_gap(runs, monkeypatch):
    step = ManualEngine.step

    def faulty(self, x, y, lr, masks=None):
        loss = step(self, x, y, lr, masks)
        self.model.parameters["layers.1.weight"][0, 0] += 1e-6
        return loss

    monkeypatch.setattr(ManualEngine, "step", faulty)
    assert train(runs, "--data xor --epochs 50 --dtype float64 --engine both --hidden 8") == 0
    assert metrics(runs / "run")[-1]["parameter_gap"] > 1e-7


def test_wrong_gradients_are_not_trained_on(runs, monkeypatch, capsys):
    from manual.layers import Linear

    right = Linear.backward_weight
    monkeypatch.setattr(Linear, "backward_weight", staticmethod(lambda dz, a: 1.001 * right(dz, a)))
    for engine in ("autograd", "manual", "both"):
        assert train(runs, f"--data xor --engine {engine}") == 1
        out, err = capsys.readouterr()
        assert "layers.0.weight" in out
        assert err.startswith("mlp train: the gradients are wrong")
        assert err.count("\n") == 1
    assert not runs.exists()


def test_a_manual_network_can_be_copied():
    import copy

    import manual

    model = manual.MLP((3, 4, 2), normalization="batch_norm", seed=1)
    twin = copy.deepcopy(model)
    twin.parameters["layers.0.weight"][0, 0] = 7
    assert model.parameters["layers.0.weight"][0, 0] != 7
    assert type(twin.parameters) is type(model.parameters)


def test_the_check_sees_the_very_weights_in_float64():
    from mlp_torch.config import Train
    from mlp_torch.engines import build

    for engine in ("autograd", "manual", "both"):
        flags = Train(data="moons", engine=engine, hidden=(5,), device="cpu", normalization="batch_norm")
        built = build(flags, load("moons"))
        copied = training.in_float64(built)
        state = {name: value.numpy() for name, value in copied.state_dict().items()}
        for name, value in built.parameters().items():
            assert value.dtype == np.float32
            assert state[name].dtype == np.float64
            assert np.array_equal(state[name], value)


@pytest.mark.parametrize("engine", ["autograd", "manual", "both"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(runs, engine):
    flags = f"--data moons --epochs 3 --hidden 8 --dropout 0.2 --engine {engine}"
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert train(runs, f"{flags} --seed {seed}", name) == 0
    a, b, c = (weights(runs / name) for name in "abc")
    assert all(np.array_equal(a[n], b[n]) for n in a)
    assert any(not np.array_equal(a[n], c[n]) for n in a)


def test_a_run_folder_holds_configuration_metrics_events_and_weights(runs):
    assert train(runs, "--data moons --epochs 4 --hidden 6 5") == 0
    run = runs / "run"
    names = {path.name for path in run.iterdir()}
    assert names >= FILES
    assert {n.split(".")[1] for n in names - FILES} == {"out"}  # events.out.tfevents…
    kept = config(run)
    assert kept["hidden"] == [6, 5]
    assert kept["loss"] == "bce_with_logits"
    assert kept["device"] in ("cpu", "cuda", "mps")
    assert kept["versions"]["torch"] == torch.__version__
    assert kept["result"]["epoch"] == epoch_of(run) == 4
    assert [row["epoch"] for row in metrics(run)] == [1, 2, 3, 4]
    assert set(weights(run)) == {f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")}


def test_tensorboard_finds_every_curve(runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train(runs, "--data moons --epochs 3 --hidden 4 --engine both") == 0
    events = EventAccumulator(str(runs / "run"))
    events.Reload()
    parameters = [f"layers.{i}.{kind}" for i in range(2) for kind in ("weight", "bias")]
    families = ("gradient_norm", "parameter_gap", "gradient_gap")
    assert set(events.Tags()["scalars"]) == {
        "loss/train",
        "loss/validation",
        "accuracy/train",
        "accuracy/validation",
        "learning_rate",
        *(f"{family}/{name}" for family in families for name in parameters),
    }
    curve = events.Scalars("loss/validation")
    assert [point.step for point in curve] == [1, 2, 3]
    shown = [point.value for point in curve]
    assert np.allclose(shown, [row["loss/validation"] for row in metrics(runs / "run")])


def test_early_stopping_restores_the_weights_of_the_lowest_validation_loss(runs, capsys):
    flags = "--data moons --hidden 32 --lr 0.3 --schedule constant --batch-size 8 --epochs 60"
    assert train(runs, f"{flags} --early-stopping 4") == 0
    rows, run = metrics(runs / "run"), runs / "run"
    losses = [row["loss/validation"] for row in rows]
    best = 1 + int(np.argmin(losses))
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


def test_runs_without_a_name_get_names_of_their_own(runs):
    for _ in range(2):
        assert main(["train", "--data", "xor", "--epochs", "1", "--runs-dir", str(runs)]) == 0
    first, second = sorted(path.name for path in runs.iterdir())
    assert first.startswith("xor-autograd-2")
    assert second.startswith("xor-autograd-2")


@pytest.mark.parametrize("engine", ["autograd", "manual", "both"])
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
    flags = "--data moons --hidden 8 --schedule constant"
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
    assert train(runs, "--data moons --hidden 8") == 2
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
    assert train(runs, "--data moons --hidden 8") == 2
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
    assert train(runs, "--data moons --hidden 8") == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("mlp train: interrupted; the weights of epoch 4, the best so far, are kept in")
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
    assert epoch_of(run) - len(rows) in (0, 1)  # killed between the two files at most
    assert all(np.isfinite(value).all() for value in weights(run).values())
    assert "result" not in config(run)


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    from mlp_torch.progress import Display

    monkeypatch.setenv("FORCE_COLOR", "1")
    with Display(3) as display:
        display.show(1, 0.5, 0.25, 0.9)
        display.show(3, 0.5, 0.125, None)
    assert "epoch 3/3  loss 0.5  validation 0.125" in capsys.readouterr().out


def test_a_write_that_fails_is_said_in_one_line(runs, monkeypatch, capsys):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert train(runs, "--data xor") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "config.toml cannot be written" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_an_error_with_a_remedy(runs, capsys):
    assert train(runs, "--device cuda") == 2
    assert "--device cuda: torch finds none on this machine; choose from auto, cpu" in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("engine", ["autograd", "both"])
def test_a_gpu_learns_as_the_cpu_does(runs, engine):
    assert train(runs, f"--device cuda --engine {engine}") == 0
    assert config(runs / "run")["result"]["test_accuracy"] >= 0.96
    assert config(runs / "run")["device"] == "cuda"


def test_auto_takes_the_fastest_device_that_has_the_arithmetic(monkeypatch):
    from mlp_torch.engines import resolve_device

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto", "float32") == "mps"
    assert resolve_device("auto", "float64") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto", "float64") == "cuda"


def test_small_steps_run_on_one_thread_and_the_threads_come_back():
    from mlp_torch.engines import threads

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads((64, 128, 64, 10), 32):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads((784, 2048, 2048, 10), 512):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
