"""`mlp check FILE.py:f`: no file is passed without a right gradient, or stops the check."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlp_torch.__main__ import main
from mlp_torch.check.config import Check
from tests.mlp_torch.check.submission.attacks import ATTACKS, HARMLESS, WRONG
from tests.mlp_torch.check.submission.odd import ODD

RIGHT = WRONG.replace("-2 * x.T", "2 * x.T")
SHORT = ("--timeout", "1", "--max-seconds", "4")
LONGER = ("--timeout", "1", "--max-seconds", "120", "--max-memory", "0.5")


def said(capsys, path, *flags):
    code = main(["check", f"{path}:f", *flags])
    out = capsys.readouterr()
    return code, out.out, out.err


def written(folder, source):
    path = folder / "net.py"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return path


@pytest.mark.parametrize("name", ATTACKS)
def test_no_file_is_passed_without_a_right_gradient(tmp_path, capsys, name):
    flags = SHORT if "never ends" in name else LONGER
    code, out, err = said(capsys, written(tmp_path, WRONG + ATTACKS[name]), *flags)
    assert code in (1, 2)
    assert not out.startswith("right")
    assert err.count("\n") == (0 if out else 1)
    assert "Traceback" not in out + err


def test_the_attacks_source_without_its_slip_is_right(tmp_path, capsys):
    assert said(capsys, written(tmp_path, RIGHT))[0] == 0


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_right_file_leaves_behind_changes_nothing(tmp_path, capsys, name):
    plain = said(capsys, written(tmp_path, RIGHT), "--json")
    begun = time.monotonic()
    code, out, err = said(capsys, written(tmp_path, RIGHT + HARMLESS[name]), "--json")
    assert time.monotonic() - begun < 500  # not until what it left ends
    assert (code, err) == (plain[0], plain[2]) == (0, "")
    found, expected = json.loads(out), json.loads(plain[1])
    found["notes"] = [note for note in found["notes"] if not note.startswith("note: net.py ")]
    assert found == expected


def test_the_page_names_the_limits_as_they_are():
    text = (Path(__file__).parents[4] / "mlp_torch" / "check" / "README.md").read_text(encoding="utf-8")
    assert f"`--max-seconds` ({Check.max_seconds:g}, besides `--timeout`)" in text
    assert f"`--max-memory` ({Check.max_memory:g} GB" in text
    assert f"`--max-bytes` ({Check.max_bytes // 2**30} GiB)" in text


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if i % 4 else []) for i, name in enumerate(ODD)]
)
def test_a_file_that_is_no_submission_is_one_line_and_2(tmp_path, capsys, name):
    source, words = ODD[name]
    code, out, err = said(capsys, written(tmp_path, source), *LONGER)
    assert (code, out) == (2, ""), err
    assert words in err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


def test_a_limit_is_named_in_the_line_of_who_exceeds_it(tmp_path, capsys):
    flags = ("--timeout", "1", "--max-seconds", "2")
    assert "--max-seconds" in said(capsys, written(tmp_path, WRONG + "while True:\n    pass\n"), *flags)[2]
    greedy = written(tmp_path, WRONG + "held = np.ones(300_000_000)\n")
    assert "--max-memory 0.5 allows no more" in said(capsys, greedy, *LONGER)[2]
    assert said(capsys, greedy, "--timeout", "1", "--max-memory", "8")[0] == 1


def test_warnings_of_numpy_are_one_note(tmp_path):
    source = (
        RIGHT.replace("e = x", "np.log(np.zeros(3)) / np.zeros(3)\n    e = x") + "np.exp(np.ones(2) * 1e9)\n"
    )
    command = [sys.executable, "-m", "mlp_torch", "check", f"{written(tmp_path, source)}:f"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("RuntimeWarning") == 2  # one of the file, one of the function


@pytest.mark.long
def test_a_description_on_the_command_line_is_judged_by_our_own_forward_pass(tmp_path, capsys):
    flags = ("--activations", "identity", "--loss", "squared_error", "--reduction", "sum")
    source = RIGHT.replace('p["w"]', 'p["w"][:, 0]').replace("0.1])", "0.1])[:, None]")
    right = source.replace(".mean()", ".sum()").replace("2 * x.T @ e / len(y)", "(2 * x.T @ e)[:, None]")
    assert said(capsys, written(tmp_path, right), *flags)[0] == 0
    other = right.replace("(e**2).sum()", "(e**4).sum()").replace("(2 * x.T @ e)", "(4 * x.T @ e**3)")
    assert said(capsys, written(tmp_path, other))[0] == 0  # right for its own loss
    assert said(capsys, written(tmp_path, other), *flags)[0] == 1
    forged = "import mlp_torch.check.functions.function as m\nm._described = lambda report, *a: report\n"
    assert said(capsys, written(tmp_path, other + forged), *flags)[0] == 1


def test_arguments_of_check_gradients_that_a_file_gives_are_judged_by_the_parent(tmp_path, capsys):
    source = (
        RIGHT + "import mlp_torch\nfrom mlp_torch import Layer, Penalty\nforward = f\n"
        "W = parameters['w'][:, None]\nloss, g = forward(parameters, x, y)\n"
        "def f():\n    return dict(parameters={'W': W}, gradients={'W': SIGN * g['w'][:, None] + 0.1 * W},\n"
        "        x=x, y=y[:, None], layers=[Layer('W')], loss='squared_error', l2=Penalty(0.1),\n"
        "        loss_value=np.float64(loss + 0.05 * (W**2).sum()))\n"
        "mlp_torch.check_gradients = None\n"
    )
    assert said(capsys, written(tmp_path, source.replace("SIGN", "1")))[0] == 0
    assert said(capsys, written(tmp_path, source.replace("SIGN", "-1")))[0] == 1


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no signals there")
def test_ctrl_c_ends_the_authors_process_too(tmp_path, ctrl_c):
    mark = tmp_path / "pid"
    source = f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    command = [sys.executable, "-m", "mlp_torch", "check", f"{written(tmp_path, source)}:f"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not (mark.exists() and mark.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == "mlp check: interrupted\n"
        assert process.wait() == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


COARSE = """
def f(p, x, y):
    w, x = p["w"].astype(np.DTYPE), x.astype(np.DTYPE)
    e = (x @ w).astype(float) - y
    loss = (e**2).mean()
    return LOSS, {"w": SLIP * 2 * (x.T @ e.astype(np.DTYPE)).astype(float) / len(y)}
"""


@pytest.mark.parametrize("slip", ["1", "1.05"])
@pytest.mark.parametrize(
    ("dtype", "loss"), [("float32", "loss"), ("float16", "loss"), ("float64", "round(float(loss), 3)")]
)
def test_a_loss_that_is_coarse_is_held_against_what_it_was_before(tmp_path, capsys, dtype, loss, slip):
    source = WRONG + COARSE.replace("DTYPE", dtype).replace("LOSS", loss).replace("SLIP", slip)
    assert said(capsys, written(tmp_path, source))[0] == (0 if slip == "1" else 1)
    forged = (
        "import mlp_torch.check.functions.function as m\nm.wrong_elsewhere = lambda *a: {}\njudge = m.judge\n"
    )
    forged += "m.judge = lambda *a: judge(*a[:5], a[0].gradient, *a[6:])\n"
    assert said(capsys, written(tmp_path, source + forged))[0] == (0 if slip == "1" else 1)
