"""A table becomes three splits as the flags say, in memory or on disk, fitted on the training rows alone."""

import numpy as np
import polars as pl
import pytest

from manual.training.batches import pieces
from mlp_torch.data import loading, on_disk
from mlp_torch.data.config import DataFlags
from mlp_torch.data.loading import load
from mlp_torch.errors import UserError
from tests.mlp_torch.inference.tables import passengers, prices, written
from tests.mlp_torch.running import config, train


@pytest.fixture
def table(tmp_path):
    return written(tmp_path, passengers(401, 1))


def test_the_last_column_is_predicted_from_the_others_in_three_stratified_parts(table):
    data = load(DataFlags(data=str(table)))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [280, 40, 81]
    assert data.target.classes == ("no", "yes")
    assert data.loss == "bce_with_logits"
    shares = [s.labels.mean() for s in (data.train, data.validation, data.test)]
    assert max(shares) - min(shares) < 0.05
    assert data.inputs == data.train.x.shape[1] == len(data.preprocessing.input_names)
    assert [c.name for c in data.columns][-1] == "survived (target)"


def test_the_preprocessing_is_fitted_on_the_training_rows_alone(tmp_path):
    """What stands in the rows that are held back changes nothing of it."""
    frame = passengers(401, 1)
    first = load(DataFlags(data=str(written(tmp_path, frame)), no_shuffle=True))
    row = pl.int_range(pl.len())
    held_back = pl.when(row >= 300)
    changed = frame.with_columns(
        fare=held_back.then(pl.lit(1e6)).otherwise(pl.col("fare")),
        sex=held_back.then(pl.lit("other")).otherwise(pl.col("sex")),
    )
    again = load(DataFlags(data=str(written(tmp_path, changed)), no_shuffle=True))
    assert again.preprocessing.to_dict() == first.preprocessing.to_dict()
    assert (again.train.x == first.train.x).all()
    assert (again.test.x != first.test.x).any()


def test_rows_in_the_order_of_time_are_tested_on_last(tmp_path):
    frame = prices(211, 3).with_columns(area=pl.Series(np.arange(211.0)))
    data = load(DataFlags(data=str(written(tmp_path, frame)), no_shuffle=True, features=("area",)))
    parts = [s.x[:, 0] for s in (data.train, data.validation, data.test)]
    assert parts[0].max() < parts[1].min() <= parts[1].max() < parts[2].min()


def test_a_group_lies_in_one_part(tmp_path):
    g = np.random.default_rng(4)
    frame = prices(307, 4).with_columns(area=pl.Series(g.integers(0, 29, 307)).cast(pl.Float64))
    frame = frame.with_columns(owner=pl.col("area").cast(pl.Int64))
    data = load(DataFlags(data=str(written(tmp_path, frame)), target="price", group="owner"))
    at = data.preprocessing.input_names.index("area")
    sets = [set(s.x[:, at].round(4).tolist()) for s in (data.train, data.validation, data.test)]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]
    assert "owner" not in data.preprocessing.feature_names


def test_tables_of_their_own_validate_and_test(tmp_path, table):
    other = written(tmp_path, passengers(53, 8), "validation.csv")
    third = written(tmp_path, passengers(67, 9), "test.csv")
    data = load(DataFlags(data=str(table), validation=other, test=third))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [401, 53, 67]
    lacking = written(tmp_path, passengers(53, 8).drop("age"), "lacking.csv")
    with pytest.raises(UserError, match=r"--test .*lacking.csv: age: .* has no such column"):
        load(DataFlags(data=str(table), test=lacking))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_on_disk_are_those_in_memory(table, monkeypatch, dtype):
    inside = load(DataFlags(data=str(table)), dtype=dtype)
    monkeypatch.setattr(loading, "IN_MEMORY", 1)
    outside = load(DataFlags(data=str(table)), dtype=dtype)
    for a, b in ((inside.train, outside.train), (inside.test, outside.test)):
        rows = b.x.rows(0, len(b))
        order = [np.lexsort(np.column_stack([x, s.y[:, 0]]).T) for x, s in ((a.x, a), (rows, b))]
        assert (a.x[order[0]] == rows[order[1]]).all()
        assert (a.y[order[0]] == b.y[order[1]]).all()


def test_an_epoch_on_disk_visits_every_row_once_in_whole_batches(table, monkeypatch):
    monkeypatch.setattr(loading, "IN_MEMORY", 1)
    data = load(DataFlags(data=str(table)))
    monkeypatch.setattr(on_disk, "PIECE", 4 * data.inputs * 60)
    visited, sizes = [], []
    for x, y, *_, order in pieces(data.train.x, data.train.y, 0, 1, 16):
        assert len(x) == len(y) == len(order)
        visited.append(x[order])
        sizes.append(len(x))
    assert len(sizes) > 3
    assert sum(size % 16 != 0 for size in sizes) <= 1
    seen, rows = np.concatenate(visited), data.train.x.rows(0, len(data.train))
    assert (seen[np.lexsort(seen.T)] == rows[np.lexsort(rows.T)]).all()
    again = np.concatenate([x[order] for x, _, *_, order in pieces(data.train.x, data.train.y, 0, 2, 16)])
    assert (again != seen).any()


def test_a_table_on_disk_is_learnt_as_well_as_in_memory(table, runs, monkeypatch):
    flags = f"--data {table} --epochs 9 --hidden 17 --engine manual"
    assert train(runs, flags, "memory") == 0
    monkeypatch.setattr(loading, "IN_MEMORY", 1)
    monkeypatch.setattr(on_disk, "PIECE", 4096)
    assert train(runs, flags, "disk") == 0
    a, b = (config(runs / name)["result"]["test_accuracy"] for name in ("memory", "disk"))
    assert abs(a - b) < 0.06
    assert b > 0.7


def test_a_task_can_be_set(tmp_path):
    frame = prices(211, 3).with_columns(price=(pl.col("price") / 100).cast(pl.Int64))
    path = str(written(tmp_path, frame))
    assert load(DataFlags(data=path)).target.task == "classification"
    assert load(DataFlags(data=path, task="regression")).target.task == "regression"


def test_openml_without_the_internet_is_one_line(monkeypatch):
    from urllib.error import URLError

    import sklearn.datasets

    def offline(*arguments, **options):
        raise URLError("no route")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", offline)
    with pytest.raises(
        UserError, match=r"openml:mnist_784: OpenML cannot be reached .* needs the internet once"
    ):
        load(DataFlags(data="openml:mnist_784"))


def test_openml_s_tables_are_understood_as_any_other(monkeypatch):
    import sklearn.datasets
    from sklearn.utils import Bunch

    g = np.random.default_rng(0)
    x = np.column_stack([g.normal(size=97), g.integers(0, 3, 97).astype(float)])
    x[3, 0] = x[5, 1] = np.nan
    bunch = Bunch(
        data=x, target=np.array(["a", "b"])[g.integers(0, 2, 97)], feature_names=["size", "colour"],
        target_names=["kind"], categories={"colour": ["red", "green", "blue"]},
    )  # fmt: skip
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *a, **k: bunch)
    data = load(DataFlags(data="openml:mine"))
    assert data.target.name == "kind"
    assert data.preprocessing.input_names == [
        "size", "size (missing)", "colour=blue", "colour=green", "colour=red", "colour=(missing)",
    ]  # fmt: skip
