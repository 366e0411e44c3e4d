"""`mlp train` from end to end: what is checked, learned, kept and shown."""

import numpy as np
import pytest
import torch

from mlp_torch.__main__ import main
from mlp_torch.config import ENGINES, Train
from mlp_torch.engines import build, choose_engine
from mlp_torch.training import command as training
from tests.mlp_torch.running import config, epoch_of, metrics, train, weights
from tests.shares import pairs

DATA = {
    "line": "--hidden --lr 0.02 --epochs 300",
    "xor": "--hidden 16",
    "moons": "--hidden 16 16 --epochs 40 --lr 0.01",
}
FILES = {"config.toml", "metrics.jsonl", "model.safetensors", "checkpoint.safetensors"}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_defaults_reach_96_percent_on_digits(runs, engine, capsys):
    assert train(runs, f"--engine {engine}") == 0
    said = capsys.readouterr().out
    accuracy = config(runs / "run")["result"]["test_accuracy"]
    assert accuracy >= 0.96
    assert f"test accuracy {accuracy:.3f} on 360 images" in said
    assert "gradient check passed: " in said
    assert str(runs / "run") in said
    assert f"mlp board {runs}" in said


@pytest.mark.parametrize(("engine", "data"), pairs(ENGINES, DATA))
def test_every_engine_learns_every_data_set(runs, engine, data, capsys):
    assert train(runs, f"--data {data} --engine {engine} {DATA[data]}") == 0
    result = config(runs / "run")["result"]
    if data == "line":
        assert result["test_loss"] < 0.01
        assert "test loss" in capsys.readouterr().out
    else:
        assert result["test_accuracy"] > 0.93


def test_wrong_gradients_are_not_trained_on(runs, monkeypatch, capsys):
    from manual.layers import Linear

    right = Linear.backward_weight
    monkeypatch.setattr(Linear, "backward_weight", staticmethod(lambda dz, a: 1.001 * right(dz, a)))
    for engine in ("autograd", "both"):  # whose gradients the plain formulas are held against
        assert train(runs, f"--data xor --engine {engine}") == 1
        out, err = capsys.readouterr()
        assert "layers.0.weight" in out
        assert err.startswith("mlp train: the gradients are wrong")
        assert err.count("\n") == 1
    assert not runs.exists()


def test_the_check_sees_the_very_weights_in_float64():
    for engine in set(ENGINES) - {"auto", "compiled"}:
        flags = Train(data="moons", engine=engine, hidden=(5,), device="cpu", normalization="batch_norm")
        built = build(flags, flags.architecture(2, 1), "bce_with_logits")
        copied = training.in_float64(built)
        state = {name: value.numpy() for name, value in copied.state_dict().items()}
        for name, value in built.parameters().items():
            assert value.dtype == np.float32
            assert state[name].dtype == np.float64
            assert np.array_equal(state[name], value)


def test_a_run_folder_holds_configuration_metrics_events_weights_and_checkpoints(runs):
    assert train(runs, "--data moons --epochs 4 --hidden 6 5") == 0
    run = runs / "run"
    names = {path.name for path in run.iterdir()}
    assert names >= FILES
    assert {n.split(".")[1] for n in names - FILES} <= {"out", "previous"}  # events.out.tfevents…
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

    assert train(runs, "--data moons --epochs 3 --hidden 4 --engine both --log minimal") == 0
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
        "throughput/samples_per_second",
        "test/loss",
        "test/accuracy",
        *(f"{family}/{name}" for family in families for name in parameters),
    }
    curve = events.Scalars("loss/validation")
    assert [point.step for point in curve] == [1, 2, 3]
    shown = [point.value for point in curve]
    assert np.allclose(shown, [row["loss/validation"] for row in metrics(runs / "run")])


def test_runs_without_a_name_get_names_of_their_own(runs):
    for _ in range(2):
        assert main(["train", "--data", "xor", "--epochs", "1", "--runs-dir", str(runs)]) == 0
    first, second = sorted(path.name for path in runs.iterdir())
    config = Train(data="xor", batch_size=4)
    auto = choose_engine(config, config.architecture(2, 1), "bce_with_logits", "cpu", 1)[0]
    assert first.startswith(f"xor-{auto}-2")
    assert second.startswith(f"xor-{auto}-2")


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    from mlp_torch.training.progress import Display

    monkeypatch.setenv("FORCE_COLOR", "1")
    with Display(3) as display:
        display.show(1, 0.5, 0.25, 0.9)
        display.show(3, 0.5, 0.125, None)
    assert "epoch 3/3  loss 0.5  validation 0.125" in capsys.readouterr().out
