"""What a single operation shows of its fault; each name has reproduced the author's array before it is said."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations import normalization
from mlp_torch.check.operations.calls import Raised, Side
from mlp_torch.check.operations.floor import Floor, Standard, standard
from mlp_torch.check.operations.tensors import differentiable, norm, on, to_numpy
from mlp_torch.check.report import Fault

Named = tuple[str, str]


@dataclass(frozen=True)
class Scene:
    """Both sides at one point, and the author's gradients there."""

    side: Side
    standard: Standard
    floor: Floor
    values: list[Any]
    hand: dict[str, Array]

    def fits(self, name: str, value: Array) -> bool:
        h = self.hand[name]
        if value.shape != h.shape or not np.isfinite(value).all():
            return False
        near = max(1e-9, 16 * self.floor.unit) * norm(h) + self.floor.allowed(name, self.standard.true[name])
        # what is 0, or as small as the floor, would be anything
        return norm(h) > 4 * near and norm(h - value) <= near

    def hand_at(self, values: Sequence[Any], factor: float = 1.0) -> dict[str, Array]:
        graph = self.side.forward(values, self.standard.wanted)
        up = [
            None if u is None or not differentiable(o) else (u * factor).to(o.dtype)
            for u, o in zip(self.standard.up, graph.out, strict=True)
        ]
        return self.side.gradients(graph, up)


def named(scene: Scene, wrong: Sequence[str]) -> list[Fault]:
    """One fault a kind and detail, over all arrays that it explains; arrays that nothing explains are left out."""
    found: dict[Named, list[str]] = {}
    for name, (kind, text) in _swapped(scene, wrong):
        found.setdefault((kind, text), []).append(name)
    done = {n for names in found.values() for n in names}
    for name in wrong:
        if name in done:
            continue
        for hypothesis in HYPOTHESES:
            try:
                with np.errstate(all="ignore"):
                    said = hypothesis(scene, name)
            except Raised:
                said = None
            if said:
                found.setdefault(said, []).append(name)
                break
    return [
        Fault(kind, None, tuple(names), text, _evidence(scene, names[0])) for (kind, text), names in found.items()
    ]


def _evidence(scene: Scene, name: str) -> str:
    h, t = scene.hand[name], scene.standard.true[name]
    if h.shape != t.shape:
        return f"{name}: shape {h.shape}, true {t.shape}"
    size = norm(t)
    gap = norm(h - t)
    return f"‖yours − true‖ = {gap:.3g}, ‖true‖ = {size:.3g}" + (f", ratio {gap / size:.3g}" if size else "")


def _not_finite(scene: Scene, name: str) -> Named | None:
    h = scene.hand[name]
    bad = ~np.isfinite(h)
    if not bad.any():
        return None
    at = np.unravel_index(int(np.argmax(bad)), bad.shape) if bad.ndim else ()
    place = f" at [{', '.join(str(int(i)) for i in at)}]" if at else ""
    what = "NaN" if np.isnan(h[at]) else "infinite"
    return "not_finite", f"is {what}{place} ({int(bad.sum())} of {h.size} entries), the true one is finite"


def _zero(scene: Scene, name: str) -> Named | None:
    return ("zero_gradient", "is all zero") if not scene.hand[name].any() else None


def _factor(scene: Scene, name: str) -> Named | None:
    h, t = scene.hand[name], scene.standard.true[name]
    size = norm(t)
    if h.shape != t.shape or not size:
        return None
    ratio = float(((h / size) * (t / size)).sum())
    rest = norm(h - ratio * t)
    if not np.isfinite(ratio) or not ratio or rest > max(1e-9, 16 * scene.floor.unit) * norm(h):
        return None
    if rest > 0.1 * abs(ratio - 1) * size:
        return None
    if h.size == 1 and not _holds_elsewhere(scene, name, ratio):
        return None  # one number proves no constant
    if abs(ratio + 1) <= max(1e-6, 16 * scene.floor.unit):
        return "sign", "has the opposite sign"
    return "constant_factor", _times(scene, ratio)


def _holds_elsewhere(scene: Scene, name: str, ratio: float) -> bool:
    values = [
        v * (0.75 + 0.125 * (k % 2)) if i in scene.standard.wanted else v
        for k, (i, v) in enumerate(enumerate(scene.values))
    ]
    try:
        there = standard(scene.standard.side, values, scene.standard.wanted, scene.standard.inexact)
        h, t = scene.hand_at(values)[name], there.true[name]
    except Raised:
        return False
    return norm(h - ratio * t) <= max(1e-6, 16 * scene.floor.unit) * norm(h)


def _times(scene: Scene, ratio: float) -> str:
    """The constant in words: the sizes of inputs and outputs are the likeliest."""
    near = max(1e-6, 16 * scene.floor.unit)
    if abs(ratio - 2) <= 2 * near:
        return "is twice the true one"
    if abs(ratio - 0.5) <= near:
        return "is half the true one"
    sizes: dict[int, str] = {}
    out = [(n, tuple(o.shape)) for n, o in zip(scene.standard.graph.names, scene.standard.graph.out, strict=True)]
    given = [
        (scene.side.arguments.names[i], tuple(v.shape))
        for i, v in enumerate(scene.values) if isinstance(v, torch.Tensor)
    ]  # fmt: skip
    for owner, shape in (*given, *out):
        for axis, size in enumerate(shape):
            sizes.setdefault(size, f"the length of axis {axis} of {owner}")
        sizes.setdefault(int(np.prod(shape)), f"the entries of {owner}")
    for size, owner in sizes.items():
        if size > 2 and abs(ratio - size) <= near * size:
            return f"is the true one times {size}, {owner}"
        if size > 2 and abs(ratio * size - 1) <= near:
            return f"is the true one divided by {size}, {owner}"
    for k in (3, 4, 8, 10, 16, 100, 1000):
        if abs(ratio - k) <= near * k:
            return f"is the true one times {k}"
        if abs(ratio * k - 1) <= near:
            return f"is the true one divided by {k}"
    if abs(ratio - 1) < 1e-3:
        return f"is the true one times 1 {'+' if ratio > 1 else '−'} {abs(ratio - 1):.3g}"
    return f"is the true one times {ratio:.6g}"


def _swapped(scene: Scene, wrong: Sequence[str]) -> Iterator[tuple[str, Named]]:
    true = scene.standard.true
    for k, a in enumerate(wrong):
        for b in wrong[k + 1 :]:
            if true[a].shape == true[b].shape and scene.fits(a, true[b]) and scene.fits(b, true[a]):
                for name in (a, b):
                    yield name, ("swapped_gradients", f"come in swapped order: {a} gets {b}'s gradient, and {b} {a}'s")


def _anothers(scene: Scene, name: str) -> Named | None:
    for other, t in scene.standard.true.items():
        if other != name and scene.fits(name, t):
            return "swapped_gradients", f"is the gradient of {other}"
    return None


def _transposed(scene: Scene, name: str) -> Named | None:
    t = scene.standard.true[name]
    if t.ndim >= 2 and scene.fits(name, np.swapaxes(t, -1, -2)):
        return "transpose", "is transposed"
    return None


def _not_multiplied(scene: Scene, name: str) -> Named | None:
    if scene.fits(name, scene.hand_at(scene.values, 2.0)[name]):
        return "not_multiplied_by_upstream", "stays the same when the upstream gradient is doubled"
    return None


def _summed(scene: Scene, name: str) -> Named | None:
    t = scene.standard.true[name]
    if t.size < 2:
        return None
    if scene.fits(name, np.full_like(t, t.sum())):
        return "wrong_bias_reduction", "is the sum over all axes"
    return None


def _elementwise(scene: Scene, name: str) -> Named | None:
    """An operation whose output has the input's shape: f for f′, f′ elsewhere, none; softmax's diagonal."""
    place = scene.side.arguments.names.index(name)
    graph, up = scene.standard.graph, scene.standard.up
    x = scene.standard.values[place]
    if x.is_complex() or not graph.out or up[0] is None or graph.out[0].is_complex():
        return None
    t, o, g, x = scene.standard.true[name], to_numpy(graph.out[0]), to_numpy(up[0]), to_numpy(x)
    if o.shape != t.shape:
        return None

    def fits(value: Array) -> bool:
        return scene.fits(name, value)

    if fits(g):
        return "missing_activation_derivative", "is the upstream gradient itself: the derivative is 1 everywhere"
    softmax = o.ndim > 0 and np.allclose(o.sum(axis=-1), 1) and bool((o >= 0).all())
    if softmax and (fits(g * o * (1 - o)) or fits(g * o)):
        return "wrong_softmax_jacobian", "has the diagonal of softmax's Jacobian only"
    weights = _weights(scene, place, x)
    constants = [v for v in scene.side.arguments.leaves if isinstance(v, float) and 0 < v < 0.1]
    if said := normalization.words(x, g, t, weights, fits, constants):
        return "wrong_normalization_backward", said
    if fits(g * o):
        return "wrong_activation_derivative", "has f itself in place of its derivative"
    values = list(scene.standard.values)
    values[place] = on(graph.out[0].detach(), None, str(graph.out[0].device))
    try:
        at = standard(scene.standard.side, values, scene.standard.wanted, scene.standard.inexact)
        if fits(at.true[name]):
            return "activation_derivative_at_wrong_array", "has the derivative at f(z), where z belongs"
    except Raised:
        pass
    slope = t / g
    if not _is_elementwise(scene, name, place):
        return None
    for value in (slope**2, 1 - slope):
        if fits(g * value):
            return "wrong_activation_derivative", "has a wrong formula for the derivative"
    ratio = scene.hand[name] / g
    constants_seen = np.unique(np.round(ratio.ravel(), 9))
    if x.size > 3 and np.isfinite(ratio).all() and len(constants_seen) <= 3:
        return "wrong_activation_derivative", f"has the derivative {', '.join(f'{c:g}' for c in constants_seen)} only"
    return None


def _is_elementwise(scene: Scene, name: str, place: int) -> bool:
    """An entry of t depends on its own entry of the upstream alone."""
    up = [None if u is None else u.clone() for u in scene.standard.up]
    if up[0] is None or not up[0].numel():
        return False
    up[0].view(-1)[0] = 0
    t = scene.standard.side.gradients(scene.standard.graph, up, retain=True)[name]
    return int((t != scene.standard.true[name]).sum()) <= 1


def _weights(scene: Scene, place: int, x: Array) -> list[tuple[str, Array]]:
    """Other inputs that may scale the normalised x: along the last axes, or along the channels."""
    found = []
    for i, v in enumerate(scene.standard.values):
        if i == place or not differentiable(v) or v.is_complex() or not 0 < v.ndim <= x.ndim:
            continue
        w = to_numpy(v)
        for shape in (w.shape, (1, *w.shape, *[1] * (x.ndim - 2)) if w.ndim == 1 and x.ndim > 2 else ()):
            if shape and len(shape) <= x.ndim and all(
                a in (b, 1) for a, b in zip(shape[::-1], x.shape[::-1], strict=False)
            ):  # fmt: skip
                found.append((scene.side.arguments.names[i], w.reshape(shape)))
    return found


HYPOTHESES: tuple[Callable[[Scene, str], Named | None], ...] = (
    _not_finite, _zero, _factor, _anothers, _transposed, _not_multiplied, _elementwise, _summed,
)  # fmt: skip


def described(scene: Scene, name: str) -> str:
    """Where nothing explains an array: how many of its entries are wrong, and where."""
    h, t = scene.hand[name], scene.standard.true[name]
    if h.shape != t.shape:
        return f"{name} has shape {h.shape}, its input {t.shape}"
    bad = ~(np.abs(h - t) <= scene.floor.allowed(name, t) + 1e-9 * np.abs(t))
    if not bad.any() or bad.all() or not bad.ndim:
        return f"{name} is off by {norm(h - t) / max(norm(t), 1e-300):.3g} of its size"
    where = np.argwhere(bad)
    fixed = [
        f"axis {a} at {where[0, a]}" for a in range(bad.ndim) if (where[:, a] == where[0, a]).all() and bad.shape[a] > 1
    ]
    at = f", all with {' and '.join(fixed)}" if fixed and len(where) > 1 else ""
    first = ", ".join(str(int(i)) for i in where[0])
    return f"{name} is wrong in {len(where)} of {bad.size} entries, the first at [{first}]{at}"
