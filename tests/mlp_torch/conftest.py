"""What the tests of mlp_torch share."""

import signal

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


@pytest.fixture
def ctrl_c():
    """Ctrl-C is answered by this process and those it starts, also where nohup or a CI ignores it.

    A process that is started ignores what its parent ignores, and answers what its parent has a handler for.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
