"""`compare` leaves the model, the batch and the random state as it found them."""

from typing import Any

import numpy as np
import pytest
import torch

from mlp_torch.model import MLP, state_arrays
from mlp_torch.verify import compare, comparison
from tests.mlp_torch.verify.test_compare import given


def everything(model: MLP) -> list[Any]:
    """`.grad`, mode, buffers, parameters and the random state, to be compared bit by bit."""
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    counters = [b.clone() for b in model.buffers()]
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    return [grads, counters, modes, hooks, torch.get_rng_state(), state_arrays(model)]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(same(p, q) for p, q in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


@pytest.mark.parametrize("tier", comparison.TIERS)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_random_state_are_left_as_found(training: bool, tier: str) -> None:
    model, x, y = given(normalization="batch_norm", dropout=0.25)
    model.train(training)
    model.layers[0].weight.grad = torch.full_like(model.layers[0].weight, 7.0)
    mine = model.layers[0].weight.grad
    before, numpy_before = everything(model), np.random.get_state()[1].copy()
    compare(model, x, y, loss="cross_entropy", tier=tier)
    assert same(everything(model), before)
    assert model.layers[0].weight.grad is mine
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_the_model_is_left_as_found_when_the_pass_raises() -> None:
    model, x, y = given(normalization="batch_norm", dropout=0.25)
    model.layers[1].weight.grad = torch.ones_like(model.layers[1].weight)
    handle = model.layers[2].register_forward_hook(lambda *a: 1 / 0)
    before = everything(model)
    with pytest.raises(ZeroDivisionError):
        compare(model, x, y, loss="cross_entropy")
    assert same(everything(model), before)
    handle.remove()
    with pytest.raises(ValueError, match="label 3 in row 0 is out of range"):
        compare(model, x, np.full(8, 3), loss="cross_entropy")
    assert compare(model, x, y, loss="cross_entropy").passed


def test_the_batch_is_not_written_to() -> None:
    model, x, y = given()
    x0, y0 = x.copy(), y.copy()
    compare(model, x, y, loss="cross_entropy")
    np.testing.assert_array_equal(x, x0)
    np.testing.assert_array_equal(y, y0)


def test_dropout_masks_are_the_same_on_both_sides_and_evaluation_has_none() -> None:
    model, x, y = given(dropout=0.5)
    assert {"h1", "h2"} <= set(compare(model, x, y, loss="cross_entropy").stages)
    model.eval()
    assert not {"h1", "h2"} & set(compare(model, x, y, loss="cross_entropy").stages)


def test_tensors_are_taken_like_arrays() -> None:
    model, x, y = given(torch.float32)
    a = compare(model, x, y, loss="cross_entropy")
    b = compare(model, torch.from_numpy(x), torch.from_numpy(y), loss="cross_entropy")
    assert a.to_json() == b.to_json()
    assert a.dtype == "float32"
    coarse = torch.from_numpy(x).bfloat16()  # of a dtype that NumPy lacks
    assert compare(model, coarse, y, loss="cross_entropy").passed
