"""What the tests of faults share: processes, a folder to damage things in, a run that was cut."""

import resource
import signal

import pytest

from tests.faults.processes import Processes
from tests.mlp_torch.running import train


@pytest.fixture(scope="module")
def processes():
    with Processes() as started:
        yield started


@pytest.fixture
def calm(tmp_path, monkeypatch):
    """A folder of its own; whatever takes longer than SECONDS fails, and so does a bomb that went off."""
    monkeypatch.chdir(tmp_path)

    def late(number, frame):
        raise AssertionError("hangs")

    before = signal.signal(signal.SIGALRM, late)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not (tmp_path / "executed").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20  # kB


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was cut, as all its kinds of file."""
    runs = tmp_path_factory.mktemp("runs")
    assert train(runs, "--data xor --epochs 3 --hidden 4") == 0
    folder = runs / "run"
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace("interrupted = false", "interrupted = true"))
    return folder
