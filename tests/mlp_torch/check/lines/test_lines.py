"""The guilty line: named, proven by repair on two draws, mended; right programs are never accused."""

import json

import numpy as np
import pytest

from mlp_torch import check_function
from mlp_torch.__main__ import main
from mlp_torch.check.functions.copies import written as by_author
from mlp_torch.check.lines.line import diff, write
from tests.mlp_torch.check.functions.sources import PROGRAMS
from tests.mlp_torch.check.lines.written import slipped, written

NET = """import numpy as np


class Dense:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dz):
        self.dW = self.x.T @ dz
        self.db = dz.sum(axis=0)
        return dz @ self.W.T


def loss_and_gradients(p, x, y):
    first, second = Dense(p["W1"], p["b1"]), Dense(p["W2"], p["b2"])
    z1 = first.forward(x)
    a1 = np.tanh(z1)
    e = second.forward(a1) - y
    loss = np.mean(e**2)
    da1 = second.backward(2 * e / e.size)
    first.backward(da1 * (1 - a1**2))
    print("a print of the author's")
    return loss, {"W1": first.dW, "b1": first.db, "W2": second.dW, "b2": second.db}


r = np.random.default_rng(0)
shapes = {"W1": (3, 5), "b1": (5,), "W2": (5, 2), "b2": (2,)}
parameters = {name: r.normal(size=shape) for name, shape in shapes.items()}
x, y = r.normal(size=(7, 3)), r.normal(size=(7, 2))
"""
# (what stands there, the slip, the arrays that it spoils, a word of the explanation)
SLIPS = (
    ("1 - a1**2", "1 - z1**2", {"W1", "b1"}, "reads z1 where a1"),
    ("self.x.T @ dz", "2 * self.x.T @ dz", {"W1", "W2"}, ""),
    ("dz @ self.W.T", "dz @ self.W.T / 7", {"W1", "b1"}, ""),
    ("2 * e / e.size", "2 * (e + y) / e.size", {"W1", "b1", "W2", "b2"}, ""),
    ('"W1": first.dW', '"W1": first.dW * first.b', {"W1"}, ""),
)


def checked(module, timeout=300):
    return check_function(module.loss_and_gradients, module.parameters, module.x, module.y, timeout=timeout)


@pytest.mark.parametrize(("old", "new", "arrays", "words"), SLIPS)
def test_a_slip_is_named_by_its_line_proven_and_mended(tmp_path, old, new, arrays, words):
    source, number = slipped(NET, old, new)
    module = written(tmp_path, source)
    report = checked(module)
    (line,) = report.lines
    assert (line.file, line.line, set(line.arrays)) == (module.__file__, number, arrays)
    assert line.proof
    assert line.code == source.splitlines()[number - 1]
    assert words in line.explanation
    mended = source.splitlines()
    mended[number - 1] = line.mended
    assert checked(written(tmp_path, "\n".join(mended))).verdict == "right"
    assert "a print of the author's" not in "".join(line.text())


def test_a_line_that_is_missing_is_said_with_the_line_after_which_it_belongs(tmp_path):
    lines = NET.splitlines()
    gone = next(i for i, text in enumerate(lines) if "self.db = dz.sum" in text)
    lines[gone] = "        self.db = np.zeros_like(self.b)"
    (line,) = checked(written(tmp_path, "\n".join(lines))).lines
    assert line.mended is not None
    assert abs(line.line - (gone + 1)) <= 1


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_right_program_is_never_accused(name, tmp_path):
    module = written(tmp_path, PROGRAMS[name][0])
    report = check_function(module.f, module.P, *module.D)
    assert (report.verdict, report.lines) == ("right", ()), str(report)


def programs_and_slips():
    return [(name, old, new) for name, (_, slips) in PROGRAMS.items() for old, new in slips]


EASY = ("rnn", "lstm", "vae", "attention", "huber")


@pytest.mark.parametrize(("name", "old", "new"), [s for s in programs_and_slips() if s[0] in EASY])
def test_lines_of_loops_attention_and_losses(name, old, new, tmp_path):
    source, number = slipped(PROGRAMS[name][0], old, new)
    module = written(tmp_path, source)
    report = check_function(module.f, module.P, *module.D, timeout=300)
    assert [line.line for line in report.lines] == [number], str(report)
    assert report.lines[0].proof


def test_two_faults_are_two_lines_each_needed(tmp_path):
    source, second = slipped(NET, "1 - a1**2", "1 - a1")
    source, first = slipped(source, "2 * e / e.size", "2 * e")
    report = checked(written(tmp_path, source), timeout=300)
    assert sorted(line.line for line in report.lines) == sorted([first, second]), str(report)
    for line in report.lines:
        assert line.mended is not None


def test_a_line_that_no_true_gradient_replaces_claims_no_more_than_it_knows(tmp_path):
    source, _ = slipped(PROGRAMS["triplet"][0], "(margin > 0)", "(margin > -9)")
    module = written(tmp_path, source)
    report = check_function(module.f, module.P, *module.D, timeout=0.5)
    for line in report.lines:
        if line.mended is None:
            assert any("here, or where what it is made from" in text for text in line.text())


def test_the_time_limit_says_what_is_left_undone(tmp_path):
    source, _ = slipped(NET, "1 - a1**2", "1 - z1**2")
    report = checked(written(tmp_path, source), timeout=1e-6)
    assert report.verdict == "wrong"
    assert any("the search for lines ended after 1e-06 s" in note for note in report.notes)


def test_the_authors_arrays_and_state_are_left_as_found(tmp_path):
    source, _ = slipped(NET, "1 - a1**2", "1 - z1**2")
    module = written(tmp_path, source)
    before = {n: v.copy() for n, v in module.parameters.items()}
    state = np.random.get_state()[1].copy()
    globals_before = set(vars(module))
    checked(module)
    assert all(np.array_equal(before[n], v) for n, v in module.parameters.items())
    assert np.array_equal(state, np.random.get_state()[1])
    assert set(vars(module)) == globals_before
    assert module.Dense.__dict__["backward"].__code__.co_filename == module.__file__


def test_text_json_and_the_notebook_show_the_line(tmp_path):
    source, number = slipped(NET, "1 - a1**2", "1 - z1**2")
    report = checked(written(tmp_path, source))
    assert f":{number} in loss_and_gradients" in str(report)
    assert "mends it:" in str(report)
    (line,) = json.loads(report.to_json())["lines"]
    assert (line["line"], line["proof"]) == (number, True)
    assert "<pre " in report._repr_html_()
    assert "&lt;" not in source or "<script" not in report._repr_html_()


def test_fix_prints_a_diff_and_write_applies_it_keeping_the_original(tmp_path, capsys):
    source, _ = slipped(NET, "1 - a1**2", "1 - z1**2")
    module = written(tmp_path, source)
    place = f"{module.__file__}:loss_and_gradients"
    assert main(["check", place, "--fix"]) == 1
    out = capsys.readouterr().out
    assert "-    first.backward(da1 * (1 - z1**2))" in out
    assert "+    first.backward(da1 * (1 - a1**2))" in out
    assert (tmp_path / module.__file__).read_text() == source
    assert main(["check", place, "--write"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["check", place, "--write", "--yes"]) == 1
    assert (tmp_path / module.__file__).read_text() == NET
    assert (tmp_path / f"{module.__file__}.orig").read_text() == source
    capsys.readouterr()
    assert main(["check", place]) == 0


def test_no_line_no_diff(tmp_path):
    report = checked(written(tmp_path, NET))
    assert diff(report.lines) == ""
    assert write(report.lines) == []


def test_libraries_and_our_own_files_are_never_the_authors():
    assert not by_author(np.__file__)
    assert not by_author(check_function.__code__.co_filename)
    assert by_author("<ipython-input-1-abc>")


def test_the_fixture_shows_the_line(gradient_check, tmp_path, monkeypatch):
    monkeypatch.setattr("mlp_torch.check.functions.function.NAMED", 60.0)  # however busy the machine is
    source, number = slipped(NET, "1 - a1**2", "1 - z1**2")
    module = written(tmp_path, source)
    with pytest.raises(pytest.fail.Exception, match=rf":{number} in loss_and_gradients"):
        gradient_check(module.loss_and_gradients, module.parameters, module.x, module.y)
