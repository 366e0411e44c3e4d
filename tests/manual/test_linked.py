"""Inner functions are linked into what Python calls, and stay usable beside it."""

from typing import Any

import pytest
from numba import njit

from manual.compiled import linked
from manual.compiled.linked import Linked
from manual.compiled.memory import OPTIONS, loops


def functions() -> tuple[Any, Any, Any]:
    """One that is called, one that calls it, and the one for Python."""

    @loops
    def inner(x: float) -> float:
        return x * 3

    @loops
    def middle(x: float) -> float:
        return inner(x) + 1

    def outer(x: float) -> float:
        return middle(x) + inner(x)

    return inner, middle, njit(**OPTIONS)(outer)


def library(function: Any) -> Any:
    (found,) = function.overloads.values()
    return found.library


def test_only_what_python_calls_becomes_machine_code() -> None:
    inner, middle, outer = functions()
    with linked.linked():
        assert outer(2.0) == 13
    assert all(isinstance(library(f), Linked) for f in (inner, middle, outer))
    assert [library(f)._finalized for f in (inner, middle, outer)] == [False, False, True]


def test_outside_the_block_numba_compiles_as_ever_and_takes_in_what_was_linked() -> None:
    _, middle, outer = functions()
    with linked.linked():
        outer(2.0)
    later = njit(**OPTIONS)(lambda x: middle(x) * 2)
    assert later(2.0) == 14
    assert not isinstance(library(later), Linked)


def test_an_inner_function_called_from_python_is_an_error_and_no_crash() -> None:
    inner, _, outer = functions()
    with linked.linked():
        outer(2.0)
    with pytest.raises(TypeError, match="not callable"):
        inner(2.0)


def test_where_numba_lacks_a_name_all_is_compiled_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "OF_LIBRARY", (*linked.OF_LIBRARY, "gone"))
    inner, _, outer = functions()
    with linked.linked():
        assert outer(2.0) == 13
    assert not isinstance(library(inner), Linked)
