"""The first chapter computes what the rows compute, to 1e-50; on floats they differ by rounding."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import MLP, classic
from manual.numbers import Array
from tests.manual.algebra.differences import differs, generic

SIZES = st.lists(st.integers(1, 4), min_size=2, max_size=4)


def of_rows(model: MLP, x: Array, y: Array) -> list[Array]:
    """The network's output and every ∂L/∂W and ∂L/∂b, layer by layer, from the rows of the chain rule."""
    trace = model.trace(x, y, "half_squared_error")
    layers = range(model.architecture.depth)
    found = [trace.gradients[f"layers.{i}.{kind}"] for kind in ("weight", "bias") for i in layers]
    return [trace[f"a{len(layers)}"], *found]


def of_chapter(model: MLP, x: Array, y: Array) -> list[Array]:
    """The same from `manual.classic`."""
    layers = range(model.architecture.depth)
    weights, biases = ([model.parameters[f"layers.{i}.{k}"] for i in layers] for k in ("weight", "bias"))
    f = classic.forward(x, weights, biases)
    dW, db = classic.backward(y, f, weights)
    return [f[-1], *dW, *db]


def problem(sizes: list[int], n: int, base: Any, seed: int) -> tuple[MLP, Array, Array]:
    """A network of sigmoids and a batch, in that number system; in floats where it is `float`."""
    model = MLP(sizes, activation="sigmoid", output_activation="sigmoid")
    drawn = [generic(p.shape, seed + i, arb) for i, p in enumerate(model.parameters.values())]
    x, y = generic((n, sizes[0]), seed + 50, arb), generic((n, sizes[-1]), seed + 51, arb)
    if base is float:
        drawn, x, y = [p.astype(float) for p in drawn], x.astype(float), y.astype(float)
    for name, value in zip(list(model.parameters), drawn, strict=True):
        model.parameters[name] = value
    return model, x, y


@settings(max_examples=25)
@given(SIZES, st.integers(1, 3), st.integers(0, 99))
def test_the_chapter_is_the_rows(sizes: list[int], n: int, seed: int) -> None:
    model, x, y = problem(sizes, n, arb, seed)
    for ours, rows in zip(of_chapter(model, x, y), of_rows(model, x, y), strict=True):
        assert differs(ours, rows) == ""


@given(SIZES, st.integers(1, 5), st.integers(0, 99))
def test_in_floats_they_differ_by_rounding(sizes: list[int], n: int, seed: int) -> None:
    model, x, y = problem(sizes, n, float, seed)
    for ours, rows in zip(of_chapter(model, x, y), of_rows(model, x, y), strict=True):
        np.testing.assert_allclose(ours, rows, rtol=1e-11, atol=1e-14 * np.abs(rows).max())


@pytest.mark.parametrize("fault", ["the slope", "the mean"])
def test_a_slip_in_the_chapter_is_seen(fault: str) -> None:
    model, x, y = problem([2, 3, 2], 3, arb, 0)
    weights, biases = ([model.parameters[f"layers.{i}.{k}"] for i in (0, 1)] for k in ("weight", "bias"))
    f = classic.forward(x, weights, biases)
    slipped = [*f[:-1], f[-1] * 2] if fault == "the slope" else f
    dW, _ = classic.backward(y if fault == "the slope" else y * 3, slipped, weights)
    assert differs(dW[0], of_rows(model, x, y)[1]) != ""


def test_a_step_goes_down() -> None:
    model, x, y = problem([2, 3, 1], 4, float, 1)
    y = (y > 0) * 1.0
    weights, biases = ([model.parameters[f"layers.{i}.{k}"] for i in (0, 1)] for k in ("weight", "bias"))
    losses = []
    for _ in range(50):
        f = classic.forward(x, weights, biases)
        losses.append(float(((f[-1] - y) ** 2 / 2).mean()))
        dW, db = classic.backward(y, f, weights)
        weights, biases = classic.step(weights, dW, 0.5), classic.step(biases, db, 0.5)
    assert all(after < before for before, after in pairwise(losses))
