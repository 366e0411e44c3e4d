"""What an ndarray has beside its entries: its shape, functions as methods, Python's numbers and operators."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.functions.eager.run import FINE, active, unit_of


class Methods(np.lib.mixins.NDArrayOperatorsMixin):
    """All of it by the entries' own reading, viewing and writing."""

    __slots__ = ()
    _t: Tensor
    _root: Any
    _locate: Any
    scalar: bool
    kind: float
    coarsest: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._t.shape)

    @shape.setter
    def shape(self, shape: Any) -> None:
        self.settle(self.t.reshape(shape))

    @property
    def ndim(self) -> int:
        return self._t.ndim

    @property
    def size(self) -> int:
        return self._t.numel()

    @property
    def dtype(self) -> Any:
        return np.dtype(np.complex128 if self._t.is_complex() else np.float64)

    @property
    def T(self) -> Any:  # noqa: N802 -- NumPy's name
        return self.transpose()

    @property
    def flat(self) -> Any:
        return self.reshape(-1)

    @property
    def real(self: Any) -> Any:
        return self.alike(torch.real(self.used()).clone()) if self.t.is_complex() else self

    @property
    def imag(self: Any) -> Any:
        return self.alike(torch.imag(self.used()).clone()) if self.t.is_complex() else self * 0.0

    def tolist(self: Any) -> Any:
        return [v.tolist() if v.ndim else v for v in self] if self.ndim else self.alike(self.t)

    def item(self: Any, *index: Any) -> Any:
        return self.reshape(-1)[index[0] if index else 0] if len(index) < 2 else self[index]

    def flatten(self, order: str = "C") -> Any:
        return self.reshape(-1, order=order).copy()

    def fill(self, value: Any) -> None:
        self.write(Ellipsis, value)

    def sort(self, axis: int = -1, **_: Any) -> None:
        self.write(Ellipsis, np.sort(self, axis=axis))

    def dot(self, other: Any) -> Any:
        return np.dot(self, other)

    def view(self, *_: Any, **__: Any) -> Any:
        return self.view_of(self.t, lambda index: index)

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name, None) if hasattr(np.ndarray, name) else None
        if function is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def __len__(self) -> int:
        return len(self._t)

    def __iter__(self: Any) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:
        return id(self)

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self.value == value))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        active().leaks += self.grows
        return float(self.value.reshape(-1)[0]) if self.size == 1 else float(self.value)

    def __complex__(self) -> complex:
        active().leaks += self.grows
        return complex(self.value.reshape(-1)[0])

    def __int__(self) -> int:
        return int(self.value)

    def __round__(self, digits: int | None = None) -> Any:
        return self.value.round().astype(int) if digits is None else np.round(self, digits)

    def __format__(self, spec: str) -> str:
        return format(self.value.item(), spec) if self.ndim == 0 else format(self.value, spec)

    def __repr__(self) -> str:
        return repr(self.value)

    def _in_place(self, ufunc: Any, other: Any) -> Any:
        found = ufunc(self, other)
        if self.scalar:
            return found
        self.write(Ellipsis, found)
        return self

    def __iadd__(self, other: Any) -> Any:
        return self._in_place(np.add, other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place(np.subtract, other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place(np.multiply, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place(np.true_divide, other)

    def __ipow__(self, other: Any) -> Any:
        return self._in_place(np.power, other)

    def __imatmul__(self, other: Any) -> Any:
        return self._in_place(np.matmul, other)


class Plain(np.ndarray[Any, Any]):
    """Truth values and integers: NumPy's own, but what is cast to float joins the graph's arrays."""

    joined: Callable[[Any], Any]  # an array of the graph

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        found = np.asarray(self).astype(dtype)
        return type(self).joined(found) if found.dtype.kind in "fc" else found.view(Plain)


def _apart(ufunc: Any) -> Callable[[Any, Any], Any]:
    """In place, unless the other operand is of the graph."""

    def operator(self: Plain, other: Any) -> Any:
        if isinstance(other, Methods):
            return NotImplemented
        return ufunc(np.asarray(self), other, out=(np.asarray(self),)).view(Plain)

    return operator


for _name in ("add", "subtract", "multiply", "true_divide"):
    _short = {"subtract": "sub", "multiply": "mul", "true_divide": "truediv"}.get(_name, _name)
    setattr(Plain, f"__i{_short}__", _apart(getattr(np, _name)))


def holds(value: Any) -> bool:
    """Whether an array of the graph is somewhere in nested lists."""
    return isinstance(value, Methods) or (isinstance(value, list | tuple) and any(map(holds, value)))


def grows(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(grows, value))
    return isinstance(value, Methods) and value.grows


def plain(value: Any) -> Any:
    """NumPy's own arrays for the graph's, in any nesting."""
    if isinstance(value, Methods):
        return value.value if value.ndim or not value.scalar else value.value[()]
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if not hasattr(value, "_fields") else value
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


@lru_cache(maxsize=16)
def count(shape: tuple[int, ...]) -> Array:
    """The place of every entry, not to be written into."""
    places = np.arange(math.prod(shape)).reshape(shape)
    places.flags.writeable = False
    return places


def key_of(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(map(key_of, key))
    if isinstance(key, Methods):
        return key.value
    return np.asarray([key_of(k) for k in key]) if isinstance(key, list) else key


def fitting(new: Tensor, shape: tuple[int, ...]) -> Tensor:
    """NumPy drops leading axes of one entry when it writes."""
    while new.ndim > len(shape) and new.shape[0] == 1:
        new = new[0]
    return new


def given(values: Any) -> tuple[float, float]:
    """(the unit of the dtype in which NumPy computes with these, the coarsest that they were computed in)."""
    kind, coarsest = _precision(values)
    return (FINE if kind == np.inf else kind), coarsest


def _precision(values: Any) -> tuple[float, float]:
    kind, coarsest = np.inf, FINE
    for v in values:
        if isinstance(v, Methods):
            k, c = v.kind, v.coarsest
        elif isinstance(v, list | tuple):
            k, c = _precision(v)
        elif isinstance(v, np.ndarray) and v.dtype.kind in "fciu" and v.itemsize > 1:
            k, c = unit_of(v.dtype), FINE
        else:  # Python's numbers, truths and small integers take the others' dtype
            continue
        kind, coarsest = min(kind, k), max(coarsest, c)
    return kind, coarsest


class operation:  # noqa: N801 (a with block's name, as contextlib's are; a generator takes twice its time)
    """What is made inside has the precision of these values."""

    __slots__ = ("before", "run")

    def __init__(self, values: Any) -> None:
        self.run = active()
        self.before, self.run.now = self.run.now, given(values)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.run.now = self.before
