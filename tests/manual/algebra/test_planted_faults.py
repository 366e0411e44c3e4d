"""The algebra sees a float among exact numbers, a gradient slightly wrong and a path that is lost."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb

from manual import ACTIVATIONS, LOSSES, catalogue
from manual.catalogue.layers import BatchNorm, LayerNorm
from manual.layers import Linear
from manual.numbers import Array, erf, number
from tests.duals import exact
from tests.manual.algebra.differences import (
    BASES,
    activation_differs,
    differs,
    loss_differs,
    network_differs,
    normalization_differs,
)


def test_a_constant_kept_as_a_float_spoils_gelu(monkeypatch: pytest.MonkeyPatch) -> None:
    right = catalogue.activations.d_gelu

    def wrong(z: Array, a: Array) -> Array:
        density = np.exp(-z * z / 2) * 0.3989422804014327  # 1/√2π
        return (1 + erf(z / np.sqrt(number(2, z)))) / 2 + z * density

    floats = np.linspace(-3, 3, 19)
    np.testing.assert_allclose(wrong(floats, floats), right(floats, floats), rtol=1e-14)
    row = ACTIVATIONS["gelu"]
    monkeypatch.setitem(ACTIVATIONS, "gelu", type(row)(**{**vars(row), "derivative": wrong}))
    assert activation_differs("gelu", arb) != ""
    assert set(network_differs(arb, "mse", activation="gelu")) == {"x", "W1", "b1"}


def test_a_float_in_a_forward_formula_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ACTIVATIONS["tanh"]
    wrong = type(row)(**{**vars(row), "function": lambda z: 0.5 * np.tanh(z)})
    monkeypatch.setitem(ACTIVATIONS, "tanh", wrong)
    with pytest.raises(TypeError):
        activation_differs("tanh", arb)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_float_among_fractions_is_no_agreement(base: Any) -> None:
    assert differs([0.5], exact([0.5], base)).startswith("a float")


@pytest.mark.parametrize("name", LOSSES)
def test_a_slightly_wrong_loss_gradient_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = LOSSES[name]
    tiny = arb("1e-30")
    wrong = type(row)(**{**vars(row), "derivative": lambda o, y, **k: row.derivative(o, y, **k) * (1 + tiny)})
    monkeypatch.setitem(LOSSES, name, wrong)
    assert loss_differs(name, arb) != ""


def test_a_lost_path_of_a_normalization_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_mean_path(dx: Array, z: Array, axis: int) -> Array:
        x, deviation = catalogue.layers.standardize(z, axis)
        return (dx - x * (dx * x).sum(axis=axis, keepdims=True) / z.shape[axis]) / deviation

    monkeypatch.setattr(catalogue.layers, "standardize_backward", without_mean_path)
    assert len(normalization_differs(BatchNorm)) == 1
    assert len(normalization_differs(LayerNorm)) == 1


def test_a_weight_gradient_over_n_is_seen_in_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "backward_weight", staticmethod(lambda dz, a: dz.T @ a / len(a)))
    assert set(network_differs(Fraction, "mse")) == {"W1", "W2"}
