"""What a run leaves can be used again, with the same bits: evaluated, asked, loaded, listed."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import mlp_torch
from mlp_torch.__main__ import main
from mlp_torch.artifact import FILE, KEY
from mlp_torch.errors import UserError
from tests.mlp_torch.inference.tables import passengers, prices, written
from tests.mlp_torch.running import config, train


def evaluated(capsys, *arguments):
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("engine", ["manual", "compiled", "torch", "autograd", "both"])
def test_evaluate_gives_bit_for_bit_what_training_reported(runs, table, engine, capsys):
    assert train(runs, f"--data {table} --epochs 3 --hidden 17 11 --engine {engine}") == 0
    result = config(runs / "run")["result"]
    found = evaluated(capsys, runs / "run")
    assert found["loss"] == result["test_loss"]
    assert found["accuracy"] == result["test_accuracy"]


def test_weighted_samples_are_evaluated_as_training_weighed_them(runs, tmp_path, capsys):
    frame = passengers(499, 1).with_columns(weight=pl.Series(np.random.default_rng(0).uniform(0, 3, 499)))
    path = written(tmp_path, frame)
    flags = f"--data {path} --target survived --sample-weight weight --class-weight balanced --epochs 2"
    assert train(runs, f"{flags} --hidden 7 --engine manual") == 0
    found, result = evaluated(capsys, runs / "run"), config(runs / "run")["result"]
    assert (found["loss"], found["accuracy"]) == (result["test_loss"], result["test_accuracy"])


@pytest.mark.parametrize("data", ["digits", "moons", "iris", "diabetes"])
def test_a_built_in_set_is_evaluated_again_with_the_same_bits(runs, data, capsys):
    assert train(runs, f"--data {data} --epochs 2 --hidden 13 --engine manual") == 0
    found = evaluated(capsys, runs / "run")
    result = config(runs / "run")["result"]
    for name, value in result.items():
        if name.startswith("test_"):
            assert found[name.removeprefix("test_")] == value


def test_metrics_are_those_of_scikit_learn_on_the_predictions(run, tmp_path, capsys):
    from sklearn import metrics

    other = written(tmp_path, passengers(211, 5))
    found = evaluated(capsys, run, "--data", other)
    loaded, frame = mlp_torch.load_run(run), pl.read_csv(other)
    truth, labels, p = frame["survived"].to_numpy(), loaded.predict(frame), loaded.predict_proba(frame)[:, 1]
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, labels))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, labels))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth == "yes", p), abs=1e-6)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth == "yes", p), abs=1e-6)
    assert found["confusion_matrix"] == metrics.confusion_matrix(truth, labels).tolist()


def test_a_regression_is_judged_in_the_target_s_own_units(price_run, tmp_path, capsys):
    from sklearn import metrics

    frame = prices(101, 9)
    found = evaluated(capsys, price_run, "--data", written(tmp_path, frame))
    predicted = mlp_torch.load_run(price_run).predict(frame)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(frame["price"], predicted), rel=1e-5)
    assert found["r2"] == pytest.approx(metrics.r2_score(frame["price"], predicted), abs=1e-5)
    assert found["mae"] < frame["price"].std()


@pytest.mark.parametrize("out", [None, "p.csv", "p.parquet"])
def test_predict_matches_columns_by_name_and_gives_labels_and_probabilities(run, tmp_path, out, capsys):
    frame = passengers(97, 8).drop("survived")
    path = written(tmp_path, frame.select(sorted(frame.columns, reverse=True)))
    capsys.readouterr()
    where = [] if out is None else ["--out", str(tmp_path / out)]
    assert main(["predict", str(run), str(path), *where]) == 0
    printed = capsys.readouterr().out
    if out is None:
        found = pl.read_csv(printed.encode())
    else:
        found = pl.read_csv(tmp_path / out) if out.endswith("csv") else pl.read_parquet(tmp_path / out)
    loaded = mlp_torch.load_run(run)
    assert found["prediction"].to_list() == loaded.predict(frame).tolist()
    p = found.select("probability no", "probability yes").to_numpy()
    assert np.allclose(p, loaded.predict_proba(frame), atol=1e-6)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-6)


def test_chunks_of_a_file_are_predicted_as_the_whole(run, tmp_path, monkeypatch):
    from mlp_torch.inference import predict

    path = written(tmp_path, passengers(97, 8))
    whole = pl.concat(list(predict.predictions(run, path)))
    read = predict.read_chunks
    monkeypatch.setattr(predict, "read_chunks", lambda file, **more: read(file, rows=13, **more))
    chunks = list(predict.predictions(run, path))
    assert len(chunks) > 3
    again = pl.concat(chunks)
    assert again["prediction"].to_list() == whole["prediction"].to_list()
    assert np.allclose(again["probability yes"], whole["probability yes"], atol=1e-6)


def test_load_run_takes_a_frame_a_mapping_and_a_matrix(price_run):
    loaded, frame = mlp_torch.load_run(price_run), prices(31, 4)
    by_name = loaded.predict(frame.to_dict(as_series=False))
    rows = np.array(frame.select(loaded.feature_names).rows(), dtype=object)
    assert by_name.tolist() == loaded.predict(frame).tolist() == loaded.predict(rows).tolist()
    with pytest.raises(UserError, match="a regression gives no probabilities"):
        loaded.predict_proba(frame)


def test_runs_are_listed_the_best_first(runs, capsys):
    for epochs, name in ((1, "short"), (9, "long")):
        assert train(runs, f"--data moons --epochs {epochs} --hidden 7 --engine manual", name) == 0
    capsys.readouterr()
    for sort, first in (("loss/train", "long"), ("epoch", "long")):
        assert main(["runs", "--runs-dir", str(runs), "--sort", sort, "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert next(Path(r["run"]).name for r in rows) == first
    assert main(["runs", "--runs-dir", str(runs), "--sort", "beauty"]) == 2
    assert "--sort beauty: no run has it; choose from" in capsys.readouterr().err


def changed(run, folder, **parts):
    """A copy of the run's artifact with some of its metadata changed."""
    with safe_open(run / FILE, "numpy") as file:
        metadata = dict(file.metadata())
    metadata[KEY] = json.dumps({**json.loads(metadata[KEY]), **parts})
    save_file(load_file(run / FILE), folder / FILE, metadata)
    return folder / FILE


BROKEN = {
    "schema": "has schema 99, and this version reads 1",
    "sizes": "layers.0.weight has shape|another number of inputs",
    "preprocessing": "not one that this version knows",
    "target": "not one that this version knows",
    "options": "its metadata is not what this version writes",
}


@pytest.mark.parametrize("part", BROKEN)
def test_an_artifact_of_another_make_is_refused_by_name(run, tmp_path, part):
    values = {
        "schema": 99,
        "sizes": [5, 17, 1],
        "preprocessing": {"a": 1},
        "target": 3,
        "options": {"magic": 1},
    }
    path = changed(run, tmp_path, **{part: values[part]})
    with pytest.raises(UserError, match=BROKEN[part]) as caught:
        mlp_torch.load_run(path)
    assert str(path) in str(caught.value)


def test_a_truncated_a_foreign_and_a_missing_artifact_are_refused(run, tmp_path):
    content = (run / FILE).read_bytes()
    for n in (0, 7, 100, len(content) // 2, len(content) - 1):
        (tmp_path / FILE).write_bytes(content[:n])
        with pytest.raises(UserError, match="cannot be read"):
            mlp_torch.load_run(tmp_path)
    save_file({"w": np.zeros(3)}, tmp_path / FILE)
    with pytest.raises(UserError, match="holds weights alone"):
        mlp_torch.load_run(tmp_path)
    with pytest.raises(UserError, match="there is no such run"):
        mlp_torch.load_run(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="is it a run's folder"):
        mlp_torch.load_run(tmp_path / "folder")


def test_a_table_that_was_changed_since_is_not_evaluated_as_the_same(runs, tmp_path, capsys):
    path = written(tmp_path, passengers(199, 3))
    assert train(runs, f"--data {path} --epochs 1 --hidden 5 --engine manual") == 0
    written(tmp_path, passengers(199, 4))
    assert main(["evaluate", str(runs / "run")]) == 2
    assert "has changed since" in capsys.readouterr().err


WRONG = {
    "unseen label": (
        lambda f: f.with_columns(survived=pl.lit("perhaps")),
        "evaluate",
        "a class that was not there",
    ),
    "no target": (lambda f: f.drop("survived"), "evaluate", "survived: .* has no such column"),
    "no feature": (lambda f: f.drop("age"), "predict", "lacks the column 'age'"),
    "text": (
        lambda f: f.with_columns(age=pl.lit("old")),
        "predict",
        "'age' holds numbers, but 'old' in row 1",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_table_that_does_not_fit_is_one_line_and_exit_2(run, tmp_path, kind, capsys):
    change, command, said = WRONG[kind]
    path = written(tmp_path, change(passengers(31, 6)))
    capsys.readouterr()
    flags = (
        ["--data", str(path)] if command == "evaluate" else [str(path), "--out", str(tmp_path / "out.csv")]
    )
    assert main([command, str(run), *flags]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    import re

    assert re.search(said, err)
    assert not list(tmp_path.glob("*out.csv*"))


def test_pictures_are_drawn(run, price_run, tmp_path):
    for i, r in enumerate((run, price_run)):
        assert main(["evaluate", str(r), "--plot", str(tmp_path / f"{i}.png")]) == 0
        assert (tmp_path / f"{i}.png").stat().st_size > 5000
