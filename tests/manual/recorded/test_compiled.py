"""The compiled kernels that are written from the rows: the committed text, its constants, what it refuses."""

import runpy
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manual
from manual import MLP, OPTIMIZERS
from manual.activations import Activation
from manual.catalogue import ACTIVATIONS, LOSSES
from manual.compiled import CompiledEngine, activations, elementwise, unsupported
from manual.losses import Loss
from manual.numbers import Array, number
from manual.recorded import compiled, walk
from manual.recorded.compiled import COMMAND, FILES, formula_of, missing
from manual.recorded.constants import nearest
from manual.recorded.kept import cost, kept
from manual.structure.architecture import Architecture

ROWS: list[Any] = [*ACTIVATIONS.values(), *LOSSES.values()]
WRITTEN = [row for row in ROWS if row.name not in compiled.BY_HAND and compiled.lacks(row) is None]


INVENTED = replace(ACTIVATIONS["mish"], name="invented")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_committed_kernels_are_what_the_rows_give(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path](), f"run {COMMAND}"


def test_the_command_writes_them_and_names_what_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder of its own."""
    (tmp_path / "manual" / "compiled").mkdir(parents=True)
    monkeypatch.setattr(manual, "__file__", str(tmp_path / "manual" / "__init__.py"))
    monkeypatch.setitem(ACTIVATIONS, "sine", Activation("sine", lambda z: np.sin(z), INVENTED.derivative))
    monkeypatch.delitem(sys.modules, "manual.recorded.compiled")
    runpy.run_module("manual.recorded.compiled", run_name="__main__")
    for path in FILES:
        assert (tmp_path / "manual" / "compiled" / path.name).read_bytes() == path.read_bytes()
    written = "".join(f"manual/compiled/{path.name}: written anew, to be committed\n" for path in FILES)
    sine = "sine: no kernel is written, np.sin cannot be recorded\n"
    said = capsys.readouterr().out
    assert said.startswith(written)
    assert sine in said
    runpy.run_module("manual.recorded.compiled", run_name="__main__")
    assert capsys.readouterr().out == said.removeprefix(written), "nothing is new"


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_a_row_whose_formula_changes_has_no_kernel_until_it_is_written_anew(row: Any) -> None:
    assert missing(row) is None
    terms = "function" if isinstance(row, Activation) else "terms"
    wrong = replace(row, **{terms: lambda *given, **options: getattr(row, terms)(*given, **options) * 3})
    assert missing(wrong) == f"it has no kernel for {row.name} as its formula is now: run {COMMAND}"
    wrong = replace(row, derivative=lambda *given, **options: row.derivative(*given, **options) - 2)
    assert missing(wrong) == f"it has no kernel for {row.name} as its formula is now: run {COMMAND}"


def test_a_new_row_is_refused_with_the_command_that_writes_its_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ACTIVATIONS, "invented", INVENTED)
    reason = unsupported(Architecture((2, 3, 1), activation="invented"))
    assert reason == f"it has no kernel for invented as its formula is now: run {COMMAND}"
    model = MLP((2, 3, 1), activation="invented")
    with pytest.raises(ValueError, match="no kernel for invented"):
        CompiledEngine(model, "mse", OPTIMIZERS["sgd"](model.parameters, lr=0.1))
    monkeypatch.setitem(LOSSES, "cubed", replace(LOSSES["mse"], name="cubed"))
    assert "no kernel for cubed" in str(unsupported(Architecture((2, 1)), loss="cubed"))


def test_an_option_of_a_loss_is_known_to_be_positive() -> None:
    """As a divisor it does not hide the sign of an argument of exp."""

    def terms(output: Array, y: Array, scale: Any) -> Array:
        u = np.abs(output - y) / number(scale, output)
        return u + np.log1p(np.exp(-2 * u))

    def derivative(output: Array, y: Array, scale: Any) -> Array:
        return np.tanh((output - y) / number(scale, output)) / number(scale, output)

    options, lines = compiled.loss(Loss("odd", "real", terms, derivative, options={"scale": "1"}))
    assert options == ["scale = T(options[0])"]
    assert any("log1p(exp(" in line for line in lines)
    assert compiled.lacks(
        Loss("odd", "real", lambda o, y, scale: np.exp(scale), derivative, options={"scale": "1"})
    )


def test_a_new_row_gets_its_kernel_with_the_value_that_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "invented", INVENTED)
    (_, forward), (_, backward), count = compiled.activation(INVENTED)
    assert count == 2, "tanh, and e^−|z| for the sigmoid"
    assert sum("tanh" in line for line in forward) == 1
    assert not any("tanh" in line or "exp" in line for line in backward)
    assert "elif row == INVENTED:" in compiled.activations_text()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda z: np.exp(z), "an argument of exp can lie from -inf to inf, and it holds from -inf to 88"),
        (lambda z: np.log(z * z), "an argument of log can lie from 0 to inf"),
        (lambda z: np.sqrt(z), "an argument of sqrt can lie from -inf to inf"),
        (lambda z: np.cumsum(z), "np.cumsum cannot be recorded"),
        (lambda z: z.mean(), "'Recorded' object has no attribute 'mean'"),
        (lambda z: z if z > 0 else 0 * z, "choose with np.where"),
    ],
)
def test_what_compiled_loops_cannot_compute_is_refused_with_the_reason(function: Any, reason: str) -> None:
    row = Activation("odd", function, INVENTED.derivative)
    assert reason in str(missing(row))
    assert str(missing(row)).startswith("it has no kernel for odd and none can be written: ")


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_a_float32_kernel_has_the_nearest_number_to_each_constant(row: Any) -> None:
    """It is rounded twice, first to float64."""
    formula = formula_of(row)
    for node in walk([formula.value, formula.derivative]):
        if node.op == "const":
            once = min(
                (np.nextafter(np.float32(nearest(node)), np.float32(side)) for side in (-9e9, 9e9)),
                key=lambda v: abs(Fraction(float(v)) - node.value),
            )
            twice = np.float32(nearest(node))
            assert abs(Fraction(float(twice)) - node.value) <= abs(Fraction(float(once)) - node.value)


def test_keeping_pays_by_its_own_count() -> None:
    formula = formula_of(ACTIVATIONS["silu"])
    (s,) = kept(formula)
    assert cost(formula, [s]) < cost(formula, [])
    assert kept(formula_of(ACTIVATIONS["elu"])) == []


def test_the_rooms_have_the_rows_of_the_tables() -> None:
    writable = {row.name for row in ROWS if row.name in compiled.BY_HAND or compiled.lacks(row) is None}
    assert set(activations.ROWS) == writable & set(ACTIVATIONS), f"run {COMMAND}"
    assert set(elementwise.ROWS) == writable & {row.name for row in LOSSES.values() if not row.per_sample}, (
        f"run {COMMAND}"
    )
    assert len(activations.KEPT) == len(activations.ROWS)
