"""One network and one batch through both engines: their traces, and their derivatives of one activation."""

from typing import Any

import numpy as np
import torch

import manual
from manual import MLP
from manual.numbers import Array
from manual.structure.trace import Trace
from mlp_torch.model import ACTIVATIONS as TORCH_ACTIVATIONS
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.problems import Problem

FIXED = Problem(7, (5, 13, 11, 3), seed=1)


def both(model: MLP, x: Array, y: Array, loss: str, **options: Any) -> tuple[Trace, Trace]:
    """The two traces of the same network, weights, mode, batch and masks."""
    theirs = trace(to_torch(model), x, y, loss, **options)
    masks = options.pop("masks", {})
    return model.trace(x, y, loss, masks=masks, **options), theirs


def torch_derivative(name: str, z: Array, da: Array) -> Array:
    tensor = torch.from_numpy(z.copy()).requires_grad_()
    TORCH_ACTIVATIONS[name]().to(tensor.dtype)(tensor).backward(torch.from_numpy(da))
    assert tensor.grad is not None
    return tensor.grad.numpy()


def manual_derivative(name: str, z: Array, da: Array) -> Array:
    row = manual.ACTIVATIONS[name]
    slope = [] if row.slope is None else [np.array([row.slope], z.dtype)]
    return row.backward(da, z, row.forward(z, *slope), *slope)
