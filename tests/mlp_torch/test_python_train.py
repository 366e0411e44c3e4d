"""`mlp_torch.train`: the command's own run, from Python, with a result that shows itself."""

import base64
import inspect
import io
import re
import signal
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pandas as pd
import polars as pl
import pytest

import mlp_torch
from manual.layers import Linear
from mlp_torch import html
from mlp_torch.__main__ import main
from mlp_torch.config import Train
from mlp_torch.errors import UserError
from mlp_torch.flags import from_table
from mlp_torch.notebook import curves
from mlp_torch.runs import Run
from mlp_torch.training import progress
from mlp_torch.training.python import read
from tests.mlp_torch.running import config, metrics, weights
from tests.mlp_torch.running import train as command

FLAGS = {"hidden": 7, "epochs": 4, "engine": "manual"}  # quick, and all engines' way through the flags
WORDS = "--hidden 7 --epochs 4 --engine manual"


def train(runs, **flags):
    return mlp_torch.train(runs_dir=runs, **FLAGS | flags)


@pytest.mark.parametrize("engine", ["compiled", "autograd"])
def test_equal_flags_give_the_commands_bits(runs, engine):
    rest = {"dropout": 0.25, "lr": 0.01, "seed": 3, "hidden": [7, 5]}
    run = train(runs, data="moons", engine=engine, name="python", **rest)
    words = f"--data moons --hidden 7 5 --epochs 4 --engine {engine} --dropout 0.25 --lr 0.01 --seed 3"
    assert command(runs, words) == 0
    ours, theirs = weights(run.path), weights(runs / "run")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
    assert run.fingerprint == config(runs / "run")["result"]["fingerprint"]
    assert run.metrics == metrics(run.path)
    losses = [[row["loss/train"] for row in metrics(path)] for path in (run.path, runs / "run")]
    assert losses[0] == losses[1]


def test_the_result_says_what_the_command_prints_once(runs, capsys):
    run = train(runs, data="xor", name="python")
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "gradient check" not in printed.out
    assert command(runs, f"--data xor {WORDS}") == 0
    said = capsys.readouterr().out
    said = re.sub(r" in [\d.]+ s ", " in … s ", said[said.index("gradient check") :])
    shown = re.sub(r" in [\d.]+ s ", " in … s ", repr(run)).replace("python", "run")
    assert shown.splitlines() == said.splitlines()
    assert run.test == {"loss": run.test["loss"], "accuracy": config(run.path)["result"]["test_accuracy"]}
    assert run.report.passed


def test_the_keywords_are_the_commands_flags_with_their_defaults():
    signature = inspect.signature(mlp_torch.train)
    assert {n: p.default for n, p in signature.parameters.items()} == {
        f.name: f.default for f in fields(Train)
    }
    assert {p.kind for p in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert read({}) == Train()


def test_values_may_be_numpys_and_a_single_one_stands_for_a_list():
    given = {"hidden": np.array([3, 4]), "lr": np.float32(0.5), "epochs": np.int64(2), "drop": "age"}
    found = read(given | {"data": "table.csv"})
    assert found == from_table(
        Train, {"hidden": [3, 4], "lr": 0.5, "epochs": 2, "drop": ["age"], "data": "table.csv"}
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"epoch": 3}, "perhaps you meant 'epochs'"),
        ({"learning_rat": 3}, "train() takes no 'learning_rat'"),
        ({"epochs": 2.5}, "epochs is 2.5, of another type than --epochs takes"),
        ({"engine": "manul"}, "did you mean 'manual'?"),
        ({"lr": -1.0}, "--lr -1.0: must be a finite number above 0"),
        ({"data": 5}, "--data: int; give a name, a file, a polars or pandas frame"),
        ({"data": (np.eye(3), np.eye(3), np.eye(3))}, "--data: a tuple of 3"),
        ({"data": (np.eye(3), np.ones(4))}, "--data: y of shape (4,) does not fit 3 rows"),
        ({"data": {"a": [object()], "b": [1]}}, "--data: cannot be read as a table"),
    ],
)
def test_a_mistake_is_one_line_and_an_exception(runs, flags, said):
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        train(runs, **flags)
    assert "\n" not in str(caught.value)
    assert not list(runs.glob("*/config.toml"))


def test_a_wrong_gradient_is_an_exception_with_the_table_and_nothing_is_trained(runs, monkeypatch):
    right = Linear.backward_weight
    monkeypatch.setattr(Linear, "backward_weight", staticmethod(lambda dz, a: 1.001 * right(dz, a)))
    with pytest.raises(mlp_torch.WrongGradientError, match=r"(?s)dW2 .*the gradients are wrong.*nothing was"):
        train(runs, data="xor", engine="both")
    assert not runs.exists()


def test_a_gradient_that_turns_wrong_in_training_is_an_exception_that_says_what_is_kept(runs, monkeypatch):
    calls, right = iter(range(10**6)), Linear.backward_bias

    def late_fault(dz):
        return right(dz) * (1 if next(calls) < 60 else 1 + 1e-3)

    monkeypatch.setattr(Linear, "backward_bias", staticmethod(late_fault))
    said = r"(?s)manual's db.*proven to be.*training stopped, the weights of epoch \d+ are kept in"
    with pytest.raises(mlp_torch.WrongGradientError, match=said):
        train(runs, data="moons", engine="autograd", epochs=40, verify_every=1)


def test_an_interrupt_keeps_the_weights_and_says_how_to_go_on(runs, monkeypatch, ctrl_c, capsys):
    log = Run.log

    def at_the_third(self, numbers):
        if numbers["epoch"] == 3:
            signal.raise_signal(signal.SIGINT)
        log(self, numbers)

    monkeypatch.setattr(Run, "log", at_the_third)
    with pytest.raises(
        KeyboardInterrupt, match=r"interrupted; the weights of epoch 3, .* are kept in"
    ) as caught:
        train(runs, data="xor", name="cut", lr=0.001)
    monkeypatch.setattr(Run, "log", log)
    assert capsys.readouterr().err == ""
    going_on = re.search(r"it goes on by mlp_torch\.(train\(resume='.*'\))", str(caught.value))[1]
    again = eval(f"mlp_torch.{going_on}")
    whole = train(runs, data="xor", name="whole", lr=0.001)
    assert again.path == runs / "cut"
    assert again.fingerprint == whole.fingerprint
    assert len(again.metrics) == 4


def test_a_run_that_has_finished_is_shown_as_it_was(runs):
    run = train(runs, data="xor")
    again = mlp_torch.train(resume=run.path)
    assert again.report is None
    assert (again.test, again.fingerprint, again.epoch) == (run.test, run.fingerprint, run.epoch)
    assert "has finished" in repr(again)
    assert "has finished" in again._repr_html_()


TABLE = {
    "age": [20.0, None, 41.5, 33.0] * 15,
    "sex": ["f", "m", "m", "f"] * 15,
    "fare": [float(i % 7) for i in range(60)],
    "won": ["yes", "no", "no", "yes"] * 15,
}


@pytest.mark.parametrize("kind", ["polars", "pandas", "dict", "csv", "x and y"])
def test_rows_of_any_kind_give_the_bits_of_the_file(runs, tmp_path, kind):
    path = tmp_path / "table.csv"
    frame = pl.DataFrame(TABLE)
    frame.write_csv(path)
    rows = {
        "polars": frame, "pandas": pd.DataFrame(TABLE), "dict": TABLE, "csv": path,
        "x and y": (pd.DataFrame(TABLE)[["age", "sex", "fare"]], pd.Series(TABLE["won"], name="won")),
    }[kind]  # fmt: skip
    run = train(runs, data=rows, name="rows")
    assert command(runs, f"--data {path} {WORDS}") == 0
    assert run.fingerprint == config(runs / "run")["result"]["fingerprint"]
    assert run.load().predict({"age": [None], "sex": ["f"], "fare": [2.0]})[0] in ("yes", "no")
    assert main(["evaluate", str(run.path)]) == 0  # its rows are kept, so the test rows are there


def test_arrays_are_columns_x0_x1_and_are_kept_once(runs):
    r = np.random.default_rng(0)
    x = r.normal(size=(60, 3))
    first, second = (train(runs, data=(x, x @ [1.0, 2.0, 3.0]), name=name) for name in ("a", "b"))
    assert first.load().feature_names == ["x0", "x1", "x2"]
    assert first.test.keys() == {"loss", "r2", "mae"}
    assert len(list((runs / "tables").iterdir())) == 1
    assert first.fingerprint == second.fingerprint
    assert mlp_torch.train(resume=first.path, epochs=6).path == first.path


def test_the_html_has_the_verdict_first_and_the_curves_as_a_picture(runs):
    run = train(runs, data="moons", name="run")
    page = run._repr_html_()
    assert "<script" not in page
    words = re.sub(r"<[^>]+>", " ", page)
    places = [
        words.index(word) for word in ("gradient check passed", "test accuracy", run.fingerprint, "run: ")
    ]
    assert places == sorted(places)
    assert len(re.findall("<strong>", page)) == 2  # the run's, and the folded report's
    (png,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(png)))
    for colour in (curves.STYLES["train"][0], curves.STYLES["validation"][0]):
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        assert (np.abs(pixels[..., :3] - rgb).max(axis=-1) < 0.02).sum() > 50, colour


def test_curves_hold_every_epochs_numbers_under_their_names():
    rows = [
        {"epoch": i, "loss/train": 1 / i, "loss/validation": 2 / i, "accuracy/validation": 0.5}
        for i in (1, 2, 3)
    ]
    figure = curves.draw(rows, 5, kept=2)
    loss, accuracy = figure.axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    assert drawn["train"] == [1, 1 / 2, 1 / 3]
    assert drawn["validation"] == [2, 1, 2 / 3]
    assert "kept: 2" in drawn
    assert [line.get_label() for line in accuracy.lines] == ["validation", "kept: 2"]
    assert len(curves.draw([{"epoch": 1, "loss/train": 1.0, "accuracy/validation": None}], 5).axes) == 1
    assert curves.image([], 5) == ""


def test_a_pictures_words_are_escaped():
    page = curves.image([{"epoch": 1, "loss/train": 1.0}], 1)
    png = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert '"&gt;' not in page
    assert '"&quot;&gt;&lt;b&gt;"' in html.image(png, '"><b>')


@pytest.mark.parametrize(("terminal", "shown"), [(True, "Bar"), (False, "Lines")])
def test_the_surroundings_choose_what_is_seen(monkeypatch, terminal, shown):
    monkeypatch.setenv("FORCE_COLOR", "1") if terminal else monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert type(progress.Display(3).view).__name__ == shown


def test_pictures_take_at_most_a_twentieth_of_the_time_and_the_bar_moves_between(monkeypatch):
    clock, drawn, updates = [0.0], [], []

    def image(rows, epochs):
        clock[0] += 0.2
        drawn.append(len(rows))
        return ""

    monkeypatch.setattr(curves, "image", image)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    cell = progress.Cell(1000, None)
    cell.handle = SimpleNamespace(update=lambda bundle, raw: updates.append(bundle["text/plain"]))
    cell.next = cell.next_picture = progress.EVERY
    for epoch in range(1, 1001):
        clock[0] += 0.02
        cell.show(epoch, str(epoch), {"epoch": epoch, "loss/train": 1.0})
    cell.close()
    assert drawn[-1] == 1000
    assert 3 < len(drawn) <= 2 + 0.05 * clock[0] / 0.2  # but for the first and the last
    assert updates[-1] == "1000"
    assert 1.5 * clock[0] < len(updates) <= 2 * clock[0] + 1


def test_training_outside_a_notebook_imports_nothing_of_ipython(runs):
    code = f"""
import sys, mlp_torch
run = mlp_torch.train(data="xor", epochs=2, hidden=3, engine="manual", runs_dir={str(runs)!r})
repr(run), run._repr_html_()
print({{"IPython", "ipykernel", "ipywidgets"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert done.stderr == ""
