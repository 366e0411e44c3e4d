"""What an operation shows of its fault; each name has reproduced the author's array before it is said."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from mlp_torch.check.operations.calls import RaisedError
from mlp_torch.check.operations.formulas import Named, Scene, elementwise
from mlp_torch.check.operations.standard import standard
from mlp_torch.check.report import Fault, length


def named(scene: Scene, wrong: Sequence[str]) -> list[Fault]:
    """One fault a kind and detail, over the arrays that it explains; what nothing explains is left out."""
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
            except RaisedError:
                said = None
            if said:
                found.setdefault(said, []).append(name)
                break
    return [
        Fault(kind, None, tuple(names), text, _evidence(scene, names[0]))
        for (kind, text), names in found.items()
    ]


def _evidence(scene: Scene, name: str) -> str:
    h, t = scene.hand[name], scene.standard.true[name]
    if h.shape != t.shape:
        return f"{name}: shape {h.shape}, true {t.shape}"
    size = length(t)
    gap = length(h - t)
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
    if scene.hand[name].any():
        return None
    arguments = scene.side.arguments
    asked = any(isinstance(v, torch.Tensor) and v.requires_grad for v in arguments.leaves)
    others = any(n != name and h.any() for n, h in scene.hand.items())
    hint = "" if asked or not others else (
        " (if it is no parameter, as labels are, set requires_grad on the inputs that are)"
    )  # fmt: skip
    return "zero_gradient", f"is all zero{hint}"


def _factor(scene: Scene, name: str) -> Named | None:
    h, t = scene.hand[name], scene.standard.true[name]
    size = length(t)
    if h.shape != t.shape or not size:
        return None
    ratio = float(((h / size) * (t / size)).sum())
    rest = length(h - ratio * t)
    if not np.isfinite(ratio) or not ratio or rest > max(1e-9, 16 * scene.floor.unit) * length(h):
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
    except RaisedError:
        return False
    return length(h - ratio * t) <= max(1e-6, 16 * scene.floor.unit) * length(h)


def _times(scene: Scene, ratio: float) -> str:
    """The constant in words: the sizes of inputs and outputs are the likeliest."""
    near = max(1e-6, 16 * scene.floor.unit)
    if abs(ratio - 2) <= 2 * near:
        return "is twice the true one"
    if abs(ratio - 0.5) <= near:
        return "is half the true one"
    sizes: dict[int, str] = {}
    out = [
        (n, tuple(o.shape)) for n, o in zip(scene.standard.graph.names, scene.standard.graph.out, strict=True)
    ]
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
                    yield (
                        name,
                        (
                            "swapped_gradients",
                            f"come in swapped order: {a} gets {b}'s gradient, and {b} {a}'s",
                        ),
                    )


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


def _ignored(scene: Scene, name: str) -> Named | None:
    """A scalar's upstream left out is a factor here, and stays what it is under another upstream."""
    out = scene.standard.graph.out
    if len(out) != 1 or out[0].numel() != 1 or not scene.hand[name].any():
        return None
    doubled = scene.hand_at(scene.values, 2.0)[name]
    if doubled.shape == scene.hand[name].shape and np.array_equal(doubled, scene.hand[name]):
        return _not_multiplied(scene, name)
    return None


def _summed(scene: Scene, name: str) -> Named | None:
    t = scene.standard.true[name]
    if t.size < 2:
        return None
    if scene.fits(name, np.full_like(t, t.sum())):
        return "wrong_bias_reduction", "is the sum over all axes"
    return None


HYPOTHESES: tuple[Callable[[Scene, str], Named | None], ...] = (
    _not_finite, _zero, _ignored, _factor, _anothers, _transposed, _not_multiplied, elementwise, _summed,
)  # fmt: skip


def described(scene: Scene, name: str) -> str:
    """Where nothing explains an array: how many of its entries are wrong, and where."""
    h, t = scene.hand[name], scene.standard.true[name]
    if h.shape != t.shape:
        return f"{name} has shape {h.shape}, its input {t.shape}"
    bad = ~(np.abs(h - t) <= scene.floor.allowed(name, t) + 1e-9 * np.abs(t)) | scene.floor.off(name, h, t)
    bad = scene.apart.get(name, bad)
    if not bad.any() or bad.all() or not bad.ndim:
        return f"{name} is off by {length(h - t) / max(length(t), 1e-300):.3g} of its size"
    where = np.argwhere(bad)
    fixed = [
        f"axis {a} at {where[0, a]}"
        for a in range(bad.ndim)
        if (where[:, a] == where[0, a]).all() and bad.shape[a] > 1
    ]
    at = f", all with {' and '.join(fixed)}" if fixed and len(where) > 1 else ""
    first = ", ".join(str(int(i)) for i in where[0])
    return f"{name} is wrong in {len(where)} of {bad.size} entries, the first at [{first}]{at}"
