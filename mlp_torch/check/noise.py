"""How far right gradients may lie apart: rounding in float64, measured by one-ULP nudges in float32."""

from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.forward import Linear, Part, Problem

EXACT = 1e-9


def tolerance(p: Problem, single: bool) -> tuple[float, dict[Part, float]]:
    """(relative, absolute floor of each part). float32: the spread when every number moves by one ULP."""
    u = float(np.finfo(np.float32 if single else np.float64).eps)
    with np.errstate(all="ignore"):
        scales = {part: float(np.linalg.norm(np.nan_to_num(s, posinf=0))) for part, s in p.scales().items()}
    width = max([p.samples, *(layer.W.shape[0] for layer in p.layers)])
    floor = {part: 8 * u * np.sqrt(width) * scale for part, scale in scales.items()}
    if not single:
        return EXACT, floor
    true = p.true()
    rtol = 1e-5
    generator = np.random.default_rng(0)
    for _ in range(4):
        for part, value in _nudged(p, u, generator).true().items():
            gap = float(np.linalg.norm(value - true[part]))
            floor[part] = max(floor[part], 16 * gap)
    return rtol, floor


def _nudged(p: Problem, u: float, generator: np.random.Generator) -> Problem:
    def nudge(array: Array) -> Array:
        return array * (1 + u * generator.uniform(-1, 1, array.shape))

    layers: list[Linear] = [
        replace(layer, W=nudge(layer.W), b=None if layer.b is None else nudge(layer.b)) for layer in p.layers
    ]
    return replace(p, layers=layers, x=nudge(p.x), z=[], f=[], a=[])
