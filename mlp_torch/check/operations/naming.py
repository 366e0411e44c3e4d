"""What a single operation shows of its fault."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations.tensors import differentiable, gradients_of, leaves_of, outputs_of, to_numpy
from mlp_torch.check.report import Fault


def named(
    call: Any, reference: Any, inputs: Sequence[Any], device: str, out: list[Tensor], up: list[Tensor],
    own: dict[str, Array], true: dict[str, Array], allowed: dict[str, float],
) -> list[Fault]:  # fmt: skip
    """What a single operation can show: upstream left out, f′ missing or elsewhere, normalisation."""
    wrong = (
        [n for n in own if not np.linalg.norm(own[n] - true[n]) <= allowed[n]]
        if all(own[n].shape == true[n].shape for n in own)
        else []
    )
    if not wrong:
        return []
    leaves = leaves_of(inputs, torch.float64, device)
    double = gradients_of(outputs_of(call(*leaves)), leaves, [2 * g for g in up], torch.float64)
    names = list(own)
    found = []
    floats = [v for v in inputs if differentiable(v)]
    o, g = to_numpy(out[0]), to_numpy(up[0])
    for name in wrong:
        i, h, t = names.index(name), own[name], true[name]

        def is_it(value: Array, h: Array = h) -> bool:
            return value.shape == h.shape and bool(np.linalg.norm(h - value) <= 1e-9 * np.linalg.norm(h))

        x = to_numpy(floats[i])
        kind, text = "", ""
        if not h.any():
            kind, text = "zero_gradient", "is all zero"
        elif is_it(to_numpy(double[i])):
            kind, text = "not_multiplied_by_upstream", "stays the same when the upstream gradient is doubled"
        elif o.shape == h.shape:
            kind, text = _elementwise(reference, inputs, i, x, o, g, h, t, device, is_it)
        if kind:
            relative = float(np.linalg.norm(h - t)) / max(float(np.linalg.norm(t)), 1e-300)
            evidence = f"‖yours − true‖ / ‖true‖ = {relative:.3g}"
            found.append(Fault(kind, None, (name,), text, evidence))
    return found if len(found) == len(wrong) else []


def _elementwise(
    reference: Any, inputs: Sequence[Any], i: int, x: Array, o: Array, g: Array, h: Array, t: Array,
    device: str, is_it: Callable[[Array], bool],
) -> tuple[str, str]:  # fmt: skip
    """(kind, detail) for an operation whose output has the input's shape."""
    if is_it(g):
        return (
            "missing_activation_derivative",
            "is the upstream gradient itself: the derivative is 1 everywhere",
        )
    softmax = o.ndim > 0 and np.allclose(o.sum(axis=-1), 1) and bool((o >= 0).all())
    if softmax and (is_it(g * o * (1 - o)) or is_it(g * o)):
        return "wrong_softmax_jacobian", "has the diagonal of softmax's Jacobian only"
    for axis in range(x.ndim):
        flat = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
        rest = np.moveaxis(h - t, axis, 0).reshape(flat.shape)
        sums = np.abs(np.moveaxis(t, axis, 0).reshape(flat.shape).sum(axis=0)).max()
        if len(flat) > 2 and sums <= 1e-9 * np.abs(t).sum() and not softmax:
            hat = (flat - flat.mean(axis=0)) / (flat.std(axis=0) + 1e-300)
            left = rest - rest.mean(axis=0) - hat * (rest * hat).mean(axis=0)
            if np.linalg.norm(left) <= 1e-8 * np.linalg.norm(rest):
                path = (
                    "mean"
                    if np.linalg.norm(rest - rest.mean(axis=0)) <= 1e-8 * np.linalg.norm(rest)
                    else "variance"
                )
                if path == "variance" and (words := _divided(flat, hat, g, t, rest, axis)):
                    return "wrong_normalization_backward", words
                return (
                    "wrong_normalization_backward",
                    f"lacks the path through the {path}: the rest lies in span{{1, x̂}}",
                )
    if is_it(g * o):
        return "wrong_activation_derivative", "has f itself in place of its derivative"
    moved = list(leaves_of(inputs, torch.float64, device))
    place = [k for k, v in enumerate(moved) if differentiable(v)][i]
    moved[place] = torch.tensor(o, device=device, requires_grad=True)
    try:
        at = torch.autograd.grad(outputs_of(reference(*moved))[0].sum(), moved[place])[0]
        if is_it(g * to_numpy(at)):
            return "activation_derivative_at_wrong_array", "has the derivative at f(z), where z belongs"
    except RuntimeError:
        pass
    with np.errstate(all="ignore"):
        ratio, spare = h / g, t / g
    for value in (spare**2, 1 - spare):
        if is_it(g * value):
            return "wrong_activation_derivative", "has a wrong formula for the derivative"
    order = np.argsort(x.ravel())
    if x.size > 3 and np.isfinite(ratio).all():
        constants = np.unique(np.round(ratio.ravel()[order], 9))
        if len(constants) <= 3:
            return (
                "wrong_activation_derivative",
                f"has the derivative {', '.join(f'{c:g}' for c in constants)} only",
            )
    return "", ""


def _divided(flat: Array, hat: Array, g: Array, t: Array, rest: Array, axis: int) -> str:
    """Where the path through the variance is there and divided by N − 1 in place of N, or the reverse."""
    n = len(flat)
    up, true = (np.moveaxis(v, axis, 0).reshape(flat.shape) for v in (g, t))
    along = (up * hat).mean(axis=0)
    across = up - up.mean(axis=0) - hat * along
    with np.errstate(all="ignore"):
        size = (true * across).sum(axis=0) / (across**2).sum(axis=0)
        factors = 1 - (rest * hat).mean(axis=0) / (size * along)
    factors = factors[np.isfinite(factors)]
    for factor, wrong, right in ((n / (n - 1), "N − 1", "N"), ((n - 1) / n, "N", "N − 1")):
        if len(factors) and np.all(np.abs(factors - factor) < 0.02 / n):
            return f"divides by {wrong} where {right} belongs on the path through the variance (N = {n})"
    return ""
