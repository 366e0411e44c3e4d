"""A planted fault of a derivative, a loss, a layer or a kink is seen, at its stage."""

from typing import Any

import numpy as np
import pytest

from manual import ACTIVATIONS, LOSSES, catalogue, layers
from manual.numbers import Array
from tests.mlp_torch.both import FIXED, both, manual_derivative, torch_derivative
from tests.problems import (
    disagreements,
    faulty,
)


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
