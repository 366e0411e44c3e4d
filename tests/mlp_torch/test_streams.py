"""What is printed arrives, whatever the terminal can show, and no fault of ours looks like a verdict."""

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mlp_torch import streams
from mlp_torch.__main__ import COMMANDS, main
from mlp_torch.errors import UserError

ROOT = Path(__file__).parents[2]
MLP = [sys.executable, "-m", "mlp_torch"]


def run(*arguments, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONUNBUFFERED", "PYTHONIOENCODING")}
    return subprocess.run([*MLP, *map(str, arguments)], capture_output=True, env={**kept, **environment})


@pytest.fixture
def arrays(tmp_path):
    """A file whose report holds ∂, Δ, × and ᵀ: the parameter is called Δ, and its gradient is wrong."""
    r = np.random.default_rng(0)
    x, w, y = r.normal(size=(6, 4)), r.normal(size=(4, 2)), r.normal(size=(6, 2))
    gradient = -2 * x.T @ (x @ w - y) / 6
    np.savez(tmp_path / "Δ.npz", x=x, y=y, **{"WΔ": w, "dWΔ": gradient})
    return [tmp_path / "Δ.npz", "--activations", "identity", "--loss", "squared_error"]


def strings():
    """Every text in the source of the program, its comments and names left out."""
    for folder in ("mlp_torch", "manual"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_sign_that_the_program_prints_has_plain_letters():
    signs = {sign for text in strings() for sign in text if not sign.isascii()}
    assert {"∂", "Δ", "×", "ᵀ", "λ", "½"} <= signs
    assert not {sign for sign in signs if sign.isprintable() and "?" in streams.plain(sign)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("∂L/∂W₁ = aᵀ·δ", "dL/dW1 = aT.delta"), ("−½λΣθ²", "-1/2lambdasumtheta2"), ("ŷ", "y"),
     ("plain", "plain"), ("naïve", "naive"), ("ⱼ", "j"), ("漢", "?"), ("\udc80", "?"), ("", "")],
)  # fmt: skip
def test_plain_letters(text, expected):
    assert streams.plain(text) == expected
    assert streams.plain(text).isascii()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "ascii:strict", "latin-1", "utf-8"])
def test_a_report_is_printed_whatever_the_terminal_can_encode(arrays, encoding):
    done = run("check", *arrays, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (1, b"")
    text = done.stdout.decode(encoding.partition(":")[0])
    assert ("W" + ("Δ" if encoding == "utf-8" else "Delta")) in text
    assert "opposite sign" in text
    told = run("check", *arrays, "--json", PYTHONIOENCODING=encoding)
    assert json.loads(told.stdout.decode(encoding.partition(":")[0]))["verdict"] == "wrong"


@pytest.mark.parametrize(
    "typed", ["--help", *(pytest.param(f"{c} --help", marks=pytest.mark.long) for c in COMMANDS)]
)
def test_help_is_printed_whatever_the_terminal_can_encode(typed):
    done = run(*typed.split(), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"usage: mlp" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    "typed", ["compare --epochs 3", "train --lrr 3", "trian", "check Δ.npz", "check \udcff"]
)
def test_a_mistake_is_the_same_line_in_plain_letters(typed):
    full = run(*typed.split(), PYTHONIOENCODING="utf-8")
    plainly = run(*typed.split(), PYTHONIOENCODING="ascii")
    assert plainly.returncode == full.returncode == 2
    assert plainly.stderr.decode() == streams.plain(full.stderr.decode())
    assert plainly.stderr.count(b"\n") == 1


def into(sink, *arguments, **environment):
    """(code, stderr) of a command whose stdout is `sink`."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [*MLP, *map(str, arguments)], stdout=sink, stderr=subprocess.PIPE, env={**kept, **environment}
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("typed", [["--help"], ["train", "--help"], ["runs"], ["check"]])
def test_a_full_disk_behind_stdout_is_one_line_and_74(arrays, tmp_path, typed, unbuffered):
    typed = ["check", *arrays] if typed == ["check"] else typed
    typed = ["lecture", "--help"] if typed == ["runs"] else typed
    with Path("/dev/full").open("w") as full:
        code, err = into(full, *typed, PYTHONUNBUFFERED=unbuffered)
    assert code == 74
    assert err.endswith("what it prints cannot be written (No space left on device)\n")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stderr_does_not_change_the_code(unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*MLP, "train", "--epochs", "-1"], stderr=full, env=environment)
    assert done.returncode == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_left_in_peace(arrays, unbuffered):
    for typed in (["--help"], ["check", *arrays]):
        reads, writes = os.pipe()
        os.close(reads)
        code, err = into(writes, *typed, PYTHONUNBUFFERED=unbuffered)
        os.close(writes)
        assert (code, err) == (141, "")


@pytest.mark.skipif(os.name != "posix", reason="a shell closes it")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_stream_that_is_closed_changes_nothing(arrays, closed):
    line = " ".join([*map(str, MLP), "check", *map(str, arrays), closed])
    done = subprocess.run(["sh", "-c", line], capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")


def failing(monkeypatch, error):
    def run(config):
        raise error

    monkeypatch.setattr("mlp_torch.check.command.run", run)


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The folder that tracebacks are kept in."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize(
    "error", [RuntimeError("a\nb"), KeyError("x"), RecursionError(), OSError(5, "Input/output error", "f"),
              AssertionError(), ValueError("Δ")],
)  # fmt: skip
def test_a_fault_of_ours_is_one_line_and_70_and_its_traceback_is_kept(
    arrays, capsys, monkeypatch, kept, error
):
    failing(monkeypatch, error)
    assert main(["check", *map(str, arrays)]) == 70
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"mlp check: an internal error, not yours ({type(error).__name__}")
    (file,) = kept.iterdir()
    assert err.endswith(f"the traceback is in {file}\n")
    text = file.read_text(encoding="utf-8")
    assert text.startswith("Traceback")
    assert "in run\n    raise error\n" in text


def test_a_fault_of_ours_is_70_where_no_traceback_can_be_kept(arrays, capsys, monkeypatch, tmp_path):
    failing(monkeypatch, RuntimeError("x"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    assert main(["check", *map(str, arrays)]) == 70
    assert "its traceback could not be kept (No such file or directory)" in capsys.readouterr().err


def test_a_mistake_with_signs_of_control_is_one_line(arrays, capsys, monkeypatch):
    failing(monkeypatch, UserError("a\nb\x1b[31m\rc"))
    assert main(["check", *map(str, arrays)]) == 2
    assert capsys.readouterr().err == "mlp check: a b [31m c\n"


def test_a_full_disk_elsewhere_is_not_taken_for_stdout(arrays, capsys, monkeypatch, kept):
    failing(monkeypatch, OSError(28, "No space left on device"))
    assert main(["check", *map(str, arrays)]) == 70
    assert "the traceback is in" in capsys.readouterr().err
