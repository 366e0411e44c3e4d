"""Every stage of the hand-written chain rule is what autograd computes, for every row of every table."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from manual import ACTIVATIONS, LOSSES
from manual.structure.architecture import NORMALIZATIONS
from manual.structure.trace import Trace
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.mlp_torch.both import FIXED, both
from tests.problems import (
    DTYPES,
    FLAT_SOMEWHERE,
    Problem,
    disagreements,
    near_kink,
    problems,
    share_of_gradients,
)

PIECEWISE_LOSSES = {"l1", "hinge", "multi_margin"}


def assert_agree(problem: Problem, loss: str, dtype: str, **rows: Any) -> Trace:
    model = problem.model(DTYPES[dtype], **rows)
    ours, theirs = both(model, *problem.batch(loss, DTYPES[dtype]), loss)
    assume(not near_kink(ours))
    assert disagreements(ours, theirs) == {}
    return ours


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=2)
@given(problem=problems())
def test_every_stage_is_autograds(
    activation: str, loss: str, normalization: str, dtype: str, problem: Problem
) -> None:
    ours = assert_agree(problem, loss, dtype, activation=activation, normalization=normalization)
    # two features standardised are ±1, whatever z is: what is left of the gradient is ε's
    flat = normalization == "layer_norm" and 2 in problem.sizes[1:-1]
    if activation not in FLAT_SOMEWHERE and loss not in PIECEWISE_LOSSES and not flat:
        assert share_of_gradients(ours) > 0.9
        # where every residual of smooth_l1 happens to lie on one slope, a constant upstream proves little
        assume(np.unique(ours["dloss"]).size > 1)


def test_the_slope_of_a_layer_without_a_unit_below_0_has_gradient_0_and_is_no_evidence() -> None:
    problem = Problem(5, (11, 7, 3, 13), 290)  # z2 is positive throughout
    model = problem.model(activation="prelu", normalization="layer_norm")
    ours, theirs = both(model, *problem.batch("mse"), "mse")
    assert disagreements(ours, theirs) == {}
    assert (ours["n2"] > 0).all()
    assert ours["dslope2"] == 0
    assert ours["dslope1"] != 0
    assert share_of_gradients(ours) > 0.9
    lost = Trace(ours.stages, ours.leaves, {**ours.values, "dslope1": np.zeros(1)})
    assert share_of_gradients(lost) == 0  # planted: a unit is below 0 there, and its slope says nothing


ELEMENTWISE = [name for name, row in LOSSES.items() if row.target != "label"]


@pytest.mark.parametrize("loss", ELEMENTWISE)
@pytest.mark.parametrize("output_activation", ACTIVATIONS)
@settings(max_examples=3)
@given(problem=problems())
def test_every_output_activation_under_every_elementwise_loss(
    output_activation: str, loss: str, problem: Problem
) -> None:
    assert_agree(problem, loss, "float64", activation="tanh", output_activation=output_activation)


@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin"])
@pytest.mark.parametrize("output_activation", ACTIVATIONS)
@settings(max_examples=2)
@given(problem=problems())
def test_every_output_activation_under_the_losses_of_labels(
    output_activation: str, loss: str, problem: Problem
) -> None:
    assert_agree(problem, loss, "float64", activation="silu", output_activation=output_activation)


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=3)
@given(problem=problems())
def test_the_sum_is_autograds_and_count_times_the_mean(loss: str, problem: Problem) -> None:
    model = problem.model(activation="tanh")
    x, y = problem.batch(loss)
    ours, theirs = both(model, x, y, loss, reduction="sum")
    assume(not near_kink(ours))
    assert disagreements(ours, theirs) == {}
    count = problem.n * (1 if LOSSES[loss].per_sample else problem.sizes[-1])
    mean = model.trace(x, y, loss)
    np.testing.assert_allclose(ours["dloss"], count * mean["dloss"], rtol=1e-15)
    assert math.isclose(ours.loss, count * mean.loss, rel_tol=1e-15)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("activation", ["tanh", "prelu", "gelu"])
@settings(max_examples=3)
@given(problem=problems())
def test_dropout_with_equal_masks(activation: str, normalization: str, problem: Problem) -> None:
    model = problem.model(activation=activation, normalization=normalization, dropout=0.3)
    x, y = problem.batch("mse")
    masks = model.draw_masks(problem.n)
    ours, theirs = both(model, x, y, "mse", masks=masks)
    assume(not near_kink(ours))
    assert disagreements(ours, theirs) == {}
    for name, mask in masks.items():
        assert np.array_equal(theirs[name], mask)
        assert not ours["da" + name[4:]][mask == 0].any()


def test_masks_that_torch_drew_serve_the_manual_side() -> None:
    model = FIXED.model(activation="tanh", dropout=0.5)
    x, y = FIXED.batch("mse")
    theirs = trace(to_torch(model), x, y, "mse")
    masks = {name: theirs[name] for name in ("mask1", "mask2")}
    assert set(np.unique(masks["mask1"])) == {0.0, 2.0}
    assert disagreements(model.trace(x, y, "mse", masks=masks), theirs) == {}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@settings(max_examples=3)
@given(problem=problems())
def test_evaluation_takes_running_statistics_and_no_dropout(
    normalization: str, loss: str, problem: Problem
) -> None:
    model = problem.model(activation="silu", normalization=normalization, dropout=0.3)
    model.training = False
    ours, theirs = both(model, *problem.batch(loss), loss)
    assert disagreements(ours, theirs) == {}
    assert "h1" not in ours
    assert ("mean1" in ours) == (normalization == "batch_norm")


@settings(max_examples=5)
@given(problem=problems())
def test_cross_entropy_takes_rows_of_probabilities(problem: Problem) -> None:
    for dtype in DTYPES.values():
        model = problem.model(dtype, activation="tanh")
        ours, theirs = both(model, *problem.batch("cross_entropy", dtype, True), "cross_entropy")
        assert disagreements(ours, theirs) == {}


def test_a_bias_before_batch_norm_has_a_gradient_of_rounding_only() -> None:
    model = FIXED.model(activation="tanh", normalization="batch_norm")
    ours, theirs = both(model, *FIXED.batch("mse"), "mse")
    terms = np.linalg.norm(np.abs(ours["dz1"]).sum(axis=0))
    assert np.linalg.norm(ours["db1"]) < 1e-14 * terms
    assert np.linalg.norm(theirs["db1"]) < 1e-14 * terms
    assert disagreements(ours, theirs) == {}
