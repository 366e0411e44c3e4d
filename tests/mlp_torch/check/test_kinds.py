"""The table of faults is the one place that knows their words."""

from pathlib import Path

import pytest

from mlp_torch.check.kinds import FAULTS, PAGE, table, write_into
from mlp_torch.check.report import Fault

ROOT = Path(__file__).parents[3]
CHECK = ROOT / "mlp_torch" / "check"


def test_the_page_shows_the_table_of_faults_as_it_is():
    shown = PAGE.read_text(encoding="utf-8").partition("<!-- faults -->")[2].partition("<!-- /faults -->")[0]
    assert shown.strip() == table(), "run python -m mlp_torch.explanation.glossary"


def test_the_table_is_written_into_the_page_in_place_of_the_old_one(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# a\n\n<!-- faults -->\n\n| old |\n\n<!-- /faults -->\n\nafter\n")
    write_into(readme)
    assert readme.read_text(encoding="utf-8") == (
        f"# a\n\n<!-- faults -->\n\n{table()}\n\n<!-- /faults -->\n\nafter\n"
    )


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind_of_fault_is_one_that_a_line_names(kind):
    rooms = [path for path in CHECK.glob("**/*.py") if path.name != "kinds.py"]
    named = any(f'"{kind}"' in path.read_text(encoding="utf-8") for path in rooms)
    assert named, f"{kind} is in FAULTS, and no file of mlp_torch/check/faults yields it"


def test_a_report_names_no_fault_that_the_table_lacks():
    with pytest.raises(ValueError, match=r"'oversight' is no kind of fault"):
        Fault("oversight", None, ("W1",), "", "")
    assert all(kind.shows for kind in FAULTS.values())
