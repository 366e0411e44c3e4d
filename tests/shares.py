"""What the quick suite takes of many cases; all others carry the marker `long`, and no case is lost."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest


def _case(*values: Any, quick: bool) -> Any:
    name = "-".join(map(str, values))
    return pytest.param(*values, id=name, marks=[] if quick else [pytest.mark.long])


def some(values: Iterable[Any], every: int = 2) -> list[Any]:
    """All values; each `every`-th is quick."""
    return [_case(value, quick=i % every == 0) for i, value in enumerate(values)]


def pairs(rows: Iterable[Any], columns: Iterable[Any], every: int = 3) -> list[Any]:
    """All pairs; quick are each row with some columns and each column with some rows."""
    grid = product(enumerate(rows), enumerate(columns))
    return [_case(row, column, quick=(i + j) % every == 0) for (i, row), (j, column) in grid]
