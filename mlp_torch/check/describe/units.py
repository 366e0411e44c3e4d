"""The coarsest numbers that the author's arrays were computed with: by their dtype, or by the values held."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import Brain
from mlp_torch.check.describe.noise import BRAIN, DOUBLE, HALF, SINGLE, UNITS

NAMES = {SINGLE: "float32", HALF: "float16", BRAIN: "bfloat16", DOUBLE: "float64"}


def unit(values: Iterable[Any]) -> float:
    """The ε of the coarsest floating dtype among the arrays."""
    return max((_own(v) for v in values), default=DOUBLE)


def _own(value: Any) -> float:
    if isinstance(value, Brain):
        return BRAIN
    return UNITS.get(str(getattr(value, "dtype", "")).removeprefix("torch."), DOUBLE)


def held(arrays: Mapping[str, Array], few: int = 4) -> float:
    """float32's ε where every array in float64 holds float32 numbers that are no short fractions."""
    values = np.concatenate([v.ravel() for v in arrays.values()]) if arrays else np.zeros(0)
    with np.errstate(all="ignore"):
        as_single = values.astype(np.float32)
        short = values * 2**10 == np.round(values * 2**10)
        if not np.isfinite(values).all() or (as_single != values).any() or (~short).sum() < few:
            return DOUBLE
    return SINGLE
