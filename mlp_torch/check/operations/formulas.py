"""The formulas that a wrong gradient may be: f for f′, f′ elsewhere, a slip of a normalization.

A normalization, said only where the slip reproduces the author's gradient:

forward   x̂ = (x − μ) s,  s = 1/√(σ² + ε)          (root mean square: μ = 0)
backward  dx = s (d − mean(d) − x̂ mean(d x̂)),  d = g γ
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.operations.calls import RaisedError, Side
from mlp_torch.check.operations.floor import Floor
from mlp_torch.check.operations.standard import Standard, standard
from mlp_torch.check.operations.tensors import differentiable, on, to_numpy
from mlp_torch.check.report import length

Named = tuple[str, str]


@dataclass(frozen=True)
class Scene:
    """Both sides at one point, and the author's gradients there."""

    side: Side
    standard: Standard
    floor: Floor
    values: list[Any]
    hand: dict[str, Array]
    apart: Mapping[str, Array] = field(default_factory=dict)  # entries that are wrong wherever they are seen

    def fits(self, name: str, value: Array) -> bool:
        h = self.hand[name]
        if value.shape != h.shape or not np.isfinite(value).all():
            return False
        t = self.standard.true[name]
        near = max(1e-9, 16 * self.floor.unit) * length(h) + self.floor.allowed(name, t)
        # nearer than the truth, which lies within the same few units where the slip is small
        if t.shape == h.shape and length(h - value) > 0.5 * length(h - t):
            return False
        if self.floor.off(name, h, value).any():
            return False
        # what is 0, or as small as the floor, would be anything
        return length(h) > 4 * near and length(h - value) <= near

    def hand_at(self, values: Sequence[Any], factor: float = 1.0) -> dict[str, Array]:
        graph = self.side.forward(values, self.standard.wanted)
        up = [
            None if u is None or not differentiable(o) else (u * factor).to(o.dtype)
            for u, o in zip(self.standard.up, graph.out, strict=True)
        ]
        return self.side.gradients(graph, up)


def elementwise(scene: Scene, name: str) -> Named | None:
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
        return (
            "missing_activation_derivative",
            "is the upstream gradient itself: the derivative is 1 everywhere",
        )
    softmax = o.ndim > 0 and np.allclose(o.sum(axis=-1), 1) and bool((o >= 0).all())
    if softmax and (fits(g * o * (1 - o)) or fits(g * o)):
        return "wrong_softmax_jacobian", "has the diagonal of softmax's Jacobian only"
    weights = _weights(scene, place, x)
    constants = [v for v in scene.side.arguments.leaves if isinstance(v, float) and 0 < v < 0.1]
    if said := normalization_words(x, g, t, weights, fits, constants, scene.floor.unit <= 1e-5):
        return "wrong_normalization_backward", said
    if fits(g * o):
        return "wrong_activation_derivative", "has f itself in place of its derivative"
    values = list(scene.standard.values)
    values[place] = on(graph.out[0].detach(), None, str(graph.out[0].device))
    try:
        at = standard(scene.standard.side, values, scene.standard.wanted, scene.standard.inexact)
        if fits(at.true[name]):
            return "activation_derivative_at_wrong_array", "has the derivative at f(z), where z belongs"
    except RaisedError:
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
        return (
            "wrong_activation_derivative",
            f"has the derivative {', '.join(f'{c:g}' for c in constants_seen)} only",
        )
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


EPSILONS = (1e-5, 0.0, 1e-6, 1e-8, 1e-12, 1e-3, 1e-7)
Axes = tuple[int, ...]


def normalization_words(
    x: Array, g: Array, t: Array, weights: Sequence[tuple[str, Array]], is_it: Callable[[Array], bool],
    constants: Sequence[float] = (), counts: bool = True,
) -> str:  # fmt: skip
    """The sentence, "" where x's true gradient t is no normalisation's or the author's is none of these.

    `counts`: N and N − 1 can be told apart, in no dtype of 16 bits.
    """
    if x.shape != g.shape or x.shape != t.shape or not x.ndim or x.size > 1 << 18:
        return ""
    for axes in _axes(x.ndim):
        n = int(np.prod([x.shape[a] for a in axes]))
        if n < 2:
            continue
        for centred in (True, False):
            away = x - x.mean(axis=axes, keepdims=True) if centred else x
            square = (away**2).mean(axis=axes, keepdims=True)
            for eps in dict.fromkeys((*constants, *EPSILONS)):
                with np.errstate(all="ignore"):
                    s = 1 / np.sqrt(square + eps)
                hat = away * s
                for name, weight in [("", np.ones(1)), *weights]:
                    d = g * weight

                    def dx(d: Array, mean: Array, along: Array, s: Array = s, hat: Array = hat) -> Array:
                        return s * (d - mean - hat * along)

                    mean = d.mean(axis=axes, keepdims=True) * centred
                    along = (d * hat).mean(axis=axes, keepdims=True)
                    if not _near(dx(d, mean, along), t):
                        continue
                    for text, value in _slips(d, g, mean, along, hat, n, axes, name, centred, dx):
                        if (counts or not text.startswith("divides")) and is_it(value):
                            return text
                    return ""
    return ""


def _near(a: Array, b: Array) -> bool:
    return bool(np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(b))


def _axes(ndim: int) -> list[Axes]:
    """The last k, all but the channels, the first, each alone."""
    last = [tuple(range(k, ndim)) for k in range(ndim - 1, 0, -1)]
    channels = [tuple(a for a in range(ndim) if a != 1)] if ndim > 2 else []
    single = [(a,) for a in range(ndim)]
    return list(dict.fromkeys([*last, *channels, *single, tuple(range(ndim))]))


def _slips(
    d: Array, g: Array, mean: Array, along: Array, hat: Array, n: int, axes: Axes, name: str, centred: bool,
    dx: Callable[..., Array],
) -> Iterator[tuple[str, Array]]:  # fmt: skip
    none = np.zeros_like(mean)
    if centred:
        yield "lacks the path through the mean", dx(d, none, along)
    path = "variance" if centred else "mean square"
    yield f"lacks the path through the {path}", dx(d, mean, none)
    if centred:
        yield "lacks the paths through the mean and the variance", dx(d, none, none)
    for factor, wrong, right in ((n / (n - 1), "N − 1", "N"), ((n - 1) / n, "N", "N − 1")):
        text = f"divides by {wrong} where {right} belongs on the path through the {path} (N = {n})"
        yield text, dx(d, mean, along * factor)
    if name:
        for part, value in (
            ("", dx(g, g.mean(axis=axes, keepdims=True) * centred, (g * hat).mean(axis=axes, keepdims=True))),
            (" on the path through the mean", dx(d, g.mean(axis=axes, keepdims=True) * centred, along)),
            (f" on the path through the {path}", dx(d, mean, (g * hat).mean(axis=axes, keepdims=True))),
        ):
            yield f"leaves out {name}{part}", value
    for other in _axes(d.ndim):
        if other == axes:
            continue
        means = d.mean(axis=other, keepdims=True) * centred, (d * hat).mean(axis=other, keepdims=True)
        over = f"over {_named(other)} where {_named(axes)} belongs"
        yield f"takes both means {over}", dx(d, *means)
        if centred:
            yield f"takes the mean of the upstream {over}", dx(d, means[0], along)
        yield f"takes the mean along x̂ {over}", dx(d, mean, means[1])


def _named(axes: Axes) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
