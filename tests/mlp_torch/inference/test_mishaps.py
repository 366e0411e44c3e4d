"""What may go wrong with a table and a run: it is said in one line, and nothing is lost."""

import shutil

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import mlp_torch
from mlp_torch.__main__ import main
from mlp_torch.artifact import FILE
from mlp_torch.errors import UserError
from mlp_torch.inference.loaded import finite
from tests.mlp_torch.inference.tables import passengers, written
from tests.mlp_torch.running import train


def test_the_table_is_not_overwritten_by_its_predictions(run, tmp_path, capsys):
    path = written(tmp_path, passengers(31, 6))
    content = path.read_bytes()
    (tmp_path / "link.csv").symlink_to(path)
    for out in (path, tmp_path / "link.csv"):
        assert main(["predict", str(run), str(path), "--out", str(out)]) == 2
        assert "is the table itself" in capsys.readouterr().err
    assert path.read_bytes() == content


def test_what_the_network_cannot_compute_is_no_prediction(run, tmp_path, capsys, recwarn):
    path = written(tmp_path, passengers(31, 6).with_columns(fare=pl.lit(1e300)))
    for arguments in (["predict", str(run), str(path)], ["evaluate", str(run), "--data", str(path)]):
        assert main(arguments) == 2
        assert "'fare' is 1e+300 in row 1 (line 2)" in capsys.readouterr().err
    assert not [w for w in recwarn.list if issubclass(w.category, RuntimeWarning)]
    output = np.array([[0.5], [np.inf]], np.float32)
    with pytest.raises(UserError, match="output for row 7 is beyond float32"):
        finite(output, first=5)


def test_weights_that_are_not_finite_are_refused(run, tmp_path):
    with safe_open(run / FILE, "numpy") as file:
        metadata = file.metadata()
    arrays = load_file(run / FILE)
    name = next(iter(arrays))
    arrays[name].flat[0] = np.nan
    save_file(arrays, tmp_path / FILE, metadata)
    with pytest.raises(UserError, match=f"{name} is not finite"):
        mlp_torch.load_run(tmp_path / FILE)


def test_lines_that_hold_nothing_get_no_prediction_and_that_is_said(run, tmp_path, capsys):
    path = written(tmp_path, passengers(31, 6))
    path.write_text(path.read_text().replace("\n", "\n\n", 3))
    for out in ([], ["--out", str(tmp_path / "out.csv")]):
        assert main(["predict", str(run), str(path), *out]) == 0
        said = capsys.readouterr()
        assert "3 empty lines" in (said.out if out else said.err)
    assert len(pl.read_csv(tmp_path / "out.csv")) == 31


def test_names_and_labels_in_brackets_are_shown_as_they_stand(tmp_path, capsys, recwarn):
    n = np.arange(60)
    labels = np.array(["[/red]", "[bold]生[/bold]"])[n % 2]
    path = written(tmp_path, pl.DataFrame({"[red]x[/red]": n % 7, "[/]": n % 5, "[/y]": labels}))
    assert train(tmp_path / "runs", f"--data {path} --epochs 1 --hidden 3 --engine manual") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("[red]x[/red]", "[/]", "[/y] (target)"))
    assert (
        main(["evaluate", str(tmp_path / "runs/run"), "--data", str(path), "--plot", str(tmp_path / "p.png")])
        == 0
    )
    shown = capsys.readouterr().out
    assert not [w for w in recwarn.list if "Glyph" in str(w.message)]
    assert all(label in shown for label in set(labels))
    assert main(["runs", "--runs-dir", str(tmp_path / "runs")]) == 0


def test_a_run_s_name_can_be_copied_from_a_narrow_terminal(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = "passengers-compiled-2026-11-25-23-29-22"
    shutil.copytree(run, tmp_path / name)
    assert main(["runs", "--runs-dir", str(tmp_path)]) == 0
    assert name in capsys.readouterr().out


def test_truths_are_predicted_in_the_words_of_the_heading(tmp_path, capsys):
    n = np.arange(60)
    path = written(tmp_path, pl.DataFrame({"a": n % 7, "y": n % 2 == 0}))
    assert train(tmp_path / "runs", f"--data {path} --epochs 1 --hidden 3 --engine manual") == 0
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "runs/run"), str(path)]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == "prediction,probability False,probability True"
    assert {row.split(",")[0] for row in rows} <= {"False", "True"}


def test_a_class_that_no_training_row_has_is_said(tmp_path, capsys):
    n = np.arange(60)
    path = written(
        tmp_path, pl.DataFrame({"a": n % 7, "y": np.where(n > 55, "late", np.array(["p", "q"])[n % 2])})
    )
    flags = f"--data {path} --epochs 1 --hidden 3 --engine manual"
    for more, said in (("--no-shuffle", True), ("", False)):
        assert train(tmp_path / f"runs{more}", f"{flags} {more}") == 0
        assert ("'late' in no row" in " ".join(capsys.readouterr().out.split())) == said


def test_the_table_that_is_trained_on_is_no_test(table, tmp_path, capsys):
    for flag in ("--test", "--validation"):
        assert train(tmp_path, f"--data {table} {flag} {table}") == 2
        assert f"{flag} {table}: is --data itself" in capsys.readouterr().err
