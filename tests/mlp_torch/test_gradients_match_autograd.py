"""Every stage of the hand-written chain rule is what autograd computes, for every row of every table."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings

import manual
from manual import ACTIVATIONS, LOSSES, MLP, catalogue, layers
from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from manual.structure.trace import Trace
from mlp_torch.model import ACTIVATIONS as TORCH_ACTIVATIONS
from mlp_torch.model import LOSSES as TORCH_LOSSES
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.problems import (
    DTYPES,
    FLAT_SOMEWHERE,
    Problem,
    disagreements,
    faulty,
    near_kink,
    problems,
    share_of_gradients,
)

PIECEWISE_LOSSES = {"l1", "hinge", "multi_margin"}
FIXED = Problem(7, (5, 13, 11, 3), seed=1)


def both(model: MLP, x: Array, y: Array, loss: str, **options: Any) -> tuple[Trace, Trace]:
    """The two traces of the same network, weights, mode, batch and masks."""
    theirs = trace(to_torch(model), x, y, loss, **options)
    masks = options.pop("masks", {})
    return model.trace(x, y, loss, masks=masks, **options), theirs


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


# ---- kinks: where f′ jumps, the derivative is torch's ----------------------------------------------


def torch_derivative(name: str, z: Array, da: Array) -> Array:
    tensor = torch.from_numpy(z.copy()).requires_grad_()
    TORCH_ACTIVATIONS[name]().to(tensor.dtype)(tensor).backward(torch.from_numpy(da))
    assert tensor.grad is not None
    return tensor.grad.numpy()


def manual_derivative(name: str, z: Array, da: Array) -> Array:
    row = manual.ACTIVATIONS[name]
    slope = [] if row.slope is None else [np.array([row.slope], z.dtype)]
    return row.backward(da, z, row.forward(z, *slope), *slope)


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


# ---- far out: ±1000, NaN ---------------------------------------------------------------------------


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


# ---- each check fails on a planted fault -----------------------------------------------------------


def first_wrong(loss: str, training: bool = True, **rows: Any) -> str | None:
    model = FIXED.model(**rows)
    model.training = training
    masks = model.draw_masks(FIXED.n)
    return next(iter(disagreements(*both(model, *FIXED.batch(loss), loss, masks=masks))), None)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_derivative_off_by_a_billionth_is_seen_at_its_stage(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "silu" if name == "tanh" else "tanh"
    hidden = {"activation": name, "output_activation": other}
    output = {"activation": other, "output_activation": name}
    assert first_wrong("mse", **hidden) is first_wrong("mse", **output) is None
    monkeypatch.setitem(ACTIVATIONS, name, faulty(ACTIVATIONS, name))
    assert first_wrong("mse", **hidden) == "dz2"
    assert first_wrong("mse", **output) == "dz3"


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_gradient_off_by_a_billionth_is_seen_at_its_stage(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_wrong(name) is None
    monkeypatch.setitem(LOSSES, name, faulty(LOSSES, name))
    assert first_wrong(name) == "dloss"


def without_mean_path(dx: Array, z: Array, axis: int) -> Array:
    x, deviation = catalogue.layers.standardize(z, axis)
    return (dx - x * ((dx * x).sum(axis=axis, keepdims=True) / z.shape[axis])) / deviation


def without_deviation_path(dx: Array, z: Array, axis: int) -> Array:
    _, deviation = catalogue.layers.standardize(z, axis)
    return (dx - dx.sum(axis=axis, keepdims=True) / z.shape[axis]) / deviation


@pytest.mark.parametrize("fault", [without_mean_path, without_deviation_path])
@pytest.mark.parametrize("normalization", ["batch_norm", "layer_norm"])
def test_a_lost_path_of_a_normalization_is_seen(
    normalization: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_wrong("mse", activation="tanh", normalization=normalization) is None
    monkeypatch.setattr(catalogue.layers, "standardize_backward", fault)
    assert first_wrong("mse", activation="tanh", normalization=normalization) == "dz2"


LAYER_FAULTS = {
    "the bias's mean for its sum": (layers.Linear, "backward_bias", lambda dz: dz.mean(axis=0), "db3"),
    "a weight's gradient over N": (layers.Linear, "backward_weight", lambda dz, a: dz.T @ a / len(a), "dW3"),
    "the dropout's lost mask": (layers.Dropout, "backward", lambda dh, mask: dh, "da2"),
    "the dropout's lost scale": (layers.Dropout, "backward", lambda dh, mask: dh * (mask > 0), "da2"),
    "γ without x̂": (catalogue.layers.LayerNorm, "backward_weight", lambda dn, z: dn.sum(axis=0), "dgamma2"),
}


@pytest.mark.parametrize("fault", LAYER_FAULTS)
def test_a_fault_of_a_layer_is_seen_at_its_stage(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, method, wrong, stage = LAYER_FAULTS[fault]
    rows = {"activation": "tanh", "dropout": 0.3, "normalization": "layer_norm"}
    assert first_wrong("mse", **rows) is None
    monkeypatch.setattr(layer, method, staticmethod(wrong))
    assert first_wrong("mse", **rows) == stage


def test_a_fault_of_batch_norms_evaluation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"activation": "tanh", "normalization": "batch_norm"}
    assert first_wrong("mse", training=False, **rows) is None
    monkeypatch.setattr(
        catalogue.layers.BatchNormEvaluation,
        "backward_input",
        staticmethod(lambda dn, weight, variance: dn * weight),
    )
    assert first_wrong("mse", training=False, **rows) == "dz2"


def test_a_kink_on_the_wrong_side_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    z = np.zeros((2, 3))
    wrong = faulty(ACTIVATIONS, "relu")
    monkeypatch.setitem(
        ACTIVATIONS, "relu", type(wrong)(**{**vars(wrong), "derivative": lambda z, a: (z >= 0) * 1.0})
    )
    assert not np.array_equal(
        manual_derivative("relu", z, np.ones_like(z)), torch_derivative("relu", z, np.ones_like(z))
    )


def test_shapes_and_dtypes_are_compared_before_values() -> None:
    ours, theirs = both(FIXED.model(), *FIXED.batch("mse"), "mse")
    theirs.values["db1"] = theirs["db1"][None, :]
    theirs.values["dW1"] = theirs["dW1"].astype(np.float32)
    found = disagreements(ours, theirs)
    assert list(found) == ["dW1", "db1"]
    assert found["db1"].startswith("shape")
    assert found["dW1"].startswith("dtype")
