"""`mlp compare` as its user meets it, and the monitor that watches a training run."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import manual
from manual.layers import Linear
from manual.training.engine import Stepwise
from mlp_torch.__main__ import main
from mlp_torch.config import ENGINES
from mlp_torch.model import MLP, to_torch
from mlp_torch.verify.monitor import Monitor, Watched
from mlp_torch.verify.report import WrongGradientError
from tests.mlp_torch.running import metrics, train, weights

SMALL = "--data moons --hidden 7 5 --batch-size 13"


def compare(flags: str) -> int:
    return main(["compare", *flags.split()])


@pytest.mark.parametrize("data", ["line", "xor", "moons", "digits"])
def test_compare_agrees_on_every_data_set_and_exits_0(data, capsys):
    assert compare(f"--data {data} --hidden 7 5 --batch-size 13") == 0
    said = capsys.readouterr().out
    for column in ("gradient", "stage", "shape", "equal", "max |Δ|", "‖Δ‖/‖g‖", "verdict"):
        assert column in said
    for row in ("layers.0.weight", "layers.2.bias", "z1", "dW3", "dx"):
        assert row in said


@pytest.mark.parametrize(
    "flags", ["--dtype float32", "--dropout 0.3 --normalization layer_norm", "--loss mse"]
)
def test_compare_takes_the_flags_of_the_network(flags, capsys):
    assert compare(f"{SMALL} {flags} --json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert report["verdict"] in ("certified", "exact")
    assert report["samples"] == 13
    assert {row["verdict"] for row in report["stages"].values()} <= {"certified", "exact"}


@pytest.mark.parametrize(("tier", "activation"), [("exact", "relu"), ("exact", "softplus"), ("all", "tanh")])
def test_json_is_one_object_with_what_the_tier_asked_for(tier, activation, capsys):
    assert compare(f"{SMALL} --tier {tier} --activation {activation} --json") == 0
    report = json.loads(capsys.readouterr().out)
    assert {"passed", "verdict", "parameters", "stages"} <= set(report)
    if activation == "softplus":
        assert report["twin"] is None
        assert "softplus has no dyadic values" in report["twin_note"]
        assert "the certificate judges" in report["twin_note"]
    else:
        twin = report if tier == "exact" else report["twin"]
        assert twin["verdict"] == "exact"
        assert all(row["equal"] == row["size"] for row in twin["parameters"].values())
        assert "bits used" in report["twin_note"]


def test_a_faulty_backward_line_exits_1_and_is_named(monkeypatch, capsys):
    monkeypatch.setattr(Linear, "backward_weight", staticmethod(lambda dz, a: dz.T @ a * (1 + 1e-9)))
    assert compare(f"{SMALL} --json --tier certified") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "wrong"
    wrong = {name for name, row in report["stages"].items() if row["verdict"] == "wrong"}
    assert wrong == {"dW1", "dW2", "dW3"}
    assert report["parameters"]["layers.0.bias"]["verdict"] in ("certified", "exact")
    compare(f"{SMALL} --tier certified")
    assert "proven to be" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_not_told_as_a_fault():
    run = subprocess.run(
        f"set -o pipefail; {sys.executable} -m mlp_torch compare {SMALL} | head -1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 141)  # 0 where the pipe took it all in time
    assert run.stderr == ""


def test_the_picture_is_saved_in_the_format_of_its_name(tmp_path, capsys):
    for name, start in (("a.png", b"\x89PNG"), ("b.svg", b"<?xml")):
        assert compare(f"{SMALL} --tier certified --plot {tmp_path / name}") == 0
        assert (tmp_path / name).read_bytes().startswith(start)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.svg"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--plot {tmp}/a.bmp", ".png, .svg or .pdf"),
        ("--plot {tmp}/none/a.png", "No such file or directory"),
        ("--normalization batch_norm --batch-size 1", "batch_norm needs at least 2"),
        ("--tier certain", "did you mean 'certified'"),
        ("--device cuda" if not torch.cuda.is_available() else "--device cud", "--device"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(flags, said, tmp_path, capsys):
    assert compare(f"--data moons --hidden 7 {flags.format(tmp=tmp_path)}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize("engine", ["manual", "buffered", "torch"])
def test_what_cannot_be_judged_is_no_wrong_gradient_exit_2_in_one_line(engine, capsys):
    flags = f"--data moons --hidden 7 --dtype float32 --tier certified --engine {engine}"
    assert compare(f"{flags} --l2 1e30") == 0
    capsys.readouterr()
    assert compare(f"{flags} --l2 1e300") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert (
        "not judged: objective" if engine != "torch" else "l2 is 1e+300, and the largest float32"
    ) in error


@pytest.mark.parametrize("engine", ENGINES)
def test_verify_every_logs_error_over_bound_below_1_and_changes_no_weight(engine, runs):
    flags = f"--data moons --hidden 7 --epochs 3 --dropout 0.2 --engine {engine}"
    assert train(runs, flags, "plain") == 0
    assert train(runs, f"{flags} --verify-every 5", "watched") == 0
    assert all(0 < line["error_over_bound"] < 1 for line in metrics(runs / "watched"))
    assert "error_over_bound" not in metrics(runs / "plain")[0]
    plain, watched = weights(runs / "plain"), weights(runs / "watched")
    assert all(np.array_equal(plain[name], watched[name]) for name in plain)


def test_training_stops_where_a_bound_breaks_and_keeps_the_last_good_weights(runs, monkeypatch, capsys):
    calls = iter(range(10**6))
    right = Linear.backward_bias

    def late_fault(dz):
        return right(dz) * (1 if next(calls) < 300 else 1 + 1e-3)

    monkeypatch.setattr(Linear, "backward_bias", staticmethod(late_fault))
    assert train(runs, "--data moons --hidden 7 --epochs 60 --engine autograd --verify-every 1") == 1
    said = capsys.readouterr()
    assert "a gradient is wrong" in said.err
    assert "manual's db" in said.out
    assert "proven to be" in said.out
    assert all(np.isfinite(w).all() for w in weights(runs / "run").values())


def test_every_kth_batch_is_observed_across_epochs_and_every_batch_is_trained_on():
    class Taught(Stepwise):
        model = None

        def step(self, x, y, lr):
            trained.append(int(x[0, 0]))
            return lr

    class Seen(Monitor):
        def observe(self, model, x, y, step=None):
            observed.append((int(x[0, 0]), len(x), len(trained)))

    trained, observed = [], []
    watched = Watched(Taught(), Seen("mse", every=3))
    x = np.arange(14.0)[:, None]
    for _ in range(2):
        rates = np.arange(1.0, 6.0)
        assert watched.epoch(x, x, np.arange(14), 3, rates).tolist() == rates.tolist()
    assert trained == 2 * [0, 3, 6, 9, 12]
    assert observed == [(0, 3, 0), (9, 3, 3), (3, 3, 6), (12, 2, 9)]


def test_a_loss_that_is_not_finite_ends_a_watched_epoch():
    class Diverging(Stepwise):
        model = None

        def step(self, x, y, lr):
            return float("nan") if lr == 2 else lr

    class Blind(Monitor):
        def observe(self, model, x, y, step=None):
            pass

    losses = Watched(Diverging(), Blind("mse", 1)).epoch(
        np.ones((4, 1)), np.ones(4), np.arange(4), 1, np.arange(4.0)
    )
    assert losses[:2].tolist() == [0, 1]
    assert len(losses) == 3


def test_the_monitor_observes_in_training_mode_and_leaves_the_model_alone():
    model = MLP((3, 7, 2), dropout=0.4, normalization="batch_norm", seed=3).eval()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 3)).astype(np.float32), rng.integers(0, 2, 11)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    monitor = Monitor("cross_entropy", every=1)
    monitor.observe(model, x, y)
    assert set(monitor.ratios) == {name for name, _ in model.named_parameters()}
    assert not model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_monitor_sees_a_fault_in_the_manual_engine(monkeypatch):
    model = manual.MLP((3, 7, 2), seed=3)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 3)), rng.integers(0, 2, 11)
    Monitor("cross_entropy", every=1).observe(model, x, y)
    monkeypatch.setattr(Linear, "backward_input", staticmethod(lambda dz, w: dz @ w * 1.001))
    with pytest.raises(WrongGradientError, match="manual's da1"):
        Monitor("cross_entropy", every=1).observe(model, x, y)
    assert to_torch(model).training
