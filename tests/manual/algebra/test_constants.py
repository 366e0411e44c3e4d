"""Constants come from the number system: no formula holds a float."""

import ast
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from flint import arb

import manual
from manual.numbers import erf, number, pi
from tests.duals import exact
from tests.manual.algebra.differences import CLOSE
from tests.problems import DTYPES


def test_constants_are_exact_in_every_number_system() -> None:
    third = exact([Fraction(1, 3)], Fraction)
    assert number("0.1", third) == Fraction(1, 10)
    assert abs(number("0.1", exact([1], arb)) - arb(1) / 10) < arb(CLOSE)
    assert abs(pi(exact([1], arb)) - arb.pi()) < arb(CLOSE)
    assert abs(erf(exact([1], arb))[0] - arb(1).erf()) < arb(CLOSE)
    with pytest.raises(AttributeError):
        pi(third)
    for dtype in DTYPES.values():
        assert type(number("0.1", np.ones(1, dtype))) is type(pi(np.ones(1, dtype))) is dtype


def float_literals(source: str) -> list[str]:
    """Every float constant of a source, but for the initial slope in a row of the table."""
    tree = ast.parse(source)
    rows = {
        id(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Activation"
        for keyword in call.keywords
        if keyword.arg == "slope"
    }
    return [
        f"line {node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and id(node) not in rows
    ]


@pytest.mark.parametrize(
    "room", [f"{shelf}{room}" for shelf in ("", "catalogue/") for room in ("activations", "losses", "layers")]
)
def test_no_float_literal_and_no_float_function_stands_in_a_formula(room: str) -> None:
    source = (Path(manual.__file__).parent / f"{room}.py").read_text(encoding="utf-8")
    assert float_literals(source) == []
    assert "math." not in source
    assert "np.pi" not in source


def test_a_float_literal_in_a_formula_would_be_found() -> None:
    assert float_literals("def f(z):\n    return 0.5 * z\n") == ["line 2: 0.5"]
    assert float_literals("Activation('prelu', slope=0.25)") == []
