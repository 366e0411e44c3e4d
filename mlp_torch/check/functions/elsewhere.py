"""The author's gradient in longer numbers, and at other parameters: what rounds, and what a call keeps."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.calling.calls import fresh, gradients_of, nested, result_of, seed
from mlp_torch.check.functions.derivative import Loss, differentiate
from mlp_torch.check.functions.floors import rounding, unit
from mlp_torch.check.report import length

LONGER = 2.0**-6  # of what float64 rounds: amply what np.longdouble leaves (2⁻¹¹ on average)


def in_long(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array]
) -> dict[str, Array]:
    """The author's gradient by name in np.longdouble, where their code keeps it; {} where it fails."""
    parameters, *data = fresh(kept)
    wide = {n: v.astype(np.longdouble) if v.dtype.kind == "f" else v for n, v in values.items()}
    data = [
        d.astype(np.longdouble) if isinstance(d, np.ndarray) and d.dtype == np.float64 else d for d in data
    ]
    seed()
    try:
        found = gradients_of(names, result_of(call(nested(parameters, wide), *data))[1], values)
    except (Exception, SystemExit):  # not all of NumPy takes longer numbers
        return {}
    return {n: g for n, g in found.items() if g.dtype == np.longdouble}


def lost(h: Array, wide: Array | None, t: Array, allowed: float) -> float:
    """‖rounding‖ of h as its own formula in longer numbers shows it, where nothing else parts h from t."""
    if wide is None or h.shape != t.shape or wide.shape != t.shape or h.dtype != np.float64:
        return 0.0
    own = length((wide - h).astype(float))
    return own if length((wide - t).astype(float)) <= allowed + LONGER * own else 0.0


def wrong_elsewhere(
    call: Callable[..., Any], loss: Loss, numeric: Loss, kept: Any, names: Mapping[str, Any],
    values: Mapping[str, Array],
) -> dict[str, tuple[Array, Array]]:  # fmt: skip
    """(h, t) by name where the gradient at moved parameters is wrong beyond doubt; {} where none is."""
    generator = np.random.default_rng(4)
    moved = {}
    for n, v in values.items():
        root = float(np.sqrt(np.mean(v.astype(float) ** 2))) or 1.0
        way = generator.choice([-1, 1], size=v.shape) * generator.uniform(0.02, 0.06, size=v.shape)
        moved[n] = (v * (1 + way) + way * root * (v == 0)).astype(v.dtype) if v.dtype.kind == "f" else v
    floats = {n: v.astype(np.float64) for n, v in moved.items()}
    try:
        with np.errstate(all="ignore"):
            parameters, *data = fresh(kept)
            seed()
            hand = gradients_of(names, result_of(call(nested(parameters, moved), *data))[1], values)
            value = float(np.real(numeric(dict(floats))))
            found = differentiate(loss, numeric, floats, value)
            true, traced = found.gradient, found.traced
            if traced is None or traced.sites or traced.run.margin < 1e-9 or not np.isfinite(value):
                return {}
            u = unit(moved, hand, found)
            spread = rounding(found, u).spread
            wide: dict[str, Array] | None = None
            wrong = {}
            for n, t in true.items():
                h = hand[n]
                if h.size != t.size or not (np.isfinite(h).all() and np.isfinite(t).all()):
                    return {}
                h = h.reshape(t.shape)
                allowed = max(1e-6, 256 * u) * length(t) + 1e3 * spread[n]
                gap = length(h.astype(float) - t)
                if gap > allowed:
                    if wide is None:
                        call(*fresh(kept))  # what a call keeps is that of the same parameters as before
                        wide = in_long(call, kept, names, moved)
                    if gap > 1e-2 * length(t) or not lost(h, wide.get(n), t, allowed):
                        wrong[n] = (h, t)
            return wrong
    except (Exception, SystemExit):  # other parameters are not everybody's
        return {}
