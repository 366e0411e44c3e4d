"""Runs that are shown, and what TensorBoard reads of them."""

import pytest

from tests.mlp_torch.running import train

WATCHED = "--data moons --hidden 6 5 --epochs 4 --engine manual --batch-size 100 --verify-every 5 --log full"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A folder with two runs, of classes and of real targets."""
    runs = tmp_path_factory.mktemp("shown")
    assert train(runs, WATCHED, "moons") == 0
    assert train(runs, "--data diabetes --hidden 4 --epochs 4 --engine manual --log full", "diabetes") == 0
    return runs
