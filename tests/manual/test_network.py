"""The network: its counts, its live parameters, its errors of shape."""

from typing import Any

import numpy as np
import pytest

import mlp_torch.model as torch_side
from manual import LOSSES, MLP
from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch.model import to_torch
from mlp_torch.trace import trace as torch_trace
from tests.manual.comparing import PROBLEM

# ---- counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [MLP, torch_side.MLP])
def test_the_lectures_network_has_6_neurons_20_weights_26_parameters(build: Any) -> None:
    assert build((3, 4, 2)).counts == (6, 20, 26)


def test_counts_are_those_of_the_torch_module() -> None:
    for normalization in NORMALIZATIONS:
        model = torch_side.MLP((5, 13, 11, 3), activation="prelu", normalization=normalization)
        assert model.counts.parameters == sum(p.numel() for p in model.parameters())


# ---- live parameters -------------------------------------------------------------------------------


def test_writing_into_a_parameter_takes_effect() -> None:
    model, (x, y) = PROBLEM.model(), PROBLEM.batch("mse")
    before = model.trace(x, y, "mse")["a3"].copy()
    model.parameters["layers.2.bias"][...] += 1
    np.testing.assert_allclose(model.trace(x, y, "mse")["a3"], before + 1, rtol=1e-14)


def test_assigning_a_parameter_takes_effect() -> None:
    model, (x, y) = PROBLEM.model(), PROBLEM.batch("mse")
    model.parameters["layers.2.weight"] = np.zeros((3, 11))
    assert np.array_equal(model.trace(x, y, "mse")["a3"], np.tile(model.parameters["layers.2.bias"], (7, 1)))


def test_an_unknown_name_or_another_shape_is_refused_with_both_named() -> None:
    model = MLP((3, 4, 2))
    with pytest.raises(KeyError, match=r"no parameter 'layers.2.weight'; there are layers.0.weight"):
        model.parameters["layers.2.weight"] = np.zeros((2, 4))
    for wrong in [(3, 4), (4,), (1, 4, 3)]:
        with pytest.raises(ValueError, match=r"layers.0.weight has shape \(4, 3\), not") as info:
            model.parameters["layers.0.weight"] = np.zeros(wrong)
        assert str(wrong) in str(info.value)
    with pytest.raises(ValueError, match=r"layers\.0\.bias has shape"):
        model.parameters["layers.0.bias"] = 0.0


# ---- errors of shape -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if row.target != "label"])
def test_y_of_n_against_an_output_of_n_by_1_is_refused_with_the_cure(loss: str) -> None:
    model, x = MLP((3, 4, 1)), np.ones((5, 3))
    for run in (model.trace, lambda *a: torch_trace(to_torch(model), *a)):
        with pytest.raises(ValueError, match=r"y has shape \(5,\).*\(5, 1\).*try y.reshape\(5, 1\)"):
            run(x, np.ones(5), loss)


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (np.zeros((5, 1), int), r"one class label a sample, shape \(5,\)"),
        (np.zeros(4, int), r"shape \(5,\), is needed"),
        (np.zeros(5), "must be integers, y is float64"),
        (np.array([0, 1, 3, 0, 0]), "label 3 in row 2 is out of range; the output has 3 classes, 0 to 2"),
        (np.array([0, 1, 2, -1, 0]), "label -1 in row 3"),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin"])
def test_labels_that_do_not_fit_are_refused_with_their_row(loss: str, y: Array, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MLP((3, 4, 3)).trace(np.ones((5, 3)), y, loss)


@pytest.mark.parametrize("shape", [(5, 4), (5,), (2, 5, 3)])
def test_x_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x has shape .*; this network takes \(N, 3\)"):
        MLP((3, 4, 2)).trace(np.ones(shape), np.ones((5, 2)), "mse")


def test_batch_norm_refuses_a_training_batch_of_one() -> None:
    model = MLP((3, 4, 2), normalization="batch_norm")
    with pytest.raises(ValueError, match="at least 2 samples"):
        model.trace(np.ones((1, 3)), np.ones((1, 2)), "mse")
    model.training = False
    model.trace(np.ones((1, 3)), np.ones((1, 2)), "mse")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"activation": "rleu"}, "did you mean 'relu'"),
        ({"output_activation": "sofmax"}, "did you mean 'softmax'"),
        ({"normalization": "batchnorm"}, "did you mean 'batch_norm'"),
        ({"initialization": "glorot"}, "choose from torch, xavier, he"),
        ({"dropout": 1.0}, "0 ≤ p < 1"),
        ({"dropout": -0.1}, "0 ≤ p < 1"),
        ({"sizes": (3,)}, "an input and an output size"),
        ({"sizes": (3, 0, 2)}, "at least 1 neuron"),
    ],
)
@pytest.mark.parametrize("build", [MLP, torch_side.MLP])
def test_a_network_that_cannot_be_is_refused_with_advice(build: Any, options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        build(**{"sizes": (3, 4, 2), **options})


def test_an_unknown_loss_or_reduction_is_refused_with_advice() -> None:
    model, x, y = MLP((3, 4, 2)), np.ones((5, 3)), np.ones((5, 2))
    with pytest.raises(ValueError, match="did you mean 'mse'"):
        model.trace(x, y, "msee")
    with pytest.raises(ValueError, match="choose from mean, sum"):
        model.trace(x, y, "mse", reduction="max")  # type: ignore[arg-type]  # the fault that is planted
