"""What the tests of mlp_torch share."""

import numpy as np
import pytest

from manual.compiled import prepare


@pytest.fixture(scope="session", autouse=True)
def _compiled_step():
    """Compiled before any test reads stderr, where the wait for it is said."""
    prepare(np.float32)
    prepare(np.float64)


@pytest.fixture
def runs(tmp_path):
    """A folder for runs that is not there yet."""
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def kernel(tmp_path_factory):
    """A notebook's kernel, begun when a test asks for it: `kernel(source)` gives what a cell shows."""
    from tests.kernel import started

    folder = tmp_path_factory.mktemp("kernel")
    with started(folder, TMPDIR=str(folder)) as run:
        yield run
