"""Outputs and labels as (N, K), whatever way they lie and are coded."""

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.losses import LOSSES
from mlp_torch.errors import UserError


class MisfitError(Exception):
    """No reading of the shapes fits; the text says where the nearest one breaks."""


def orient(array: Array, n: int, k: int, samples: str, name: str) -> Array:
    """An output-like array as (n, k). Raises MisfitError where its size or shape cannot be that."""
    if array.size != n * k:
        raise MisfitError(f"{name} has shape {array.shape}, which is not {n} samples of {k}")
    squeezed = array if array.ndim == 2 else array.squeeze()
    if n == 1 or k == 1 or squeezed.ndim < 2:
        if n > 1 and k > 1:
            raise MisfitError(f"{name} has shape {array.shape}; give it as a matrix ({n}, {k})")
        return array.reshape(n, k)
    if squeezed.shape == (n, k) and (n != k or samples == "rows"):
        return squeezed
    if squeezed.shape == (k, n):
        return squeezed.T
    raise MisfitError(f"{name} has shape {array.shape}, which is not {n} samples of {k}")


def target(loss: str, y: Array, n: int, k: int, samples: str) -> Array:
    """y as (n, k) in the loss's own coding: 0/1, ±1, one-hot or real. Raises MisfitError, UserError."""
    kind = LOSSES[loss].labels
    if k > 1 and y.size == n:
        index = y.reshape(-1)
        if not np.all(index == np.round(index)) or index.min() < 0 or index.max() >= k:
            raise UserError(f"y: {n} labels for {k} classes must be whole numbers from 0 to {k - 1}")
        Y = np.eye(k)[index.astype(int)]
    else:
        Y = orient(y, n, k, samples, "y")
    values = set(np.unique(Y)[:3].tolist())
    if kind == "sign" and values <= {0.0, 1.0} and values != {1.0}:
        Y = 2 * Y - 1
    signed = values <= {-1.0, 1.0} and -1.0 in values
    if signed and (kind == "binary" or loss == "multiclass_hinge"):
        Y = (Y + 1) / 2
    return np.ascontiguousarray(Y, dtype=float)
