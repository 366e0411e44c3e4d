"""Columns become inputs as the fitted preprocessing says, on the training rows alone."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch.errors import UserError
from mlp_torch.tables.kinds import choose, kind_of
from mlp_torch.tables.preprocessing import Preprocessor

KINDS = [
    ([1.5, 2.5, None, 4.0], "number"),
    ([1, 2, 3], "number"),
    (["1", " 2.5", "-3e2"], "number"),
    ([True, False, None], "boolean"),
    (["yes", "No", "yes"], "boolean"),
    (["2026-01-02", "2026-02-03", None], "date"),
    (["2026-01-02 10:30:00", "2026-02-03 11:00:00"], "date"),
    (["red", "green", "red"], "category"),
    ([7, 7, 7], "constant"),
    ([None, None], "empty"),
]


@pytest.mark.parametrize(("values", "kind"), KINDS, ids=[f"{k}-{i}" for i, (_, k) in enumerate(KINDS)])
def test_a_column_is_recognised(values, kind):
    assert kind_of(pl.Series("c", values, strict=False), "t") == kind


def test_numbers_may_be_taken_as_categories():
    assert kind_of(pl.Series("c", [1, 2, 3]), "t", category=True) == "category"


def test_free_text_is_refused_with_its_name():
    text = pl.Series("remark", [f"sentence number {i}" for i in range(101)])
    with pytest.raises(UserError, match=r"'remark' is free text or an id .* --drop remark"):
        kind_of(text, "t")


@pytest.mark.parametrize(
    ("spelt", "said"),
    [
        ("{:02d}/01/2024", "seems to hold dates .*write them as 2026-11-25"),
        ("{}%", "seems to hold numbers with other signs .*write them as 1234.5"),
        ("$1,{:03d}.50", "seems to hold numbers with other signs"),
        ("{},5", "seems to hold numbers with other signs"),
        ("Mr. {}", "is free text"),
    ],
)
def test_numbers_and_dates_that_are_spelt_in_another_way_are_called_so(spelt, said):
    with pytest.raises(UserError, match=said):
        kind_of(pl.Series("c", [spelt.format(i) for i in range(60)]), "t")


def test_what_is_no_date_among_dates_is_named_with_its_row():
    days = [f"2024-01-{i:02d}" for i in range(1, 29)]
    days[16] = "2024-13-45"
    with pytest.raises(UserError, match="'c' holds dates, but '2024-13-45' in row 17"):
        kind_of(pl.Series("c", days), "t")


@pytest.mark.parametrize(("values", "kind"), [(["m", None, "m"], "category"), ([2.5, None], "number")])
def test_one_value_with_missing_entries_is_no_constant(values, kind):
    made = fitted({"c": values}, {"c": kind_of(pl.Series("c", values), "t")})
    x = made.transform(pl.DataFrame({"c": values}))
    assert kind_of(pl.Series("c", values), "t") == kind
    assert len(np.unique(x, axis=0)) == 2


@given(st.lists(st.integers(-99, 99), min_size=4, max_size=30, unique=True), st.randoms())
def test_whole_numbers_are_the_same_levels_as_text_as_integers_and_as_floats(levels, random):
    made = fitted({"c": levels}, {"c": "category"})
    rows = [random.choice(levels) for _ in range(9)]
    texts = pl.DataFrame({"c": [str(v) for v in rows]})
    for same in (pl.DataFrame({"c": rows}), pl.DataFrame({"c": [float(v) for v in rows]}), texts):
        assert made.transform(same).tolist() == made.transform(pl.DataFrame({"c": rows})).tolist()
        assert made.transform(same).sum() == 9
    absent = made.transform(pl.DataFrame({"c": [*map(float, rows), np.nan]}))
    assert absent[-1].sum() == 0


def test_numbers_where_words_were_in_training_are_refused():
    made = fitted({"sex": ["f", "m"] * 9}, {"sex": "category"})
    with pytest.raises(UserError, match="'sex' held 'f', 'm' in training, but 3 in row 1; is it another"):
        made.transform(pl.DataFrame({"sex": [3, 4]}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_number_that_cannot_be_computed_with_is_named_with_its_row(dtype, recwarn):
    made = fitted({"x": [1.0, 2.0, 3.0]}, {"x": "number"})
    with pytest.raises(UserError, match="'x' is 1e\\+300 in row 2, too large"):
        made.transform(pl.DataFrame({"x": [1.0, 1e300]}), dtype=dtype)
    with pytest.raises(UserError, match="'x' is 1e\\+300 in row 2, too large"):
        fitted({"x": [1.0, 1e300, 3.0]}, {"x": "number"})
    assert not recwarn.list


def test_the_row_that_is_named_is_the_table_s_not_the_training_part_s():
    x = pl.Series("x", [0.5, 1.5, 2.5, np.inf])
    with pytest.raises(UserError, match="'x' is inf in row 4"):
        Preprocessor.fit({"x": x}, {"x": "number"}, "t", np.array([3, 0]))


def test_text_among_numbers_is_refused_with_its_row():
    with pytest.raises(UserError, match=r"'c' holds numbers, but 'x' in row 4;"):
        kind_of(pl.Series("c", ["1", "2", "3", "x"]), "t")


def fitted(columns, kinds):
    return Preprocessor.fit({n: pl.Series(n, v, strict=False) for n, v in columns.items()}, kinds, "t")


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=3, max_size=47))
@settings(max_examples=80, deadline=None)
def test_numbers_are_standardised_with_missing_ones_at_the_median(values):
    known = np.array([v for v in values if v is not None])
    if len(known) < 2 or known.std() < 1e-3:
        return
    made = fitted({"c": values}, {"c": "number"})
    x = made.transform(pl.DataFrame({"c": pl.Series(values, dtype=pl.Float64)}), dtype=np.float64)
    filled = np.array([np.median(known) if v is None else v for v in values])
    assert np.allclose(x[:, 0], (filled - filled.mean()) / filled.std(), atol=1e-9)
    absent = [v is None for v in values]
    assert x.shape[1] == 1 + any(absent)
    if any(absent):
        assert (x[:, 1] == absent).all()


def test_levels_have_a_column_each_rare_ones_share_one_and_unseen_ones_fall_into_it():
    values = ["a"] * 300 + ["b"] * 200 + ["rare"] * 2 + ["rarer"]
    made = fitted({"c": values}, {"c": "category"})
    assert made.input_names == ["c=a", "c=b", "c=(other)"]
    x = made.transform(pl.DataFrame({"c": ["a", "b", "rare", "never seen", None]}))
    assert x.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]


def test_without_rare_levels_an_unseen_one_is_none_of_them():
    made = fitted({"c": ["a", "b", None, "a"]}, {"c": "category"})
    x = made.transform(pl.DataFrame({"c": ["a", "never seen", None]}))
    assert x.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def frame(n, seed):
    g = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "x": [None if g.random() < 0.1 else float(v) for v in g.normal(size=n)],
            "flag": g.choice([True, False], n),
            "day": [f"2026-03-{d:02d}" for d in g.integers(1, 29, n)],
            "colour": g.choice(["red", "green", "blue"], n),
        }
    )


FOUR = {"x": "number", "flag": "boolean", "day": "date", "colour": "category"}


@given(st.integers(0, 10**6), st.permutations(list(FOUR)))
@settings(max_examples=30, deadline=None)
def test_json_keeps_the_preprocessing_bit_for_bit_and_columns_are_matched_by_name(seed, names):
    rows = frame(53, seed)
    made = Preprocessor.fit({n: rows[n] for n in FOUR}, FOUR, "t")
    again = Preprocessor.from_dict(json.loads(json.dumps(made.to_dict())))
    assert (again.transform(rows.select(names)) == made.transform(rows)).all()
    assert again.input_names == made.input_names


def test_a_matrix_a_mapping_and_a_frame_are_the_same_rows():
    made = Preprocessor.divided(["a", "b"], [1.0, 2.0], [2.0, 4.0])
    x = np.array([[1.0, 2.0], [3.0, 10.0]])
    frames = [
        made.frame(x),
        made.frame({"b": x[:, 1], "a": x[:, 0]}),
        pl.DataFrame({"a": x[:, 0], "b": x[:, 1]}),
    ]
    for f in frames:
        assert made.transform(f, dtype=np.float64).tolist() == [[0, 0], [1, 2]]
    with pytest.raises(UserError, match="2 columns are needed, a, b"):
        made.frame(np.zeros((3, 3)))


BAD = [
    ({"x": ["1", "oops"]}, "'x' holds numbers, but 'oops' in row 12"),
    ({"x": [1.0, np.inf]}, "'x' is inf in row 12"),
    ({"flag": ["true", "maybe"]}, "'flag' holds true and false, but 'maybe' in row 12"),
    ({"day": ["2026-01-01", "01/02/2026"]}, "'day' holds dates, but '01/02/2026' in row 12"),
]


@pytest.mark.parametrize(("changed", "said"), BAD)
def test_an_entry_of_another_kind_is_named_with_its_row(changed, said):
    rows = frame(53, 3)
    made = Preprocessor.fit({n: rows[n] for n in FOUR}, FOUR, "t")
    two = rows.head(2).with_columns(**{n: pl.Series(v) for n, v in changed.items()})
    with pytest.raises(UserError, match=said):
        made.transform(two, "new.csv", first=10)


def test_a_missing_column_is_named():
    made = Preprocessor.divided(["a", "b"], [0.0, 0.0], [1.0, 1.0])
    with pytest.raises(UserError, match=r"new\.csv: lacks the column 'b'"):
        made.transform(pl.DataFrame({"a": [1.0]}), "new.csv")


@pytest.mark.parametrize(
    "table", [{}, {"features": [{}]}, {"features": [{"name": "a", "kind": "spell"}]}, {"features": 3}]
)
def test_a_foreign_preprocessing_is_refused(table):
    with pytest.raises(UserError, match="not one that this version knows"):
        Preprocessor.from_dict(table)


def test_the_last_column_is_the_target_and_the_others_features():
    names = ["a", "b", "g", "y"]
    assert choose("t", names, None, beside=["g"]) == ("y", ["a", "b"])
    assert choose("t", names, "a", drop=["b"]) == ("a", ["g", "y"])
    assert choose("t", names, "y", ["b"]) == ("y", ["b"])
    for wrong in ({"target": "z"}, {"target": "y", "drop": ["z"]}, {"target": "y", "features": ["z"]}):
        with pytest.raises(UserError, match=r"z: t has no such column"):
            choose("t", names, **wrong)
    with pytest.raises(UserError, match="also in --drop"):
        choose("t", names, "y", drop=["y"])
