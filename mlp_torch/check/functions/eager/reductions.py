"""Sums, means, maxima and their like along axes; a maximum that is reached twice is a kink."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlp_torch.check.functions.eager.array import Traced, calculated, plain, tensor_of
from mlp_torch.check.functions.eager.run import NoValue, active


def _axes(t: Tensor, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(t.ndim))
    wanted = axis if isinstance(axis, tuple | list) else (axis,)
    return tuple(int(a) % max(t.ndim, 1) for a in wanted)


def _masked(t: Tensor, where: Any, other: float) -> Tensor:
    if where is True or isinstance(where, NoValue):
        return t
    return torch.where(torch.from_numpy(np.array(plain(where), dtype=bool)), t, other)


def _keep(keepdims: Any) -> bool:
    return bool(keepdims) and not isinstance(keepdims, NoValue)


def _given(value: Any) -> bool:
    return value is not None and not isinstance(value, NoValue)


def total(a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True) -> Traced:
    t = _masked(tensor_of(a), where, 0.0)
    axes = _axes(t, axis)
    found = t.sum(axes, keepdim=_keep(keepdims)) if axes else t + 0.0
    return calculated(found + tensor_of(initial) if _given(initial) else found)


def product(
    a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Traced:
    t = _masked(tensor_of(a), where, 1.0)
    axes = _axes(t, axis)
    keep = _keep(keepdims)
    for d in sorted(axes, reverse=True):
        t = t.prod(d, keepdim=keep)
    return calculated(t * tensor_of(initial) if _given(initial) else t + 0.0)


def _count(a: Any, axis: Any, where: Any = True) -> Any:
    t = tensor_of(a)
    if where is not True and not isinstance(where, NoValue):
        mask = np.broadcast_to(plain(where), tuple(t.shape))
        return np.sum(mask, axis=axis)
    return int(np.prod([t.shape[d] for d in _axes(t, axis)]))


def mean(a: Any, axis: Any = None, keepdims: Any = False, where: Any = True) -> Any:
    n = _count(a, axis, where)
    return total(a, axis, keepdims, where=where) / (n if np.ndim(n) == 0 or not _keep(keepdims)
                                                    else np.expand_dims(n, axis))  # fmt: skip


def var(
    a: Any, axis: Any = None, ddof: float = 0, keepdims: Any = False, correction: Any = None, **_: Any
) -> Any:
    free = correction if _given(correction) else ddof
    d = a - mean(a, axis, True)
    return total(d * d, axis, keepdims) / (_count(a, axis) - free)


def std(a: Any, *args: Any, **kwargs: Any) -> Any:
    return np.sqrt(var(a, *args, **kwargs))


def _reached(values: Any, peak: Any, axes: tuple[int, ...], operation: str, owner: Any) -> Any:
    """The share that every entry has in its maximum: the ties' equal ones, or all to the first or last."""
    with np.errstate(all="ignore"):
        exact = values == peak
        weight = exact / np.maximum(exact.sum(axis=axes, keepdims=True), 1)
    near = np.array(active().near(values, peak))
    several = near & (near.sum(axis=axes, keepdims=True) > 1)
    if several.any():
        side = active().side(operation, several, owner)
        if side:
            rest = [d for d in range(values.ndim) if d not in axes]
            turned = np.transpose(near, [*rest, *axes])
            rows = turned.reshape(int(np.prod([values.shape[d] for d in rest])), -1)
            place = (
                np.argmax(rows, axis=1) if side > 0 else rows.shape[1] - 1 - np.argmax(rows[:, ::-1], axis=1)
            )
            one = np.zeros(rows.shape)
            one[np.arange(len(rows)), place] = 1.0
            weight = np.transpose(one.reshape(turned.shape), np.argsort([*rest, *axes]))
    return torch.from_numpy(np.array(weight))


def _extreme(way: int) -> Callable[..., Any]:
    def function(
        a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
    ) -> Any:
        t = _masked(tensor_of(a), where, -way * np.inf)
        axes = _axes(t, axis)
        if not axes:
            return calculated(t + 0.0)
        peak = (torch.amax if way > 0 else torch.amin)(t.detach(), axes, keepdim=True).numpy()
        operation = "max" if way > 0 else "min"
        active().watch(t.detach().numpy(), peak)
        w = active().decide(lambda: _reached(t.detach().numpy(), peak, axes, operation, a))
        found = torch.where(w > 0, t * w, 0.0).sum(axes, keepdim=_keep(keepdims))
        out = calculated(found)
        if _given(initial):
            return (np.maximum if way > 0 else np.minimum)(out, initial)
        return out

    return function


def _place(way: int) -> Callable[..., Any]:
    def function(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        def compute() -> Any:
            v = way * plain(a)
            flat = v.reshape(-1) if axis is None else v
            d = 0 if axis is None else int(axis)
            place = np.argmax(flat, axis=d)
            near = np.array(active().near(flat, np.max(flat, axis=d, keepdims=True)))
            if (near.sum(axis=d) > 1).any():
                side = active().side("argmax" if way > 0 else "argmin", near, a)
                if side > 0:
                    place = np.argmax(near, axis=d)
                elif side:
                    place = flat.shape[d] - 1 - np.argmax(np.flip(near, axis=d), axis=d)
            return np.expand_dims(place, d) if _keep(keepdims) else place

        v = way * plain(a)
        flat = v.reshape(-1) if axis is None else v
        active().watch(flat, np.max(flat, axis=0 if axis is None else int(axis), keepdims=True))
        return active().decide(compute)

    return function


def _ignoring(function: Callable[..., Any], other: float) -> Callable[..., Any]:
    """The same without the entries that are no numbers."""
    return lambda a, *args, **kwargs: function(np.where(np.isnan(plain(a)), other, a), *args, **kwargs)


def average(a: Any, axis: Any = None, weights: Any = None, **kwargs: Any) -> Any:
    if weights is None:
        return mean(a, axis, kwargs.get("keepdims", False))
    w = weights
    if np.shape(w) != np.shape(a):
        shape = [1] * np.ndim(a)
        shape[int(axis)] = -1
        w = np.reshape(w, shape)
    spread = w * np.ones(np.shape(a))
    return total(a * w, axis) / np.sum(spread, axis=axis)


def quantile(a: Any, q: Any, axis: Any = None, keepdims: Any = False, **_: Any) -> Any:
    flat = np.sort(np.ravel(a) if axis is None else np.moveaxis(a, axis, 0), axis=0)
    place = float(plain(q)) * (len(flat) - 1)
    low = int(np.floor(place))
    high = min(low + 1, len(flat) - 1)
    found = flat[low] + (place - low) * (flat[high] - flat[low])
    if _keep(keepdims):
        found = np.reshape(found, (1,) * np.ndim(a)) if axis is None else np.expand_dims(found, axis)
    return found


def _cumulative(function: Callable[..., Tensor]) -> Callable[..., Any]:
    def run(a: Any, axis: Any = None, **_: Any) -> Any:
        t = tensor_of(a)
        return calculated(function(t.reshape(-1), 0) if axis is None else function(t, int(axis)))

    return run


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, **_: Any) -> Any:
    peak = np.max(plain(a), axis=axis, keepdims=True)
    e = np.exp(a - peak) if b is None else b * np.exp(a - peak)
    return np.log(np.sum(e, axis=axis, keepdims=keepdims)) + (
        peak if keepdims else peak.reshape(np.sum(plain(e), axis=axis).shape)
    )


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": total, "prod": product, "mean": mean, "var": var, "std": std, "max": _extreme(1),
    "amax": _extreme(1),
    "min": _extreme(-1), "amin": _extreme(-1), "argmax": _place(1), "argmin": _place(-1), "average": average,
    "nansum": _ignoring(total, 0.0), "nanmax": _ignoring(_extreme(1), -np.inf),
    "nanmin": _ignoring(_extreme(-1), np.inf), "cumsum": _cumulative(torch.cumsum),
    "cumprod": _cumulative(torch.cumprod), "quantile": quantile,
    "percentile": lambda a, q, *s, **k: quantile(a, plain(q) / 100, *s, **k),
    "median": lambda a, axis=None, keepdims=False, **_: quantile(a, 0.5, axis, keepdims),
    "ptp": lambda a, axis=None, keepdims=False: (
        _extreme(1)(a, axis, keepdims) - _extreme(-1)(a, axis, keepdims)),
    "any": lambda a, *s, **k: np.any(plain(a), *s, **k), "all": lambda a, *s, **k: np.all(plain(a), *s, **k),
    "logsumexp": logsumexp,
    "nanmean": lambda a, axis=None, keepdims=False: (
        _ignoring(total, 0.0)(a, axis, keepdims) / np.sum(~np.isnan(plain(a)), axis=axis, keepdims=keepdims)),
}  # fmt: skip
