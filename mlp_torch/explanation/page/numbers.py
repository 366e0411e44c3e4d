"""Arrays as JSON: every digit of a small one, the size and the largest entry of one that is too large."""

import json
from typing import Any

import numpy as np

from manual.numbers import Array


def number(value: Any) -> float | str:
    """A float as it is; what JSON has no number for as a word: NaN, Infinity, -Infinity."""
    found = float(value)
    if np.isfinite(found):
        return found
    return "NaN" if np.isnan(found) else "Infinity" if found > 0 else "-Infinity"


def array(values: Any, most: int) -> Any:
    """Nested lists of at most `most` numbers; of a larger array its shape, norm and largest entry."""
    found: Array = np.asarray(values, dtype=np.float64)
    if found.size <= most:
        return _nested(found.tolist())
    at = np.unravel_index(int(np.argmax(np.abs(found))), found.shape)
    return {
        "shape": list(found.shape),
        "norm": number(np.linalg.norm(found)),
        "at": [int(i) for i in at],
        "largest": number(found[at]),
    }


def pair(manual: Any, autograd: Any, most: int) -> list[Any]:
    """Both engines' arrays and the largest difference; the second stands once where all bits are equal."""
    ours, theirs = (np.asarray(a, dtype=np.float64) for a in (manual, autograd))
    if np.array_equal(ours, theirs, equal_nan=True):
        return [array(ours, most)]
    with np.errstate(invalid="ignore"):  # Infinity − Infinity is NaN, and is shown as NaN
        return [array(ours, most), array(theirs, most), number(np.abs(ours - theirs).max())]


def text(table: Any) -> str:
    """JSON that can stand inside a script element: no `<`, so that no name can end it."""
    dense = json.dumps(table, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return dense.replace("<", "\\u003c")


def _nested(values: Any) -> Any:
    return [_nested(v) for v in values] if isinstance(values, list) else number(values)
