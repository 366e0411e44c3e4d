"""NumPy's functions on the graph: those that move entries, which NumPy itself tells, sums, and the rest."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlp_torch.check.functions.eager.array import Traced, calculated, made, tensor_of, wrapped
from mlp_torch.check.functions.eager.composed import LATER, OWN, many, tensor
from mlp_torch.check.functions.eager.corners import axes_of, given, keep, masked, peak_of, place_of
from mlp_torch.check.functions.eager.ndarray import grows, plain
from mlp_torch.check.functions.eager.run import NoValue, UntraceableError, coarse
from mlp_torch.check.functions.eager.ufuncs import put


def total(a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True) -> Traced:
    t = masked(tensor_of(a), where, 0.0)
    axes = axes_of(t, axis)
    found = t.sum(axes, keepdim=keep(keepdims)) if axes else t + 0.0
    return calculated(found + tensor_of(initial) if given(initial) else found)


def product(
    a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Traced:
    t = masked(tensor_of(a), where, 1.0)
    axes = axes_of(t, axis)
    kept = keep(keepdims)
    for d in sorted(axes, reverse=True):
        t = t.prod(d, keepdim=kept)
    return calculated(t * tensor_of(initial) if given(initial) else t + 0.0)


def _count(a: Any, axis: Any, where: Any = True) -> Any:
    t = tensor_of(a)
    if where is not True and not isinstance(where, NoValue):
        mask = np.broadcast_to(plain(where), tuple(t.shape))
        return np.sum(mask, axis=axis)
    return int(np.prod([t.shape[d] for d in axes_of(t, axis)]))


def mean(a: Any, axis: Any = None, keepdims: Any = False, where: Any = True) -> Any:
    n = _count(a, axis, where)
    return total(a, axis, keepdims, where=where) / (n if np.ndim(n) == 0 or not keep(keepdims)
                                                    else np.expand_dims(n, axis))  # fmt: skip


def var(
    a: Any, axis: Any = None, ddof: float = 0, keepdims: Any = False, correction: Any = None, **_: Any
) -> Any:
    free = correction if given(correction) else ddof
    d = a - mean(a, axis, True)
    return total(d * d, axis, keepdims) / (_count(a, axis) - free)


def std(a: Any, *args: Any, **kwargs: Any) -> Any:
    return np.sqrt(var(a, *args, **kwargs))


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
    if keep(keepdims):
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
    "sum": total, "prod": product, "mean": mean, "var": var, "std": std, "max": peak_of(1),
    "amax": peak_of(1),
    "min": peak_of(-1), "amin": peak_of(-1), "argmax": place_of(1), "argmin": place_of(-1),
    "average": average,
    "nansum": _ignoring(total, 0.0), "nanmax": _ignoring(peak_of(1), -np.inf),
    "nanmin": _ignoring(peak_of(-1), np.inf), "cumsum": _cumulative(torch.cumsum),
    "cumprod": _cumulative(torch.cumprod), "quantile": quantile,
    "percentile": lambda a, q, *s, **k: quantile(a, plain(q) / 100, *s, **k),
    "median": lambda a, axis=None, keepdims=False, **_: quantile(a, 0.5, axis, keepdims),
    "ptp": lambda a, axis=None, keepdims=False: (
        peak_of(1)(a, axis, keepdims) - peak_of(-1)(a, axis, keepdims)),
    "any": lambda a, *s, **k: np.any(plain(a), *s, **k), "all": lambda a, *s, **k: np.all(plain(a), *s, **k),
    "logsumexp": logsumexp,
    "nanmean": lambda a, axis=None, keepdims=False: (
        _ignoring(total, 0.0)(a, axis, keepdims) / np.sum(~np.isnan(plain(a)), axis=axis, keepdims=keepdims)),
}  # fmt: skip


VIEWS = {
    "transpose", "swapaxes", "moveaxis", "rollaxis", "squeeze", "expand_dims", "broadcast_to", "atleast_1d",
    "atleast_2d", "atleast_3d", "split", "array_split", "hsplit", "vsplit", "dsplit", "flip", "fliplr",
    "flipud", "rot90", "diagonal", "sliding_window_view", "ravel", "unstack", "permute_dims",
    "matrix_transpose",
}  # fmt: skip
MOVES = {
    "concatenate", "stack", "vstack", "hstack", "dstack", "column_stack", "append", "block", "insert",
    "delete", "tile", "repeat", "roll", "pad", "take", "take_along_axis", "diag", "diagflat", "tril", "triu",
    "compress", "extract", "resize", "choose", "select", "fftshift",
    "ifftshift", "broadcast_arrays", "meshgrid", "concat",
    "row_stack", "ix_", "require",
}  # fmt: skip
FIXED = {  # arguments of MOVES that are no data
    "insert": (0, 2), "delete": (0,), "tile": (0,), "repeat": (0,), "roll": (0,), "pad": (0,), "take": (0,),
    "take_along_axis": (0,), "diag": (0,), "diagflat": (0,), "tril": (0,), "triu": (0,), "compress": (1,),
    "extract": (1,), "resize": (0,), "choose": (1,), "select": (1, 2), "fftshift": (0,), "ifftshift": (0,),
    "concatenate": (0,), "stack": (0,), "vstack": (0,), "hstack": (0,), "dstack": (0,), "column_stack": (0,),
    "concat": (0,), "block": (0,), "append": (0, 1), "row_stack": (0,), "require": (0,),
}  # fmt: skip


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = func.__name__
    if name in OWN:
        return OWN[name](*args, **kwargs)
    if not grows(list(args)) and not grows(list(kwargs.values())):
        with np.errstate(all="ignore"):
            return wrapped(func(*plain(args), **plain(kwargs)))
    if name in VIEWS:
        return _view(func, *args, **kwargs)
    if name in REDUCTIONS:
        out = kwargs.pop("out", None)
        if "dtype" in kwargs and kwargs["dtype"] is not None:
            coarse(kwargs["dtype"])
        kwargs.pop("dtype", None)
        return put(out, REDUCTIONS[name](*args, **kwargs))
    if name in MOVES:
        return _move(func, name, args, kwargs)
    module = getattr(func, "__module__", "") or ""
    if module.startswith("numpy.linalg") and name not in LATER and hasattr(torch.linalg, name):
        return many(getattr(torch.linalg, name)(*map(tensor, args), **kwargs))
    if module.startswith("numpy.fft") and hasattr(torch.fft, name):
        return _fourier(name, *args, **kwargs)
    if name in LATER:
        return LATER[name](*args, **kwargs)
    raise UntraceableError(f"np.{name}")


def _view(func: Any, a: Any, *args: Any, **kwargs: Any) -> Any:
    """A view (or several) of one array, where NumPy puts it on an array of positions."""
    if not isinstance(a, Traced):
        raise UntraceableError(f"np.{func.__name__} of several arrays")
    index = np.arange(a.size).reshape(a.shape)
    found = func(index, *args, **kwargs)
    if isinstance(found, np.ndarray):
        if found.ndim == 0:
            return a.view_of(a.t.reshape(()), lambda i: func(i, *args, **kwargs))
        if found.shape == a.shape and np.array_equal(found, index):
            return a.view_of(a.t, lambda i: i)
        return a.view_of(None, lambda i: func(i, *args, **kwargs))

    def part(n: int) -> Any:
        return a.view_of(None, lambda i: func(i, *args, **kwargs)[n])

    return [part(n) for n in range(len(found))]


def _move(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Entries of several arrays put together anew, as NumPy puts their positions together."""
    data: list[Tensor] = []
    count = 1  # position 0 is a zero that NumPy may fill in

    def positions(value: Any) -> Any:
        nonlocal count
        if isinstance(value, list | tuple):
            return type(value)(map(positions, value)) if type(value) in (list, tuple) else value
        t = tensor_of(value).reshape(-1)
        place = np.arange(count, count + len(t)).reshape(np.shape(value))
        data.append(t)
        count += len(t)
        return place

    if name == "pad" and kwargs.get("mode", args[2] if len(args) > 2 else "constant") not in (
        "constant", "edge", "reflect", "symmetric", "wrap",
    ):  # fmt: skip
        raise UntraceableError("np.pad of that mode")
    spots = FIXED.get(name, range(len(args)))
    given = [positions(a) if i in spots else plain(a) for i, a in enumerate(args)]
    options = {}
    for key, value in kwargs.items():
        is_data = key in ("constant_values", "default", "values", "arr", "array", "tup", "a", "arrays")
        if key == "constant_values" and np.ndim(value):
            raise UntraceableError("np.pad with several constants")
        options[key] = positions(value) if is_data else plain(value)
    found = func(*given, **options)
    flat = torch.cat([torch.zeros(1, dtype=torch.float64), *data])

    def gather(place: Any) -> Any:
        if isinstance(place, list | tuple):
            return type(place)(map(gather, place))
        return made(flat[torch.from_numpy(np.array(place))])

    return gather(found)


def _fourier(name: str, a: Any, n: Any = None, axis: Any = None, norm: Any = None, axes: Any = None) -> Any:
    options: dict[str, Any] = {"norm": norm}
    if axes is not None or axis is not None:
        options["dim"] = axes if axes is not None else axis
    t = tensor_of(a)
    return calculated(getattr(torch.fft, name)(t, n, **options))
