"""The factor that all arrays share, and arrays that are shorter than they should be."""

from collections.abc import Mapping

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Evidence


def cut_short(c: Evidence, true: Mapping[Part, Array]) -> tuple[str, ...]:
    """The arrays that are shorter than the true ones in the same direction, if all others are right."""
    cut = []
    for part, t in true.items():
        h = c.h[part]
        value = None if h is None else c.ratio(h, t, part)
        if h is None or value is None or not 0 < value < 1 + 1e-8:
            return ()
        if value < 1 - 1e-8:
            cut.append(part.name)
    return tuple(dict.fromkeys(cut))


def common(c: Evidence, true: Mapping[Part, Array]) -> float | None:
    """The factor that all arrays share, if they do."""
    values: list[float] = []
    for part, t in true.items():
        h = c.h[part]
        if h is None:
            return None
        value = c.ratio(h, t)
        if value is None:
            if not (c.same(h, t, part) and float(np.linalg.norm(t)) <= 10 * c.floor[part]):
                return None
            continue
        values.append(value)
    if not values or max(abs(v - values[0]) for v in values) > 8 * c.rtol * abs(values[0]):
        return None
    return values[0]
