"""An operation whose output has the input's shape: f for f′, f′ elsewhere, a slip of a normalisation."""

import numpy as np

from manual.numbers import Array
from mlp_torch.check.operations import normalization
from mlp_torch.check.operations.calls import RaisedError
from mlp_torch.check.operations.scene import Named, Scene
from mlp_torch.check.operations.standard import standard
from mlp_torch.check.operations.tensors import differentiable, on, to_numpy


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
    if said := normalization.words(x, g, t, weights, fits, constants, scene.floor.unit <= 1e-5):
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
