"""The author's arrays in canonical form, and canonical arrays in the author's shapes."""

import itertools
from collections.abc import Mapping

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network, Part


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
