"""What the tests of mlp_torch share."""

import pytest


@pytest.fixture
def runs(tmp_path):
    """A folder for runs that is not there yet."""
    return tmp_path / "runs"
