"""Calls made from a record: what they leave is what the formula gives, whichever arrays hold its values."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.activations import Activation
from manual.buffered import activations, losses, recorded
from manual.buffered.program import Program, Workspace, borrows
from manual.catalogue import ACTIVATIONS, LOSSES
from manual.numbers import Array, erf
from manual.recorded import Record, Recorded
from manual.recorded.calls import write
from manual.recorded.compiled import BY_HAND
from manual.recorded.simplify import simplified

ONE: list[Any] = [
    np.tanh,
    np.abs,
    np.negative,
    erf,
    lambda x: np.exp(-abs(x)),
    lambda x: np.where(x > 0, x, 2),
]
TWO: list[Any] = [np.add, np.subtract, np.multiply, np.minimum, np.maximum]
TWO += [lambda x, y: np.where(x > y, x, y * 3), lambda x, y: np.where(~(x <= y) | (y > 1), 1.0, 0.0)]
TWO += [lambda x, y: np.where(x < 0, y, x) + np.where(x < 0, 0.0, 1.0)]
OF_ARRAYS: list[Any] = [row for row in ACTIVATIONS.values() if row.derivative is not None]
OF_LOSSES: list[Any] = [row for row in LOSSES.values() if row.name not in BY_HAND]
Z = np.random.default_rng(3).normal(0, 3, (5, 7))


@st.composite
def formulas(draw: st.DrawFn) -> Any:
    """A function of two arrays: a dozen operations on what came before, drawn once."""
    steps = draw(st.lists(st.tuples(st.integers(0, 13), st.integers(0, 99), st.integers(0, 99)), min_size=1))

    def formula(x: Any, y: Any) -> Any:
        values = [x, y]
        for which, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            values.append(ONE[which](a) if which < len(ONE) else TWO[which - len(ONE)](a, b))
        return values[-1]

    return formula


@given(formulas(), st.booleans(), st.booleans())
@settings(max_examples=200)
def test_any_formula_is_what_its_calls_leave(formula: Any, over: bool, cheaper: bool) -> None:
    x, y = Z.copy(), Z[::-1].copy()
    with np.errstate(all="ignore"):
        right = np.broadcast_to(np.asarray(formula(x, y)), x.shape)
        record = Record(simplified if cheaper else None)
        inputs = {record.input("x"): x, record.input("y"): y}
        do, out = Program(Workspace(np.float64)), y if over else np.full_like(x, np.nan)
        root = record.constant(formula(*inputs))

        @borrows
        def written(do: Program) -> None:
            write(recorded.NumPyWriter(do, x), {root: out}, inputs)

        written(do)
        for call in do.calls:
            call()
    assert np.array_equal(x, Z), "what is given is only read"
    np.testing.assert_allclose(out, right, 1e-12, 1e-12)


def run(do: Program) -> None:
    with np.errstate(all="ignore"):
        for call in do.calls:
            call()


@pytest.mark.parametrize("row", OF_ARRAYS, ids=lambda row: row.name)
def test_an_activation_from_its_record_is_the_row(row: Activation) -> None:
    slope = None if row.slope is None else np.array([0.3])
    given = () if slope is None else (slope,)
    made = recorded.activation(row, keep=True)
    do, a, f = Program(Workspace(np.float64)), np.empty_like(Z), np.empty_like(Z)
    made.derivative(do, Z, a, f, slope, made.forward(do, Z, a, slope))
    run(do)
    assert row.derivative is not None
    np.testing.assert_allclose(a, row.forward(Z, *given), 1e-13, 1e-15)
    np.testing.assert_allclose(
        f, np.broadcast_to(row.derivative(Z, a, *given, **row.options), Z.shape), 1e-13, 1e-15
    )


@pytest.mark.parametrize("row", OF_LOSSES, ids=lambda row: row.name)
def test_a_loss_from_its_record_is_the_row(row: Any) -> None:
    y, do = np.sign(Z[::-1]), Program(Workspace(np.float64))
    t, d = np.empty_like(Z), np.empty_like(Z)
    made = recorded.loss(row)
    made.value(do, Z, y, t)
    made.gradient(do, Z, y, d)
    run(do)
    np.testing.assert_allclose(t, row.terms(Z, y, **row.options), 1e-13, 1e-15)
    np.testing.assert_allclose(d, row.derivative(Z, y, **row.options), 1e-13, 1e-15)


def test_two_values_in_one_array_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(writer: recorded.NumPyWriter, condition: bool) -> Array:
        shared.setdefault(condition, np.zeros(Z.shape, bool if condition else float))
        return shared[condition]

    shared: dict[bool, Array] = {}
    monkeypatch.setattr(recorded.NumPyWriter, "new", careless)
    with pytest.raises(AssertionError):
        test_an_activation_from_its_record_is_the_row(ACTIVATIONS["gelu_tanh"])


def test_a_new_row_has_a_kernel_at_once_and_what_cannot_be_recorded_has_none() -> None:
    row = replace(ACTIVATIONS["silu"], name="invented")
    assert activations.kernel(row).derivative is not None
    with pytest.raises(ValueError, match="the buffered step has no kernel for sine"):
        activations.kernel(replace(row, name="sine", function=lambda z: np.sin(z)))
    with pytest.raises(ValueError, match="the buffered step has no kernel for cubed"):
        losses.kernel(replace(LOSSES["mse"], name="cubed", terms=lambda o, y: np.cbrt(o - y)))


def test_a_kernel_by_hand_is_the_row_too() -> None:
    for name in activations.KERNELS:
        row = ACTIVATIONS[name]
        if row.derivative is None:
            continue
        ours, do = activations.kernel(row), Program(Workspace(np.float64))
        a, f = np.empty_like(Z), np.empty_like(Z)
        assert ours.forward is not None
        assert ours.derivative is not None
        ours.derivative(do, Z, a, f, None, ours.forward(do, Z, a, None))
        run(do)
        np.testing.assert_allclose(a, row.forward(Z), 1e-13, 1e-15)
        np.testing.assert_allclose(f, row.derivative(Z, a, **row.options), 1e-13, 1e-15)


def test_a_record_is_not_changed_by_what_is_written_from_it() -> None:
    record = Record()
    z: Any = record.input("z")
    root: Recorded = np.exp(z) * z
    before = len(record.table)
    do = Program(Workspace(np.float64))
    write(recorded.NumPyWriter(do, Z), {root: np.empty_like(Z)}, {z: Z})
    assert len(record.table) == before
