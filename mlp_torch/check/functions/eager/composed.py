"""NumPy's functions that count, composed of operations that the graph knows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlp_torch.check.functions.eager.array import Traced, calculated, made, tensor_of, wrapped
from mlp_torch.check.functions.eager.corners import extreme
from mlp_torch.check.functions.eager.ndarray import grows, holds, plain
from mlp_torch.check.functions.eager.run import UntraceableError, active, author_frame, coarse
from mlp_torch.check.functions.eager.ufuncs import put


def tensor(value: Any) -> Any:
    return tensor_of(value) if isinstance(value, Traced | np.ndarray) else value


def many(found: Any) -> Any:
    return calculated(found) if isinstance(found, Tensor) else tuple(map(many, found))


def _where(cond: Any, *values: Any) -> Any:
    if not values:
        return np.where(plain(cond))
    if not grows(list(values)):
        return wrapped(np.where(plain(cond), *plain(values)))
    mask = torch.from_numpy(np.array(plain(cond), dtype=bool))
    a, b = map(tensor_of, values)
    out = made(torch.where(mask, a, b))
    out.scalar = False
    return out


def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **kwargs: Any) -> Any:
    low, high = kwargs.get("min", a_min), kwargs.get("max", a_max)
    if not grows([a, low, high]):
        return put(out, wrapped(np.clip(plain(a), plain(low), plain(high))))
    found = a
    if low is not None:
        found = extreme("maximum", found, low)
    if high is not None:
        found = extreme("minimum", found, high)
    return put(out, found if found is not a else a + 0.0)


def _like(value: float | None) -> Callable[..., Any]:
    def function(a: Any, fill: Any = None, dtype: Any = None, shape: Any = None, **rest: Any) -> Any:
        if value is not None and fill is not None:  # the second argument is the dtype, except in full_like
            dtype = fill
        wanted = np.shape(a) if shape is None else shape
        kind = np.dtype(dtype) if dtype is not None else getattr(a, "dtype", np.dtype(float))
        if dtype is not None and kind.kind == "f":
            coarse(kind)
        if value is None and grows(fill):
            out = Traced.constant(np.zeros(wanted))
            out.write(Ellipsis, fill)
            return out
        found = wrapped(np.full(wanted, value if value is not None else plain(fill), dtype=kind))
        return found if np.ndim(found) or found is None else Traced.constant(found)

    return function


def rounded(x: Traced, digits: int) -> Traced:
    """A scalar to so many digits: what is returned is rounded, what is differentiated is not."""
    frame = author_frame()
    where = "" if frame is None else f" ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
    active().rounded = f"to {digits} digits{where}"
    t = x.used()
    active().unrounded = float(t.detach().real), float(np.round(x.value.real, digits))
    return made(t + torch.from_numpy(np.asarray(np.round(x.value, digits) - x.value)))


def _round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    if isinstance(a, Traced) and a.ndim == 0 and a.grows:
        return rounded(a, decimals)
    return wrapped(active().decide(lambda: np.round(plain(a), decimals)))


def _copyto(dst: Any, src: Any, where: Any = True, **_: Any) -> None:
    mask = np.broadcast_to(plain(where), np.shape(dst))
    dst[mask] = np.broadcast_to(src, np.shape(dst))[mask] if np.ndim(src) else src


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None = -1) -> None:
    place = np.take_along_axis(np.arange(arr.size).reshape(arr.shape), plain(indices), axis=axis)
    flat = arr.reshape(-1)
    flat[place.reshape(-1)] = np.broadcast_to(values, place.shape).reshape(-1) if np.ndim(values) else values


def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    place = np.zeros(a.shape, dtype=bool)
    np.fill_diagonal(place, True, wrap=wrap)
    a[place] = val


def _array_equal(a: Any, b: Any, **kwargs: Any) -> bool:
    return bool(np.array_equal(plain(a), plain(b), **kwargs))


def _value(func: Any) -> Callable[..., Any]:
    """A function whose result does not move with its arguments: that of NumPy."""
    return lambda *a, **k: wrapped(active().decide(lambda: func(*plain(a), **plain(k))))


def _sort(a: Any, axis: int | None = -1, **_: Any) -> Any:
    if axis is None:
        return _sort(np.ravel(a), 0)
    order = active().decide(lambda: np.argsort(plain(a), axis=axis, kind="stable"))
    return np.take_along_axis(a, order, axis=axis)


def _einsum(*operands: Any, out: Any = None, **_: Any) -> Any:
    if isinstance(operands[0], str):
        found = torch.einsum(operands[0].replace(" ", ""), *map(tensor_of, operands[1:]))
    else:
        found = torch.einsum(*[list(o) if i % 2 else tensor_of(o) for i, o in enumerate(operands)])
    return put(out, calculated(found))


def _dot(a: Any, b: Any, out: Any = None) -> Any:
    s, t = tensor_of(a), tensor_of(b)
    if s.is_complex() != t.is_complex():
        s, t = s.to(torch.complex128), t.to(torch.complex128)
    if not s.ndim or not t.ndim:
        return put(out, a * b)
    if s.ndim <= 2 and t.ndim <= 2:
        return put(out, calculated(torch.matmul(s, t)))
    return put(out, calculated(torch.tensordot(s, t, ([s.ndim - 1], [max(t.ndim - 2, 0)]))))


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    if not isinstance(axes, int):
        axes = [list(np.atleast_1d(x)) for x in axes]
        axes = [[int(i) for i in x] for x in axes]
    return calculated(torch.tensordot(tensor_of(a), tensor_of(b), axes))


def _diff(a: Any, n: int = 1, axis: int = -1, **_: Any) -> Any:
    for _i in range(n):
        rows = np.moveaxis(a, axis, 0)
        a = np.moveaxis(rows[1:] - rows[:-1], 0, axis)
    return a


def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    s, t = tensor_of(a), tensor_of(v)
    if len(t) > len(s):
        s, t = t, s
    pad = {"full": len(t) - 1, "same": 0, "valid": 0}[mode]
    if mode == "same":
        full = _convolve(s, t)
        start = (len(t) - 1) // 2
        return full[start : start + len(s)]
    return calculated(torch.nn.functional.conv1d(s[None, None], t.flip(0)[None, None], padding=pad)[0, 0])


def _interp(x: Any, xp: Any, fp: Any, **_: Any) -> Any:
    X, knots = plain(x), plain(xp)
    i = np.clip(np.searchsorted(knots, X, side="right") - 1, 0, len(knots) - 2)
    share = np.clip((x - xp[i]) / (xp[i + 1] - xp[i]), 0.0, 1.0)
    return fp[i] + share * (fp[i + 1] - fp[i])


def _nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    v = plain(x)
    fixed = np.nan_to_num(v, nan=nan, posinf=posinf, neginf=neginf)
    return _where(np.isfinite(v), x, fixed)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is None or (ord == 2 and (axis is not None or np.ndim(x) == 1)) or ord == "fro":
        return np.sqrt(np.sum(np.abs(x) ** 2 if x.dtype.kind == "c" else x * x, axis=axis, keepdims=keepdims))
    if ord in (1, np.inf, -np.inf) and (np.ndim(x) == 1 or isinstance(axis, int)):
        sizes = np.abs(x)
        function: Any = {1: np.sum, np.inf: np.max, -np.inf: np.min}[ord]
        return function(sizes, axis=axis, keepdims=keepdims)
    return calculated(torch.linalg.norm(tensor_of(x), ord, axis, keepdims))


def _svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, **_: Any) -> Any:
    t = tensor_of(a)
    return many(torch.linalg.svd(t, full_matrices) if compute_uv else torch.linalg.svdvals(t))


def _gradient(f: Any, *spacing: Any, axis: Any = None, **_: Any) -> Any:
    """np.gradient with unit or scalar spacing, of the first order at the ends."""
    axes = range(f.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    steps = [*spacing, *[spacing[0] if spacing else 1.0] * len(list(axes))]
    found = []
    for d, h in zip(axes, steps, strict=False):
        if np.ndim(h):
            raise UntraceableError("np.gradient over coordinates")
        rows = np.moveaxis(f, d, 0)
        inner = (rows[2:] - rows[:-2]) / (2 * h)
        whole = np.concatenate([(rows[1:2] - rows[:1]) / h, inner, (rows[-1:] - rows[-2:-1]) / h])
        found.append(np.moveaxis(whole, 0, d))
    return found[0] if len(found) == 1 else found


def _linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, **_: Any) -> Any:
    share = np.arange(num) / max(num - 1 if endpoint else num, 1)
    share = share.reshape(-1, *[1] * max(np.ndim(start), np.ndim(stop)))
    return start + share * (stop - start)


def _inner(a: Any, b: Any) -> Any:
    if not np.ndim(a) or not np.ndim(b):
        return a * b
    return _tensordot(a, b, (-1, -1))


def _apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    rows = np.moveaxis(arr, axis, -1)
    flat = rows.reshape(-1, rows.shape[-1])
    found = np.stack(
        [np.asarray(f) if not holds(f) else f for f in (func1d(r, *args, **kwargs) for r in flat)]
    )
    out = found.reshape(*rows.shape[:-1], *found.shape[1:])
    return np.moveaxis(out, -1, axis) if np.ndim(out) == np.ndim(arr) else out


def _polyval(p: Any, x: Any) -> Any:
    found = 0.0 * x
    for c in p:
        found = found * x + c
    return found


OWN: dict[str, Callable[..., Any]] = {
    "where": _where, "clip": _clip, "zeros_like": _like(0.0), "ones_like": _like(1.0),
    "empty_like": _like(0.0),
    "full_like": _like(None), "round": _round, "around": _round, "copyto": _copyto,
    "put_along_axis": _put_along_axis, "fill_diagonal": _fill_diagonal, "array_equal": _array_equal,
    "shape": lambda a: a.shape, "ndim": lambda a: a.ndim, "size": lambda a, axis=None: (
        a.size if axis is None else a.shape[axis]), "copy": lambda a, **_: a.copy(),
    "reshape": lambda a, *s, **k: a.reshape(*(s or (k.pop("shape", k.pop("newshape", None)),)), **k),
    "real": lambda a: a.real, "imag": lambda a: a.imag, "result_type": lambda *a: np.dtype(float),
    "iscomplexobj": lambda a: a.dtype.kind == "c", "isrealobj": lambda a: a.dtype.kind != "c",
    "transpose": lambda a, axes=None: a.transpose() if axes is None else a.transpose(axes),
    "array_repr": lambda a, *_, **__: repr(a), "array_str": lambda a, *_, **__: repr(a),
    "array2string": lambda a, *_, **__: repr(a), "may_share_memory": lambda a, b, **_: a is b,
    "shares_memory": lambda a, b, **_: a is b,
}  # fmt: skip
LATER: dict[str, Callable[..., Any]] = {
    **{n: _value(getattr(np, n)) for n in (
        "argsort", "isclose", "allclose", "unique", "digitize", "searchsorted", "histogram", "nonzero",
        "flatnonzero", "argwhere", "count_nonzero", "lexsort", "floor", "bincount", "argpartition", "fix",
        "array_equiv", "isin", "trunc",
    )},
    "sort": _sort, "partition": lambda a, kth, axis=-1, **_: _sort(a, axis), "einsum": _einsum, "dot": _dot,
    "matmul": _dot, "inner": _inner, "gradient": _gradient, "linspace": _linspace, "svd": _svd,
    "outer": lambda a, b, out=None: put(out, np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))),
    "vdot": lambda a, b: _dot(np.ravel(np.conj(a)), np.ravel(b)), "tensordot": _tensordot,
    "kron": lambda a, b: calculated(torch.kron(tensor_of(a), tensor_of(b))),
    "trace": lambda a, offset=0, axis1=0, axis2=1, **_: np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1),
    "cross": lambda a, b, axis=-1, **_: calculated(torch.linalg.cross(tensor_of(a), tensor_of(b), dim=axis)),
    "diff": _diff, "ediff1d": lambda a: _diff(np.ravel(a)), "convolve": _convolve,
    "correlate": lambda a, v, mode="valid": _convolve(a, v[::-1], mode), "interp": _interp,
    "nan_to_num": _nan_to_num, "norm": _norm, "apply_along_axis": _apply_along_axis, "polyval": _polyval,
    "vector_norm": lambda x, axis=None, keepdims=False, ord=2: _norm(
        np.ravel(x) if axis is None else x, ord, axis, keepdims),
    "cond": lambda x, p=None: calculated(torch.linalg.cond(tensor_of(x), p)),
    "slogdet": lambda a: many(torch.linalg.slogdet(tensor_of(a))),
    "trapezoid": lambda y, x=None, dx=1.0, axis=-1: np.sum(
        (dx if x is None else np.diff(x)) * (y[..., 1:] + y[..., :-1]) / 2, axis=-1),
    "sinc": lambda x: np.where(plain(x) == 0, 1.0, np.sin(np.pi * x) / (np.pi * x)),
    "angle": lambda z, deg=False: calculated(torch.angle(tensor_of(z))),
    "softmax": lambda x, axis=None: _softmax(x, axis),
}  # fmt: skip


def _softmax(x: Any, axis: Any = None) -> Any:
    e = np.exp(x - np.max(plain(x), axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)
