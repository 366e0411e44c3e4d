"""How far a right gradient may lie from the true one: the spread of the author's own under one-ULP nudges."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.calling import fresh, gradients_of, nested, result_of, seed


def floors(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array],
    hand: Mapping[str, Array], true: Mapping[str, Array], accuracy: float, steady: bool,
) -> dict[str, float]:  # fmt: skip
    """‖h − t‖ that rounding explains: the spread of the author's own gradient under one-ULP nudges."""
    floats = [v.dtype for v in (*values.values(), *hand.values()) if v.dtype.kind == "f"]
    u = max((float(np.finfo(dtype).eps) for dtype in floats), default=2.0**-52)
    spread = dict.fromkeys(hand, 0.0)
    generator = np.random.default_rng(0)
    for _ in range(4 if steady else 0):
        moved = {
            n: _nudged(v, np.where(generator.random(v.shape) < 0.5, -1, 1), u) if v.dtype.kind == "f" else v
            for n, v in values.items()
        }
        parameters, *data = fresh(kept)
        seed()
        other = gradients_of(names, result_of(call(nested(parameters, moved), *data))[1], values)
        for n, h in hand.items():
            if other[n].shape == h.shape:
                spread[n] = max(spread[n], float(np.linalg.norm(other[n].astype(float) - h)))
    base = max(1e-9, 8 * u)
    return {
        n: 16 * spread[n] + max(base, 10 * accuracy) * float(np.linalg.norm(true[n])) + 1e-15 for n in true
    }


def _nudged(v: Array, ways: Array, u: float) -> Array:
    """Every entry one unit in the last place on: of its own dtype, or of the coarser one of `u`."""
    if u > np.finfo(v.dtype).eps:
        return v * (1 + u * ways)
    return np.nextafter(v, (ways * np.inf).astype(v.dtype))
