"""The table of faults is the one place that knows their words."""

from pathlib import Path

import pytest

from mlp_torch.check.kinds import FAULTS, table
from mlp_torch.check.report import Fault

README = Path(__file__).parents[3] / "README.md"


def test_the_readme_shows_the_table_of_faults_as_it_is():
    shown = (
        README.read_text(encoding="utf-8").partition("<!-- faults -->")[2].partition("<!-- /faults -->")[0]
    )
    assert shown.strip() == table()


def test_a_report_names_no_fault_that_the_table_lacks():
    with pytest.raises(ValueError, match=r"'oversight' is no kind of fault"):
        Fault("oversight", None, ("W1",), "", "")
    assert all(kind.shows for kind in FAULTS.values())
