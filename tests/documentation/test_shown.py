"""What the README shows is what is printed today."""

import runpy

import pytest

from mlp_torch.__main__ import main
from tests.documentation.pages import ROOT, blocks

CHECK = ["check", "net.py:loss_and_gradients", "--timeout", "300"]  # a busy machine has the time it needs
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def the_block(language, begins):
    (found,) = (body for body in blocks(TEXT, language) if body.startswith(begins))
    return found


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The README's `net.py`, in the folder where one stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(the_block("python", "import numpy"), encoding="utf-8")
    return tmp_path / "net.py"


def test_the_verdict_on_the_readmes_program_is_the_one_that_it_shows(net, capsys):
    assert main(CHECK) == 1
    assert the_block("", "wrong:") in capsys.readouterr().out


def test_the_line_that_mends_the_readmes_program_mends_it(net, capsys):
    (mended,) = (line for line in the_block("", "wrong:").splitlines() if "mends it:" in line)
    (guilty,) = (line for line in net.read_text().splitlines() if line.strip().startswith("dz1 ="))
    net.write_text(net.read_text().replace(guilty.strip(), mended.partition("mends it:")[2].strip()))
    assert main(CHECK) == 0
    assert capsys.readouterr().out.startswith("right")


def test_the_readmes_kernel_is_mended_as_it_says(capsys, tmp_path):
    program = the_block("python", "import torch").replace(
        "(torch.randn(5, 4),))", "(torch.randn(5, 4),), timeout=300)"
    )
    (tmp_path / "kernel.py").write_text(program, encoding="utf-8")
    runpy.run_path(str(tmp_path / "kernel.py"))
    mends = "mends it:  return g * s * (1 + x * (1 - s))"
    assert mends in capsys.readouterr().out
    assert f"`{mends}`" in TEXT


def test_the_comparison_has_the_verdict_and_the_rows_that_the_readme_shows(capsys):
    assert main(["compare"]) == 0
    said = capsys.readouterr().out.splitlines()
    first, _, row, *_ = the_block("", "certified:").splitlines()
    assert said[0].partition(",")[0] == first.partition(",")[0]
    assert said[0].partition("twin ")[2] == first.partition("twin ")[2]
    assert said[2].split()[:2] == row.split()[:2]
    assert said[2].split()[-1] == row.split()[-1]
