"""Runs on tables, trained once for all that is done with them."""

import pytest

from tests.mlp_torch.inference.tables import passengers, prices, written
from tests.mlp_torch.running import train


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return written(tmp_path_factory.mktemp("table"), passengers(499, 1))


@pytest.fixture(scope="module")
def run(tmp_path_factory, table):
    runs = tmp_path_factory.mktemp("runs")
    assert train(runs, f"--data {table} --epochs 7 --hidden 17 --engine manual") == 0
    return runs / "run"


@pytest.fixture(scope="module")
def price_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prices")
    path = written(folder, prices(307, 2))
    assert train(folder, f"--data {path} --epochs 23 --hidden 17 --engine manual") == 0
    return folder / "run"
