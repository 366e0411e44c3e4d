"""Operations with a corner: comparisons, maxima, |z|, sign, roots; which side they take at equal operands."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.functions.eager.array import Traced, calculated, tensor_of, wrapped
from mlp_torch.check.functions.eager.ndarray import Plain, grows, plain
from mlp_torch.check.functions.eager.run import NoValue, UntraceableError, active

STEPS = {"greater": 1, "greater_equal": 1, "less": -1, "less_equal": -1}
EXTREMES = {"maximum": 1, "fmax": 1, "minimum": -1, "fmin": -1}


def guarded(f: Callable[..., Tensor], name: str, *tensors: Any) -> Tensor:
    """f, with no gradient at the entries where it or its slope is no finite number."""
    out = f(*tensors)
    bad = None
    value = out.detach()
    with np.errstate(all="ignore"):
        if not np.isfinite(value.sum().item() if not value.is_complex() else 0.0):
            bad = ~torch.isfinite(value)
    if name in ("sqrt", "hypot", "cbrt"):
        zero = value == 0
        if bool(zero.any()):
            active().side(name, zero.numpy(), None)
            bad = zero if bad is None else bad | zero
    if bad is None or not bool(bad.any()):
        return out
    safe = 2.0 if name == "arccosh" else 0.5
    inner = [
        torch.where(bad, safe, t) if isinstance(t, Tensor) else torch.where(bad, safe, torch.tensor(float(t)))
        for t in tensors
    ]
    return torch.where(bad, value, f(*inner))


def step(ufunc: Any, name: str, a: Any, b: Any) -> Any:
    """A comparison: of operands that are equal up to rounding, the side that the run is told."""

    def compute() -> Array:
        u, v = plain(a), plain(b)
        found = np.array(ufunc(u, v))
        if grows(a) or grows(b):
            near = np.array(active().near(u, v))
            if near.any():
                side = (
                    active().side(name, near, a) if grows(a) else -active().side(name, near, b, turned=True)
                )
                if side:
                    found = np.where(near, side * STEPS[name] > 0, found)
        return found

    if grows(a) or grows(b):
        active().watch(plain(a), plain(b))
    found = active().decide(compute) if grows(a) or grows(b) else np.array(ufunc(plain(a), plain(b)))
    return found.view(Plain) if found.ndim else found[()]


def extreme(name: str, a: Any, b: Any) -> Traced:
    """max(a, b) or min(a, b): torch's at a tie (one half of each), unless the run is told a side."""
    way = EXTREMES[name]
    s, t = torch.broadcast_tensors(tensor_of(a), tensor_of(b))  # type: ignore[no-untyped-call]  # torch's

    def compute() -> Tensor:
        u, v = s.detach().numpy(), t.detach().numpy()
        with np.errstate(all="ignore"):
            weight = np.where(u == v, 0.5, 1.0 * (way * u > way * v))
        if name in ("maximum", "minimum"):
            weight = np.where(np.isnan(u), 1.0, weight)
        else:
            weight = np.where(np.isnan(v), 1.0, weight)
        near = np.array(active().near(u, v))
        if near.any():
            side = active().side(name, near, a) if grows(a) else -active().side(name, near, b, turned=True)
            if side:
                weight = np.where(near, 1.0 * (side * way > 0), weight)
        return torch.from_numpy(np.array(weight))

    active().watch(s.detach().numpy(), t.detach().numpy())
    w = active().decide(compute)
    return calculated(torch.where(w == 1, s, torch.where(w == 0, t, (s + t) / 2)))


def absolute(a: Any) -> Traced:
    t = tensor_of(a)
    if t.is_complex():
        return calculated(guarded(torch.abs, "sqrt", t))

    def compute() -> Tensor:
        v = t.detach().numpy()
        sign, near = np.sign(v), np.array(active().near(v, 0.0))
        if near.any():
            side = active().side("absolute", near, a)
            if side:
                sign = np.where(near, float(side), sign)
        return torch.from_numpy(np.array(sign))

    active().watch(t.detach().numpy(), 0.0)
    return calculated(t * active().decide(compute))


def sign(ufunc: Any, name: str, a: Any, *rest: Any) -> Any:
    def compute() -> Array:
        v = plain(a)
        found, near = np.array(ufunc(v, *map(plain, rest))), np.array(active().near(v, 0.0))
        if near.any():
            side = active().side(name, near, a)
            if side:
                found = np.where(near, float(side if name == "sign" else side > 0), found)
        return found

    if rest and grows(rest[0]):
        raise UntraceableError("heaviside of a variable second argument")
    active().watch(plain(a), 0.0)
    return wrapped(active().decide(compute))


def axes_of(t: Tensor, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(t.ndim))
    wanted = axis if isinstance(axis, tuple | list) else (axis,)
    return tuple(int(a) % max(t.ndim, 1) for a in wanted)


def masked(t: Tensor, where: Any, other: float) -> Tensor:
    if where is True or isinstance(where, NoValue):
        return t
    return torch.where(torch.from_numpy(np.array(plain(where), dtype=bool)), t, other)


def keep(keepdims: Any) -> bool:
    return bool(keepdims) and not isinstance(keepdims, NoValue)


def given(value: Any) -> bool:
    return value is not None and not isinstance(value, NoValue)


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


def peak_of(way: int) -> Callable[..., Any]:
    def function(
        a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
    ) -> Any:
        t = masked(tensor_of(a), where, -way * np.inf)
        axes = axes_of(t, axis)
        if not axes:
            return calculated(t + 0.0)
        peak = (torch.amax if way > 0 else torch.amin)(t.detach(), axes, keepdim=True).numpy()
        operation = "max" if way > 0 else "min"
        active().watch(t.detach().numpy(), peak)
        w = active().decide(lambda: _reached(t.detach().numpy(), peak, axes, operation, a))
        found = torch.where(w > 0, t * w, 0.0).sum(axes, keepdim=keep(keepdims))
        out = calculated(found)
        if given(initial):
            return (np.maximum if way > 0 else np.minimum)(out, initial)
        return out

    return function


def place_of(way: int) -> Callable[..., Any]:
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
            return np.expand_dims(place, d) if keep(keepdims) else place

        v = way * plain(a)
        flat = v.reshape(-1) if axis is None else v
        active().watch(flat, np.max(flat, axis=0 if axis is None else int(axis), keepdims=True))
        return active().decide(compute)

    return function
