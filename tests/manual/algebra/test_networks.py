"""Whole networks on exact numbers: every gradient is that of the dual numbers, or equal to it."""

from fractions import Fraction

import pytest
from flint import arb

from manual import ACTIVATIONS, LOSSES
from tests.manual.algebra.differences import RATIONAL, RATIONAL_LOSSES, network_differs


@pytest.mark.parametrize("normalization", ["none", "batch_norm", "layer_norm"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_gradient_of_a_network(activation: str, normalization: str) -> None:
    assert network_differs(arb, "mse", activation=activation, normalization=normalization) == {}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output_activation", ACTIVATIONS)
def test_every_gradient_under_every_output_layer(output_activation: str, loss: str) -> None:
    assert network_differs(arb, loss, activation="sigmoid", output_activation=output_activation) == {}


@pytest.mark.parametrize("loss", RATIONAL_LOSSES)
@pytest.mark.parametrize("activation", RATIONAL)
def test_every_gradient_of_a_rational_network_is_equal(activation: str, loss: str) -> None:
    rows = {"activation": activation, "output_activation": activation, "dropout": 0.25}
    assert network_differs(Fraction, loss, **rows) == {}


def test_every_gradient_in_evaluation_and_under_dropout() -> None:
    rows = {"activation": "gelu", "normalization": "batch_norm", "dropout": 0.25}
    assert network_differs(arb, "cross_entropy", training=False, **rows) == {}
    assert network_differs(arb, "cross_entropy", **rows) == {}
