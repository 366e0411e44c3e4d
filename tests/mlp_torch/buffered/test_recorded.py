"""torch's calls made from a record: what they leave is what the row's own functions give."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from manual.catalogue import ACTIVATIONS, LOSSES
from manual.recorded import recorded
from manual.recorded.compiled import BY_HAND
from manual.recorded.simplify import simplified
from mlp_torch.buffered import activations, losses
from mlp_torch.buffered.buffers import Buffers
from mlp_torch.buffered.recorded import OPAQUE, RecordedActivation, RecordedLoss, TorchWriter

OF_ARRAYS: list[Any] = [r for r in ACTIVATIONS.values() if r.derivative is not None and r.slope is None]
OF_LOSSES: list[Any] = [row for row in LOSSES.values() if row.name not in BY_HAND]
Z = np.random.default_rng(3).normal(0, 3, (5, 7))
DA = np.random.default_rng(4).normal(0, 1, (5, 7))


@pytest.mark.parametrize("row", OF_ARRAYS, ids=lambda row: row.name)
def test_an_activation_from_its_record_is_the_row(row: Any) -> None:
    formula = recorded(row, simplify=simplified, opaque=OPAQUE)
    assert formula is not None
    made, z, da = RecordedActivation(formula), torch.from_numpy(Z.copy()), torch.from_numpy(DA.copy())
    a = torch.empty_like(z)
    unit = activations.Unit(z, a, da, da, Buffers(torch.device("cpu"), torch.float64), "1")
    for op in [*made.forward(unit), *made.backward(unit)]:  # dz lies over da
        op()
    right = row.forward(Z)
    np.testing.assert_allclose(a.numpy(), right, 1e-13, 1e-15)
    np.testing.assert_allclose(da.numpy(), row.backward(DA, Z, right), 1e-12, 1e-14)


@pytest.mark.parametrize("row", OF_LOSSES, ids=lambda row: row.name)
def test_a_loss_from_its_record_is_the_row(row: Any) -> None:
    formula = recorded(row, simplify=simplified, opaque=OPAQUE)
    assert formula is not None
    y, loss = torch.from_numpy(np.sign(Z[::-1])), torch.zeros((), dtype=torch.float64)
    output, d = torch.from_numpy(Z.copy()), torch.zeros(Z.shape, dtype=torch.float64)
    buffers = Buffers(torch.device("cpu"), torch.float64)
    value, gradient = RecordedLoss(formula)(losses.Ends(output, y, loss, d, Z.size, buffers))
    for op in [*value, *gradient]:
        op()
    assert loss.item() == pytest.approx(row.value(Z, y.numpy()), rel=1e-13)
    np.testing.assert_allclose(d.numpy(), row.gradient(Z, y.numpy()), 1e-13, 1e-15)


def test_two_values_in_one_buffer_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(writer: TorchWriter, condition: bool) -> torch.Tensor:
        return writer.buffers(f"one {condition}", *Z.shape, dtype=torch.bool if condition else None)

    monkeypatch.setattr(TorchWriter, "new", careless)
    with pytest.raises(AssertionError):
        test_an_activation_from_its_record_is_the_row(ACTIVATIONS["mish"])


def test_a_new_row_has_a_kernel_at_once_and_what_cannot_be_recorded_has_none() -> None:
    row = replace(ACTIVATIONS["silu"], name="invented")
    assert isinstance(activations.kernel(row), activations.ActivationKernel)
    with pytest.raises(ValueError, match="the torch step has no kernel for sine"):
        activations.kernel(replace(row, name="sine", function=lambda z: np.sin(z)))
    with pytest.raises(ValueError, match="the torch step has no kernel for cubed"):
        losses.kernel(replace(LOSSES["mse"], name="cubed", terms=lambda o, y: np.cbrt(o - y)))
