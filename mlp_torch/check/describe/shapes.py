"""The author's arrays in canonical form, outputs and labels as (N, K), and back in the author's shapes."""

import itertools
from collections.abc import Mapping

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network, Part
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


def canonical(part: Part, value: Array, problem: Network) -> Array | None:
    """A part's share of an author's gradient in canonical form, or None where the shape does not fit."""
    layer = problem.layers[part.layer - 1]
    theta = problem.theta(part)
    if part.role in ("b", "slope") and part.fold is None:
        squeezed = value.squeeze()
        return value.reshape(-1) if value.size == theta.size and squeezed.ndim <= 1 else None
    rows = layer.W.shape[0] + (1 if part.fold else 0)
    full = (rows, layer.W.shape[1])
    shape = full if part.layout == "in,out" else full[::-1]
    if value.shape == shape:
        whole = value if part.layout == "in,out" else value.T
    elif value.size == rows * full[1] and value.ndim < 2 and 1 in full:
        whole = value.reshape(full)
    elif value.ndim > 2 and value.squeeze().shape == shape:
        whole = value.squeeze() if part.layout == "in,out" else value.squeeze().T
    else:
        return None
    if part.fold is None:
        return whole
    if part.fold == "first":
        return whole[0] if part.role == "b" else whole[1:]
    return whole[-1] if part.role == "b" else whole[:-1]


def author(parts: Mapping[Part, Array], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Canonical arrays back in the author's shapes and names, folded biases included."""
    found: dict[str, Array] = {}
    for (name, _), group in itertools.groupby(parts, key=lambda p: (p.name, p.layer)):
        members = list(group)
        first = members[0]
        if first.role == "W":
            whole = parts[first]
            if first.fold:
                bias = parts[members[1]].reshape(1, -1)
                whole = np.vstack([bias, whole] if first.fold == "first" else [whole, bias])
            value = whole if first.layout == "in,out" else whole.T
        else:
            value = parts[first]
        value = value.reshape(shapes[name])
        found[name] = found[name] + value if name in found else value
    return found
