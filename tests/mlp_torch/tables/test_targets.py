"""Targets are recognised, coded and given back; splits keep what they promise."""

import json
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch.errors import UserError
from mlp_torch.tables.splitting import split
from mlp_torch.tables.targets import Target, task_of

TASKS = [
    (["yes", "no", "yes"], "classification"),
    ([True, False, True], "classification"),
    ([0, 1, 1, 2], "classification"),
    ([1.0, 2.0, 1.0], "classification"),
    ([1.5, 2.0, 1.0], "regression"),
    (list(range(50)), "regression"),
    (["1.5", "2.5", "3.25"], "regression"),
]


@pytest.mark.parametrize(("values", "task"), TASKS)
def test_the_task_is_recognised_from_the_target(values, task):
    assert task_of(pl.Series("y", values)) == task


@pytest.mark.parametrize("values", [["2024-01-01", "2024-02-01"], [date(2024, 1, 1), date(2024, 2, 1)]])
def test_dates_are_neither_classes_nor_numbers_unless_told(values):
    with pytest.raises(UserError, match=r"the target 'y' holds .*--task classification"):
        task_of(pl.Series("y", values), "t")
    assert Target.fit(pl.Series("y", values), "classification", "t").classes


@given(st.lists(st.sampled_from(["a", "b ", "ü", "10"]), min_size=9, max_size=31))
@settings(max_examples=50, deadline=None)
def test_labels_come_back_as_they_stood_in_the_table(values):
    if len({v.strip() for v in values}) < 2:
        return
    target = Target.fit(pl.Series("y", values), "classification", "t")
    again = Target.from_dict(json.loads(json.dumps(target.to_dict())))
    codes = again.encode(pl.Series("y", values), "t")
    assert again.decode(codes).tolist() == [v.strip() for v in values]


def test_numbers_come_back_in_their_own_units():
    values = pl.Series("price", [100.0, 250.0, 175.5])
    target = Target.fit(values, "regression", "t")
    y = target.encode(values, "t")
    assert abs(y.mean()) < 1e-12
    assert abs(y.std() - 1) < 1e-12
    assert np.allclose(target.decode(y), values.to_numpy())


BAD = [
    ([1, None, 0], "classification", r"'y' is missing in row 2; remove that row"),
    (["a", "a"], "classification", "one class only, 'a'"),
    ([2.0, 2.0], "regression", "is 2 in every row"),
    ([1.0, np.inf, 2.0], "regression", "'y' is inf in row 2, too large"),
    ([1e300, 1.0], "regression", r"'y' is 1e\+300 in row 1, too large"),
    ([1e-300, 2e-300], "regression", "lies within 1e-300, too close together"),
    ([[1], [2]], "classification", r"holds List\(Int64\)"),
    ([[1], [2]], "regression", r"holds List\(Int64\)"),
    ([f"name {i}" for i in range(60)], "classification", "60 classes in 60 rows"),
]


@pytest.mark.parametrize(("values", "task", "said"), BAD)
def test_a_target_that_cannot_be_is_refused_in_one_line(values, task, said):
    with pytest.raises(UserError, match=said):
        Target.fit(pl.Series("y", values), task, "t")


def test_a_label_that_was_never_seen_is_named_with_its_row():
    target = Target.fit(pl.Series("y", ["a", "b"]), "classification", "t")
    with pytest.raises(UserError, match="'y' is 'c' in row 2, a class that was not there in training"):
        target.encode(pl.Series("y", ["a", "c"]), "new.csv")


@given(
    st.integers(31, 211),
    st.integers(2, 5),
    st.integers(0, 99),
    st.sampled_from(["classes", "groups", "time", "plain"]),
)
@settings(max_examples=80, deadline=None)
def test_every_row_is_in_one_part_and_what_was_asked_for_holds(n, k, seed, how):
    g = np.random.default_rng(seed)
    labels = np.arange(n) % k
    groups = g.integers(0, 13, n)
    parts = split(
        n,
        labels if how == "classes" else None,
        seed,
        groups=groups if how == "groups" else None,
        shuffle=how != "time",
    )
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert all(len(p) for p in parts)
    if how == "groups":
        sets = [set(groups[p].tolist()) for p in parts]
        assert not (sets[0] & sets[1])
        assert not (sets[0] & sets[2])
        assert not (sets[1] & sets[2])
    if how == "time":
        assert parts[0].max() < parts[1].min() <= parts[1].max() < parts[2].min()
    if how == "classes" and n >= 20 * k:
        for p in parts:
            assert abs(np.bincount(labels[p], minlength=k) / len(p) - 1 / k).max() < 0.1


def test_too_few_rows_to_hold_back_are_said():
    with pytest.raises(UserError, match="too few to hold samples back"):
        split(2, None, 0)
