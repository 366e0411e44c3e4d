"""NumPy's functions on the graph: those that move entries, which NumPy itself tells, and the rest."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlp_torch.check.functions.eager.array import (
    Traced,
    calculated,
    coarse,
    grows,
    made,
    plain,
    tensor_of,
)
from mlp_torch.check.functions.eager.composed import LATER, OWN, many, tensor
from mlp_torch.check.functions.eager.reductions import REDUCTIONS
from mlp_torch.check.functions.eager.run import UntraceableError
from mlp_torch.check.functions.eager.ufuncs import put, wrapped

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
