"""A search on some inputs of a wide first layer, to be confirmed on all."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Evidence


def thin(c: Evidence, most: int = 64, kept: int = 40) -> Evidence | None:
    """The same search on `kept` inputs of a wide first layer, or None where it is narrow."""
    p = c.problem
    first = p.layers[0]
    part = next((q for q in first.parts if q.role == "W"), None)
    if first.W.shape[0] <= most or part is None or part not in c.h or c.h[part] is None:
        return None
    if any(q.name == part.name and q.layer > 1 for q in c.h):
        return None
    alive = np.flatnonzero(np.abs(p.x).sum(axis=0) > 0)
    index = np.sort(np.random.default_rng(0).choice(alive, min(kept, len(alive)), replace=False))
    if not len(index):
        return None
    small = copy.copy(p)
    small.layers = [replace(first, W=first.W[index]), *p.layers[1:]]
    small.x = p.x[:, index]
    small.a, small.z, small.f = [small.x, *p.a[1:]], [small.x, *p.z[1:]], [small.x, *p.f[1:]]

    def cut(arrays: Mapping[Part, Array | None]) -> dict[Part, Array | None]:
        return {q: v[index] if q == part and v is not None else v for q, v in arrays.items()}

    return replace(
        c, problem=small, h=cut(c.h), previous=cut(c.previous), constants=[], norms=[], rests={}, slopes={}
    )
