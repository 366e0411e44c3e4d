"""The network's initial weights, and how weights go over to the PyTorch side and back."""

from typing import Any

import numpy as np
import pytest
import torch

import mlp_torch.model as torch_side
from manual import MLP
from manual.structure.architecture import INITIALIZATIONS, NORMALIZATIONS
from mlp_torch.model import load_arrays, state_arrays, to_manual, to_torch
from tests.manual.comparing import PROBLEM, bits
from tests.problems import DTYPES

TORCH_DTYPES = {"float64": torch.float64, "float32": torch.float32}


# ---- initial weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_the_same_seed_gives_the_same_weights_on_both_sides(
    initialization: str, normalization: str, dtype: str
) -> None:
    rows: dict[str, Any] = {
        "activation": "prelu",
        "normalization": normalization,
        "initialization": initialization,
        "seed": 5,
    }
    ours = MLP((5, 7, 3), dtype=DTYPES[dtype], **rows)
    theirs = torch_side.MLP((5, 7, 3), dtype=TORCH_DTYPES[dtype], **rows)
    assert bits(ours.parameters | ours.buffers) == bits(state_arrays(theirs))
    assert list(ours.parameters) == [n for n, _ in theirs.named_parameters()]
    other = MLP((5, 7, 3), dtype=DTYPES[dtype], **{**rows, "seed": 6})
    assert not np.array_equal(ours.parameters["layers.0.weight"], other.parameters["layers.0.weight"])


def test_drawing_leaves_numpys_global_generator_alone() -> None:
    state = np.random.get_state()[1].copy()
    MLP((5, 7, 3), dropout=0.5).draw_masks(4)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_initial_weights_have_the_documented_distribution(initialization: str) -> None:
    model = MLP((400, 300, 100), initialization=initialization)
    for i, (fan_in, fan_out) in enumerate([(400, 300), (300, 100)]):
        weight, bias = model.parameters[f"layers.{i}.weight"], model.parameters[f"layers.{i}.bias"]
        bound = {"torch": 1 / np.sqrt(fan_in), "xavier": np.sqrt(6 / (fan_in + fan_out))}.get(initialization)
        variance = 2 / fan_in if bound is None else bound**2 / 3
        # 5 standard errors; a variance's is below √(2/n) of it
        assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
        assert abs(weight.var() / variance - 1) < 5 * np.sqrt(2 / weight.size)
        if bound is None:
            assert np.abs(weight).max() > 3 * np.sqrt(variance)
        else:
            assert 0.999 * bound < np.abs(weight).max() <= bound
        if initialization == "torch":
            assert 0 < np.abs(bias).max() <= bound
        else:
            assert not bias.any()


def test_torch_initialization_is_nn_linears_own() -> None:
    linear = torch.nn.Linear(400, 300)
    ours = MLP((400, 300, 2)).parameters
    for name, theirs in linear.named_parameters():
        assert abs(ours[f"layers.0.{name}"].std() / theirs.std().item() - 1) < 0.1


# ---- weights go over -------------------------------------------------------------------------------


ODD = {
    "float64": np.array([0x7FF8000000001234, 0x8000000000000000, 0xFFF0000000000000, 1], np.uint64),
    "float32": np.array([0x7FC01234, 0x80000000, 0xFF800000, 1], np.uint32),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
def test_weights_go_over_in_both_directions_bit_for_bit(dtype: str, training: bool) -> None:
    rows = {"activation": "prelu", "normalization": "batch_norm", "dropout": 0.25}
    model = PROBLEM.model(DTYPES[dtype], **rows)
    model.training = training
    odd = ODD[dtype].view(DTYPES[dtype])  # a NaN with a payload, −0, −∞, the smallest number
    model.parameters["layers.1.weight"][0, :4] = odd
    model.buffers["normalizations.0.running_var"][:4] = odd
    there = to_torch(model)
    assert bits(state_arrays(there)) == bits(model.parameters | model.buffers)
    back = to_manual(there)
    assert bits(back.parameters) == bits(model.parameters)
    assert bits(back.buffers) == bits(model.buffers)
    assert there.training == back.training == training
    assert back.architecture == there.architecture == model.architecture


def test_weights_that_went_over_are_copies() -> None:
    model = PROBLEM.model()
    there = to_torch(model)
    back = to_manual(there)
    before = bits(model.parameters)
    with torch.no_grad():
        there.layers[0].weight.zero_()
    back.parameters["layers.1.weight"][...] = 0
    assert bits(model.parameters) == before
    assert not np.array_equal(state_arrays(there)["layers.1.weight"], back.parameters["layers.1.weight"])


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        ({"layers.7.weight": np.zeros((4, 3))}, KeyError, "layers.7.weight"),
        ({"layers.0.weight": np.zeros((3, 4))}, ValueError, r"\(4, 3\)"),
        ({"layers.0.weight": np.zeros((4, 3), np.float32)}, ValueError, "float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(arrays: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        load_arrays(torch_side.MLP((3, 4, 2), dtype=torch.float64), arrays)
