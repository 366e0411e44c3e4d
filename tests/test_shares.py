"""The quick suite leaves no row out, and what it leaves is long."""

from hypothesis import given
from hypothesis import strategies as st

from tests.shares import pairs, some


@given(st.integers(1, 4), st.integers(0, 9), st.integers(0, 9))
def test_every_row_and_every_column_is_in_a_quick_pair_and_every_pair_is_a_case(every, more, others):
    rows, columns = range(every + more), [str(i) for i in range(every + others)]
    cases = pairs(rows, columns, every)
    quick = [case.values for case in cases if not case.marks]
    assert [case.values for case in cases] == [(row, column) for row in rows for column in columns]
    assert {row for row, _ in quick} == set(rows)
    assert {column for _, column in quick} == set(columns)
    assert all(mark.name == "long" for case in cases for mark in case.marks)
    assert len(quick) < len(cases) or every == 1


def test_each_second_is_quick():
    assert [(case.values[0], bool(case.marks)) for case in some("abc")] == [
        ("a", False), ("b", True), ("c", False),
    ]  # fmt: skip
