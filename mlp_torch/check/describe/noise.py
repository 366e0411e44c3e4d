"""How far right gradients may lie apart: rounding in float64, measured by one-ULP nudges in float32."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Affine, Network, Part

EXACT = 1e-9
MOST = 1e-6  # of an array's own scale: what cancels more is not told from a mistake


def tolerance(p: Network, single: bool) -> tuple[float, dict[Part, float]]:
    """(relative, absolute floor of each part). float32: the spread when every number moves by one ULP."""
    u = float(np.finfo(np.float32 if single else np.float64).eps)
    with np.errstate(all="ignore"):
        scales = {part: float(np.linalg.norm(np.nan_to_num(s, posinf=0))) for part, s in p.scales().items()}
    width = max([p.samples, *(layer.W.shape[0] for layer in p.layers)])
    floor = {part: 8 * u * np.sqrt(width) * scale for part, scale in scales.items()}
    for part, scale in _cancelled(p).items():
        floor[part] += min(4 * u * scale, MOST * scales[part])
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


# What one ULP of a leaves of f′ as people write it from a: 1 − a², a(1 − a), a + α lose all digits at a
# saturated neuron, and da is huge there where the loss divides by p(1 − p).
LOST: dict[str, Callable[[Array, Array, Mapping[str, Any]], Array]] = {
    "sigmoid": lambda z, a, p: a,
    "tanh": lambda z, a, p: a * a,
    "softplus": lambda z, a, p: np.exp(-a),
    "elu": lambda z, a, p: np.where(z > 0, 0.0, np.asarray(p["alpha"])),
    "selu": lambda z, a, p: np.where(z > 0, 0.0, np.asarray(p["alpha"]) * p["scale"]),
}


def _cancelled(p: Network) -> dict[Part, float]:
    """‖Σ |a|ᵀ e‖ of each part, e being the ULPs of dz that are lost where f′ or the softmax cancels."""
    with np.errstate(all="ignore"):
        L, dz = len(p.layers), p.deltas(absolute=True)
        e, found = np.zeros_like(p.output), {}
        for layer in reversed(p.layers):
            n = layer.index
            da = np.abs(p.loss_gradient() if n == L else dz[n + 1] @ np.abs(p.layers[n].W).T)
            da = np.nan_to_num(da * np.abs(layer.factor), posinf=0.0)
            if n < L:
                e = np.abs(p.down(n, e @ np.abs(p.layers[n].W).T))
            if layer.activation == "softmax":
                e = e + p.f[n] * (da + (da * p.f[n]).sum(axis=1, keepdims=True))
            elif layer.activation in LOST:
                e = e + da * LOST[layer.activation](p.z[n], p.f[n], layer.constants)
            for part in layer.parts:
                if part.role != "slope":
                    value = p.leaf(part, e, None, np.abs(p.a[n - 1]))
                    found[part] = float(np.linalg.norm(np.nan_to_num(value, posinf=0.0)))
    return found


def _nudged(p: Network, u: float, generator: np.random.Generator) -> Network:
    def nudge(array: Array) -> Array:
        return array * (1 + u * generator.uniform(-1, 1, array.shape))

    layers: list[Affine] = [
        replace(layer, W=nudge(layer.W), b=None if layer.b is None else nudge(layer.b)) for layer in p.layers
    ]
    return replace(p, layers=layers, x=nudge(p.x), z=[], f=[], a=[])
