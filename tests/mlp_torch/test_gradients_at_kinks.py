"""Where f′ jumps, the derivative is torch's, bit for bit where integers make both exact."""

from typing import Any

import numpy as np
import pytest
import torch

from manual import ACTIVATIONS, LOSSES, MLP
from manual.numbers import Array
from mlp_torch.model import LOSSES as TORCH_LOSSES
from tests.mlp_torch.both import both, manual_derivative, torch_derivative
from tests.problems import DTYPES

PIECEWISE_LINEAR = ["identity", "relu", "leaky_relu", "prelu", "hardtanh"]
AT_KINK = {"relu": 0, "leaky_relu": 0.01, "prelu": 0.25, "elu": 1, "hardtanh": 0}


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_piecewise_linear_derivatives_are_torchs_bit_for_bit_on_integers(name: str, dtype: Any) -> None:
    z = np.arange(-25, 26, dtype=dtype).reshape(3, 17)
    da = np.random.default_rng(0).integers(1, 9, z.shape).astype(dtype)
    assert set(ACTIVATIONS[name].kinks) <= set(z.flat)
    assert np.array_equal(manual_derivative(name, z, da), torch_derivative(name, z, da))


@pytest.mark.parametrize("name", AT_KINK)
def test_the_derivative_at_each_kink_is_the_documented_one(name: str) -> None:
    z = np.array([[float(k) for k in ACTIVATIONS[name].kinks or (0,)]])
    assert (manual_derivative(name, z, np.ones_like(z)) == AT_KINK[name]).all()
    assert (torch_derivative(name, z, np.ones_like(z)) == AT_KINK[name]).all()


@pytest.mark.parametrize("name", ["elu", "selu", "softplus"])
def test_curved_activations_take_torchs_side_of_their_kink(name: str) -> None:
    kinks = np.array([[-1.0, 0.0, 1.0, 20.0, 21.0]])
    ours, theirs = (f(name, kinks, np.ones_like(kinks)) for f in (manual_derivative, torch_derivative))
    np.testing.assert_array_max_ulp(ours, theirs, 2)
    if name == "selu":
        assert abs(ours[0, 1] - 1.758) < 1e-3


def test_softplus_is_z_itself_from_torchs_threshold_on_and_not_at_it() -> None:
    z = np.array([[19.75, 20.0, 20.25, 20.5, 20.75, 21.0]])
    ours = ACTIVATIONS["softplus"].forward(z)
    np.testing.assert_array_max_ulp(ours, torch.nn.functional.softplus(torch.from_numpy(z)).numpy(), 1)
    assert (ours == z).tolist() == [[False, False, True, True, True, True]]


def integers(loss: str, seed: int, dtype: Any, k: int = 4) -> tuple[Array, Array]:
    """An integer output (16, k) and targets that meet every kink of the loss."""
    rng = np.random.default_rng(seed)
    output = rng.integers(-2, 3, (16, k)).astype(dtype)
    kind = LOSSES[loss].target
    if kind == "label":
        return output, rng.integers(0, k, 16)
    y = rng.integers(-2, 3, output.shape) if kind == "real" else 2 * rng.integers(0, 2, output.shape) - 1
    return output, y.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", ["half_squared_error", "mse", "l1", "smooth_l1", "hinge", "multi_margin"])
def test_losses_are_torchs_bit_for_bit_at_their_kinks(loss: str, reduction: Any, dtype: Any) -> None:
    for seed in range(5):
        output, y = integers(loss, seed, dtype)
        if loss == "l1":
            assert (output == y).any()
        if loss == "hinge":
            assert (y * output == 1).any()
        if loss == "multi_margin":
            assert (output[np.arange(16), y][:, None] - output == 1).any()
        tensor = torch.from_numpy(output).requires_grad_()
        value = TORCH_LOSSES[loss](tensor, torch.from_numpy(y), reduction=reduction)
        value.backward()
        assert tensor.grad is not None
        assert np.array_equal(LOSSES[loss].gradient(output, y, reduction), tensor.grad.numpy())
        assert LOSSES[loss].value(output, y, reduction) == value.item()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("loss", ["half_squared_error", "mse", "l1", "smooth_l1", "hinge", "multi_margin"])
@pytest.mark.parametrize("activation", ["identity", "relu", "prelu", "hardtanh"])
def test_integer_networks_full_of_kinks_are_equal_in_every_bit(
    activation: str, loss: str, dtype: Any
) -> None:
    rng, sizes = np.random.default_rng(3), (3, 5, 7, 4)
    model = MLP(sizes, activation=activation, dtype=dtype)
    for name, value in model.parameters.items():
        if name.startswith("layers"):
            model.parameters[name] = rng.integers(-1, 2, value.shape).astype(dtype)
    x = rng.integers(-1, 2, (16, 3)).astype(dtype)
    ours, theirs = both(model, x, integers(loss, 4, dtype)[1], loss, reduction="sum")
    for kink in ACTIVATIONS[activation].kinks:
        assert (ours["z1"] == kink).any()
        assert (ours["z2"] == kink).any()
    for stage in ours:
        assert np.array_equal(ours[stage.name], theirs[stage.name]), stage.name
    assert any(np.count_nonzero(g) for g in ours.gradients.values())
