"""Every command block, run from its first line to its last; minutes, so with the long proofs."""

import os
import shlex
import subprocess
import sys

import pytest

from mlp_torch.__main__ import main
from tests.documentation.asked import INSTEAD, workplace
from tests.documentation.pages import ROOT, commands, pages

# Words of a command that is not run here, each with its reason.
NOT_RUN = {
    "board": "goes on until Ctrl-C",
    "openml:mnist_784": "needs the internet",
}
# Exit codes beside 0: what these commands are shown for.
EXPECTED = {"check": 1, "check FILE.py": 2}


def lines():
    """(page, command) of `mlp …` in blocks, in the order in which they stand; each once."""
    found = {}
    for path in pages():
        if path.name != "README.md":
            continue
        for typed in commands(path.read_text(encoding="utf-8")):
            words = typed.words[2:] if typed.words[:3] == ("python", "-m", "mlp_torch") else typed.words
            if words[0] == "mlp" and typed.whole and not set(NOT_RUN) & set(words):
                found.setdefault(words[1:], path.relative_to(ROOT).as_posix())
    return [(page, words) for words, page in found.items()]


LINES = lines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pages' files, with runs where the pages name runs."""
    made = workplace(tmp_path_factory.mktemp("pages"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        for name in ("NAME", "moons", "saturated"):
            (made / "runs" / name / "events.out.tfevents.0").unlink()
            (made / "runs" / name).rmdir()
        told = [
            "--data",
            "passengers.csv",
            "--target",
            "survived",
            "--drop",
            "name",
            "ticket",
            "--epochs",
            "2",
        ]
        assert main(["train", *told, "--name", "NAME"]) == 0
    return made


@pytest.mark.long
@pytest.mark.parametrize(("page", "words"), LINES, ids=[shlex.join(words) for _, words in LINES])
def test_a_command_of_a_page_runs(page, words, folder):
    """In a process of its own: what a command leaves in it is nobody else's."""
    line = [sys.executable, "-m", "mlp_torch", *(INSTEAD.get(word, word) for word in words)]
    path = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        line, cwd=folder, env=os.environ | path, capture_output=True, text=True, timeout=300
    )
    expected = EXPECTED.get(shlex.join(words), EXPECTED.get(words[0]))
    assert done.returncode in (0, expected), done.stderr
