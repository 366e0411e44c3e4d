"""How far right gradients may lie apart: what rounding costs, derived and measured, and no more than a share.

`by_entry` is the same of single entries. Here, norm-wise over an array: sums (γ_n with n the longest of them,
as random signs leave it: √n ε), what one ε leaves of f and f′ as people write them, what underflows, and the
spread of the whole pass when every number moves by one ε, the sides of all kinks held. `MOST` of an array's
own scale is the most that is excused.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS, LOST, LOST_VALUE
from mlp_torch.check.describe.entries import Entries, entries, flushed
from mlp_torch.check.describe.forward import Affine, Network, Part
from mlp_torch.check.describe.layers import Brain
from mlp_torch.check.describe.losses import DIFFERENCES, STEPS, fused

EXACT = 1e-9  # float64: an ε = 1e-12 inside a log costs less
MOST = 1e-3  # float64 and float32; of coarser numbers 8 ε, 0.8 % of float16 and 6 % of bfloat16
SINGLE, DOUBLE = (float(np.finfo(kind).eps) for kind in (np.float32, np.float64))
HALF, BRAIN = 2.0**-10, 2.0**-7
UNITS = {"float32": SINGLE, "float16": HALF, "bfloat16": BRAIN}
NAMES = {SINGLE: "float32", HALF: "float16", BRAIN: "bfloat16", DOUBLE: "float64"}


@dataclass(frozen=True)
class Floors:
    """`full`: what rounding may cost each part (absolute, norm-wise); `capped`: as much of it as is excused.

    `most`: what is excused at most, `share` of each array's own norm; ∞ where it is 0 up to rounding.
    """

    rtol: float
    capped: Mapping[Part, float]
    full: Mapping[Part, float]
    most: Mapping[Part, float]
    share: float


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


def relative(unit: float) -> float:
    """The relative tolerance of arrays that were computed with this ε."""
    if unit <= DOUBLE:
        return EXACT
    return 1e-5 if unit <= SINGLE else 2 * unit  # measured: at most 0.7 ε of a network's array


def tolerance(p: Network, single: bool = False) -> tuple[float, dict[Part, float]]:
    """(relative tolerance, absolute floor of each part). `single`: float32 where the network says nothing."""
    found = floors(p, single)
    return found.rtol, dict(found.capped)


def floors(p: Network, single: bool = False) -> Floors:
    """What rounding allows of each part."""
    u = max(p.unit, SINGLE if single else DOUBLE)
    if u not in p.kept:
        p.kept[u] = _floors(p, u)
    found: Floors = p.kept[u]
    return found


def by_entry(p: Network, single: bool = False) -> Entries:
    """What rounding allows of each entry, and the magnitudes of its terms."""
    u = max(p.unit, SINGLE if single else DOUBLE)
    if -u not in p.kept:
        p.kept[-u] = entries(p, u)
    found: Entries = p.kept[-u]
    return found


def _floors(p: Network, u: float) -> Floors:
    with np.errstate(all="ignore"):
        true, sums = p.true(), {part: _size(value) for part, value in p.scales().items()}
        scale = {part: _size(value) for part, value in true.items()}
        share = max(MOST, 8 * u)
        if u <= SINGLE:
            width = max([p.samples, *(layer.W.shape[0] for layer in p.layers)])
            floor = {part: 8 * u * np.sqrt(width) * size for part, size in sums.items()}
            zero = {part for part, size in scale.items() if size <= floor[part]}
            for part, size in _cancelled(p, u).items():
                floor[part] += 4 * u * size
        else:
            # halves are summed in float32; each term's own rounding has a random sign
            floor = {part: 4 * u * size for part, size in _terms(p).items()}
            zero = {part for part, size in sums.items() if size == 0}
        generator = np.random.default_rng(0)
        for _ in range(2 if u <= DOUBLE else 4):
            for part, value in _nudged(p, u, generator).true().items():
                floor[part] = max(floor[part], (16 if u <= SINGLE else 4) * _size(value - true[part]))
    # an array that is 0 in truth, or up to its sums' rounding, has no scale, and no factor of it is wrong
    most = {part: np.inf if part in zero else share * size for part, size in scale.items()}
    lost = _vanished(p, u) if u <= SINGLE else {}
    full = {part: value + lost.get(part, 0.0) for part, value in floor.items()}
    # an array of which that leaves nothing is hidden; who keeps its digits is held to the rest
    capped = {
        part: min(full[part] if full[part] <= most[part] else floor[part], most[part]) for part in floor
    }
    return Floors(relative(u), capped, full, most, share)


def _size(value: Array) -> float:
    return float(np.linalg.norm(np.nan_to_num(value, posinf=0, neginf=0)))


def _terms(p: Network) -> dict[Part, float]:
    """√Σ (a dz)² of each part, norm-wise: what independent roundings of the terms add up to."""
    dz = p.deltas()
    found = {}
    for layer in p.layers:
        n = layer.index
        above = None if n == len(p.layers) else dz[n + 1]
        for part in layer.parts:
            da = p.upstream(n, above) ** 2 if part.role == "slope" else None
            found[part] = _size(np.abs(p.leaf(part, dz[n] ** 2, da, p.a[n - 1] ** 2)) ** 0.5)
    return found


def _cancelled(p: Network, u: float) -> dict[Part, float]:
    """‖Σ |a|ᵀ e‖ of each part, e being the ε of dz that are lost where f′ or the softmax cancels."""
    L, dz = len(p.layers), p.deltas(absolute=True)
    lost = DIFFERENCES[p.loss](p.output, p.y) if p.loss in DIFFERENCES else np.zeros_like(p.output)
    e, found = np.abs(p.down(L, np.abs(p.weight) * lost)) / 4, {}
    for layer in reversed(p.layers):
        n = layer.index
        da = np.abs(p.loss_gradient() if n == L else dz[n + 1] @ np.abs(p.layers[n].W).T)
        da = np.nan_to_num(da * np.abs(layer.factor), posinf=0.0)
        if n < L:
            e = np.abs(p.down(n, e @ np.abs(p.layers[n].W).T))
        own = np.zeros_like(da)
        if layer.activation == "softmax":
            own = p.f[n] * (da + (da * p.f[n]).sum(axis=1, keepdims=True))
        elif layer.activation in LOST:
            own = da * LOST[layer.activation](p.z[n], p.f[n], layer.constants)
        top = n == L and layer.mask is None
        if top and fused(p.loss, layer.activation, p.output, p.y, p.z[n]) is not None:
            # p − y, or its quotient by p(1 − p) taken back: who mixes spellings of p loses up to 1e-5
            own = np.fmin(own, 1e-5 / (4 * u) * dz[n]) + p.weight * (np.abs(p.output) + np.abs(p.y))
        e = e + own
        for part in layer.parts:
            if part.role != "slope":
                value = p.leaf(part, e, None, np.abs(p.a[n - 1]))
                found[part] = float(np.linalg.norm(np.nan_to_num(value, posinf=0.0)))
    return found


def _vanished(p: Network, u: float) -> dict[Part, float]:
    """What of each part is gone, down to exactly 0, where numbers underflow and where f cancels."""
    with np.errstate(all="ignore"):
        found = {part: _size(value) for part, value in flushed(p, u).items()}
        dz = p.deltas(absolute=True)
        for layer, above in itertools.pairwise(p.layers):
            if layer.activation not in LOST_VALUE:
                continue
            a = LOST_VALUE[layer.activation](p.z[layer.index]) * np.abs(layer.factor)
            for part in above.parts:
                if part.role == "W":
                    gone = 4 * u * _size(p.leaf(part, dz[above.index], None, a))
                    found[part] = found.get(part, 0.0) + gone
    return found


def _nudged(p: Network, u: float, generator: np.random.Generator) -> Network:
    """The network with every number moved by up to one ε, all units on their sides of a kink."""

    def nudge(array: Array) -> Array:
        return array * (1 + u * generator.uniform(-1, 1, array.shape))

    layers: list[Affine] = [
        replace(layer, W=nudge(layer.W), b=None if layer.b is None else nudge(layer.b)) for layer in p.layers
    ]
    sides = dict(p.sides)
    if p.loss in STEPS:
        margin = STEPS[p.loss].margin(p.output, p.y)
        own = np.where(margin == 0, STEPS[p.loss].at, (margin > 0).astype(float))
        sides["loss"] = np.where(np.isnan(sides["loss"]), own, sides["loss"]) if "loss" in sides else own
    again: dict[str, Any] = {"layers": layers, "x": nudge(p.x), "z": [], "f": [], "a": []}
    nudged = replace(p, sides=sides, **again)
    for layer in p.layers:
        kinks, n = FORMS[layer.activation].kinks, layer.index
        flipped = [(p.z[n] > k) != (nudged.z[n] > k) for k in kinks]
        if kinks and (crossed := np.any(flipped, axis=0)).any():
            above = np.any([f & (p.z[n] > k) for f, k in zip(flipped, kinks, strict=True)], axis=0)
            known = sides.get(n, np.full(crossed.shape, np.nan))
            sides[n] = np.where(np.isnan(known) & crossed, above.astype(float), known)
            nudged = replace(p, sides=sides, **again)
    return nudged
