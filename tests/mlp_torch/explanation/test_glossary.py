"""The glossary: every word of ours that an output uses has an entry, and one command prints it at once."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import manual
from mlp_torch.__main__ import main
from mlp_torch.check import report as check_report
from mlp_torch.check.kinds import FAULTS
from mlp_torch.config import ENGINES, TIERS
from mlp_torch.errors import UserError
from mlp_torch.explanation.glossary import GLOSSARY, WORDS, find, markdown
from mlp_torch.verify.certificate import Verdict
from mlp_torch.verify.report import ComparisonReport

ROOT = Path(__file__).parents[3]
# What the reports' columns are called beside words of the glossary: names of arrays and of sides.
PLAIN_COLUMNS = {"array", "shape", "verdict", "equal", "at", "stage", "gradient"}


def in_source(pattern: str) -> set[str]:
    """Every string literal that a pattern finds in the package, but for the glossary itself."""
    files = [p for p in (ROOT / "mlp_torch").rglob("*.py") if p.name != "glossary.py"]
    return {word for p in files for word in re.findall(pattern, p.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("word", [*get_args(Verdict), *check_report.VERDICTS, *TIERS[1:]])
def test_every_verdict_has_an_entry(word):
    assert list(find(word)) == [word]


def test_every_verdict_that_a_line_of_the_package_gives_has_an_entry():
    given = in_source(r'\bverdict(?:: Verdict)?\s*=\s*"(\w+)"') | in_source(r'\bverdict, \w+ = "(\w+)"')
    assert {"wrong", "undecided", "right", "zero", "not_comparable"} <= given
    assert given - set(WORDS) == set()


def test_every_column_of_a_report_has_an_entry():
    empty = ComparisonReport({}, {}, "float64", "mse", "mean", 1)
    columns = {*check_report.HEAD, *empty.head("stage")} - PLAIN_COLUMNS
    assert columns - set(WORDS) == set()


@pytest.mark.parametrize("word", [*ENGINES[1:], *FAULTS])
def test_the_engines_and_the_kinds_of_fault_are_told(word):
    assert word in WORDS or word in GLOSSARY["engine"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each command prints, by its name."""
    folder = tmp_path_factory.mktemp("walk")
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(7, 3)), rng.normal(size=(3, 1))
    np.savez(folder / "a.npz", x=x, y=x @ w + 1, W1=w, dW1=2 * x.T @ np.ones((7, 1)) / 7)
    typed = {
        "train": f"train --data xor --hidden 3 --engine both --epochs 3 --verify-every 1 --runs-dir {folder}",
        "compare": "compare --data xor --hidden 3",
        "check": f"check {folder / 'a.npz'} --activations identity --loss squared_error",
        "explain": "explain --data xor --hidden 3 --activation tanh",
        "lecture": "lecture chain",
        "sweep": f"sweep --data xor --hidden 3 --epochs 2 --trials 2 --sweep lr=0.01,0.1 --runs-dir {folder}",
    }
    said = {}
    for name, line in typed.items():
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(line.split())
        said[name] = out.getvalue()
    return said


def test_every_word_with_an_underscore_in_an_output_is_in_the_glossary_or_a_name_of_the_tables(outputs):
    names = {*manual.LOSSES, *manual.ACTIVATIONS, *FAULTS}
    for command, said in outputs.items():
        assert said, command
        words = set(re.findall(r"(?<![\w./-])[a-z]+(?:_[a-z]+)+(?![\w/])", said))
        strange = {word for word in words if word not in names and word not in WORDS}
        assert strange - {"squared_error"} == set(), (command, strange)


# The words of the outputs that a second-year student may not know; each command must say some of them.
SAID = {
    "train": (
        "gradient check",
        "certified",
        "bit-equal",
        "rounding bound",
        "float64",
        "fingerprint",
        "engine",
    ),
    "compare": ("certified", "bit-equal", "rounding bound", "dyadic twin", "exact", "of bound", "‖Δ‖/‖g‖"),
    "check": ("wrong", "ratio", "± spread", "cosine", "worst at"),
    "explain": ("forward", "backward", "factor", "manual", "autograd", "certified", "bit-equal"),
    "lecture": ("chain rule",),
    "sweep": ("trial", "epoch"),
}


@pytest.mark.parametrize("command", SAID)
def test_the_words_that_an_output_uses_have_an_entry(command, outputs):
    for word in SAID[command]:
        assert word in outputs[command], (command, word)
        assert word in WORDS


def test_no_entry_is_of_a_word_that_nothing_uses():
    files = [p for p in (ROOT / "mlp_torch").rglob("*.py") if p.name != "glossary.py"]
    files += [
        ROOT / "README.md",
        *(p for room in ("manual", "mlp_torch") for p in (ROOT / room).rglob("README.md")),
    ]
    text = "\n".join(p.read_text(encoding="utf-8") for p in files)
    text = text.lower().replace("_", " ").replace("-", " ")
    unused = [word for word in GLOSSARY if word.lower().replace("_", " ").replace("-", " ") not in text]
    assert unused == []


def test_an_entry_is_one_to_three_sentences():
    for word, said in WORDS.items():
        assert said.endswith((".", ".)")), word
        assert len(said) <= 330, word


def test_the_generated_page_is_the_table_and_the_readme_links_it():
    page = "mlp_torch/explanation/glossary.md"
    written = (ROOT / page).read_text(encoding="utf-8")
    assert written == markdown(WORDS) + "\n", f"run mlp explain glossary --format markdown > {page}"
    assert f"({page})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("certified", "certified"),
        ("rounding bound", "rounding bound"),
        ("ULPs", "ULP"),
        ("spread", "± spread"),
        ("bit equal", "bit-equal"),
        ("Not-Comparable", "not_comparable"),
        ("error_over_bound", "error over bound"),
        ("constant_factor", "constant_factor"),
    ],
)
def test_a_word_is_found_however_it_is_written(typed, word, capsys):
    assert main(["explain", *typed.split()]) == 0
    assert capsys.readouterr().out.startswith(f"{word}: {WORDS[word]}")
    assert main(["explain", *typed.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {word: WORDS[word]}


def test_glossary_lists_all_words(capsys):
    assert main(["explain", "glossary"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{word}: " in said for word in WORDS)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("certifed", "no word 'certifed' is in the glossary: did you mean 'certified'?"),
        ("qwertz", "no word 'qwertz' is in the glossary: `mlp explain glossary` lists all"),
        ("bound", "did you mean 'rounding bound', 'of bound', 'error over bound'?"),
        ("layers.0.weight[2,0]", "an entry of a gradient: --parameter 'layers.0.weight[2,0]'"),
        ("certified --data xor", "certified: a word is explained by itself; leave the other flags out"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest_ones(typed, says, capfd):
    assert main(["explain", *typed.split()]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_find_refuses_what_is_not_there():
    with pytest.raises(UserError, match="lists all"):
        find("")


def test_a_word_is_told_without_torch():
    code = (
        "import sys; from mlp_torch.__main__ import main; assert main(['explain', 'certified']) == 0; "
        "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
