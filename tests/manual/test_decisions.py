"""Softmax's product with its Jacobian, and zero-one: what is decided, and why it has no gradient."""

import numpy as np
import pytest
import torch

from manual.catalogue.activations import softmax, softmax_jacobian_product
from manual.losses import d_zero_one, predict, zero_one


def test_softmaxs_product_is_that_with_the_full_jacobian() -> None:
    rng = np.random.default_rng(0)
    z, da = rng.normal(0, 2, (7, 5)), rng.normal(0, 1, (7, 5))
    a = softmax(z)
    for row in range(7):
        jacobian = np.diag(a[row]) - np.outer(a[row], a[row])
        np.testing.assert_allclose(
            jacobian, torch.autograd.functional.jacobian(lambda t: t.softmax(-1), torch.from_numpy(z[row]))
        )
        dz = softmax_jacobian_product(da, z, a)[row]
        np.testing.assert_allclose(dz, jacobian.T @ da[row], atol=1e-16)
        assert not np.allclose(dz, np.diag(jacobian) * da[row]), "the diagonal alone would be seen"


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_softmax_runs_along_the_last_axis_of_however_many(shape: tuple[int, ...]) -> None:
    z, da = np.random.default_rng(0).normal(0, 2, (2, *shape))
    tensor = torch.from_numpy(z.copy()).requires_grad_()
    theirs = tensor.softmax(-1)
    theirs.backward(torch.from_numpy(da))
    assert tensor.grad is not None
    np.testing.assert_allclose(softmax(z), theirs.detach(), rtol=1e-14)
    np.testing.assert_allclose(softmax_jacobian_product(da, z, softmax(z)), tensor.grad, atol=1e-15)


def test_zero_one_is_the_share_of_wrong_decisions() -> None:
    output = np.array([[2.0, 1.0], [0.0, 3.0], [-1.0, -2.0], [0.5, -0.5]])
    assert predict(output, "label").tolist() == [0, 1, 0, 0]
    assert zero_one(output, np.array([0, 1, 1, 1]), "label") == 0.5
    assert zero_one(output, np.where(output > 0, 1, -1), "sign") == 0
    flipped = np.array([[True, True], [False, False], [False, True], [False, False]])
    assert zero_one(output, (output > 0) ^ flipped, "binary") == 0.5


def test_zero_ones_gradient_is_zero_and_so_is_its_change() -> None:
    rng = np.random.default_rng(0)
    output, y = rng.normal(0, 1, (50, 4)), rng.integers(0, 4, 50)
    gradient = d_zero_one(output, y)
    assert gradient.shape == output.shape
    assert not gradient.any()
    nudged = output + 1e-9 * rng.normal(0, 1, output.shape)
    assert zero_one(nudged, y, "label") == zero_one(output, y, "label")
