"""At ±1000 and at NaN, activations and losses are torch's, and nothing overflows."""

import math

import numpy as np
import pytest
import torch

from manual import ACTIVATIONS, LOSSES
from mlp_torch.model import ACTIVATIONS as TORCH_ACTIVATIONS
from mlp_torch.model import LOSSES as TORCH_LOSSES
from tests.mlp_torch.both import manual_derivative, torch_derivative
from tests.problems import (
    DTYPES,
)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_overflows_at_1000(name: str) -> None:
    z = np.array([[-1000.0, 1000.0, 0.5]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        a = ACTIVATIONS[name].forward(z, *([np.array([0.25])] * (name == "prelu")))
        d = manual_derivative(name, z, np.ones_like(z))
    tensor = torch.from_numpy(z)
    np.testing.assert_allclose(a, TORCH_ACTIVATIONS[name]().double()(tensor).detach(), rtol=1e-15)
    np.testing.assert_allclose(d, torch_derivative(name, z, np.ones_like(z)), rtol=1e-15, atol=1e-16)


def test_the_sigmoid_ends_at_0_and_1() -> None:
    for dtype in DTYPES.values():
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            a = ACTIVATIONS["sigmoid"].forward(np.array([-1000, 0, 1000], dtype))
        assert a.tolist() == [0, 0.5, 1]
        assert a.dtype == dtype


@pytest.mark.parametrize("loss", ["bce_with_logits", "cross_entropy"])
def test_the_losses_of_logits_do_not_overflow_at_1000(loss: str) -> None:
    output = np.array([[1000.0, -1000.0, 3.0]])
    y = np.array([[0.0, 1.0, 1.0]]) if loss == "bce_with_logits" else np.array([1])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, gradient = LOSSES[loss].value(output, y), LOSSES[loss].gradient(output, y)
    tensor = torch.from_numpy(output).requires_grad_()
    theirs = TORCH_LOSSES[loss](tensor, torch.from_numpy(y))
    theirs.backward()
    assert math.isclose(value, theirs.item(), rel_tol=1e-15)
    np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"softmax"}))
def test_nan_passes_through_activations_as_in_torch(name: str) -> None:
    # torch's vector and scalar kernels disagree at NaN for elu, selu and hardtanh: either will do
    z = np.full((1, 17), np.nan)
    theirs = {str(d) for d in torch_derivative(name, z, np.ones_like(z)).flat}
    assert len(theirs) == 1 or name in ("elu", "selu", "hardtanh")
    ours = {str(d) for d in manual_derivative(name, z, np.ones_like(z)).flat}
    assert len(ours) == 1
    assert ours <= theirs


def test_relu_passes_the_gradient_and_softmax_spoils_its_row_at_nan() -> None:
    z, da = np.array([[np.nan, 1.0, -1.0], [1.0, 2.0, 0.0]]), np.array([[2.0, 3.0, 5.0], [1.0, 2.0, 4.0]])
    assert np.array_equal(manual_derivative("relu", z, da), [[2, 3, 0], [1, 2, 0]])
    for name in ("relu", "softmax"):
        ours, theirs = manual_derivative(name, z, da), torch_derivative(name, z, da)
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_passes_through_loss_gradients_as_in_torch(loss: str) -> None:
    output = np.array([[np.nan, 2.0], [0.5, -1.0], [3.0, np.nan]])
    y = np.array([1, 0, 1]) if LOSSES[loss].target == "label" else np.ones((3, 2))
    tensor = torch.from_numpy(output).requires_grad_()
    TORCH_LOSSES[loss](tensor, torch.from_numpy(y)).backward()
    np.testing.assert_allclose(LOSSES[loss].gradient(output, y), tensor.grad, rtol=1e-15)
