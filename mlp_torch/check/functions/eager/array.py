"""An array that looks like NumPy's and whose values are a torch graph's: views, writes, scalars and all.

NumPy's own functions come here through its protocols; a write into an array leaves what was computed from it
before untouched, and is seen by every view of it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.functions.eager.run import UntraceableError, active, author_frame, name_of

Locate = Callable[[Array], Array]  # where a view's entries lie, told on an array of positions


class Plain(np.ndarray[Any, Any]):
    """Truth values and integers: NumPy's own, but what is cast to float joins the graph's arrays."""

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        found = np.asarray(self).astype(dtype)
        return Traced.constant(found) if found.dtype.kind in "fc" else found.view(Plain)

    def _apart(self, ufunc: Any, other: Any) -> Any:
        if isinstance(other, Traced):
            return NotImplemented
        return ufunc(np.asarray(self), other, out=(np.asarray(self),)).view(Plain)

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._apart(np.multiply, other)

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._apart(np.add, other)

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._apart(np.subtract, other)

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._apart(np.true_divide, other)


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A float64 (or complex128) array in the graph. `scalar`: immutable, as NumPy's scalars are."""

    __slots__ = ("__weakref__", "_locate", "_root", "_seen", "_t", "looked", "name", "scalar")
    __array_priority__ = 1000.0

    def __init__(self, tensor: Tensor, root: "Traced | None" = None, locate: Locate | None = None) -> None:
        self._t, self._root, self._locate = tensor, root, locate
        self._seen = root._t if root is not None else None
        self.scalar, self.looked, self.name = False, False, ""

    @classmethod
    def constant(cls, value: Any) -> "Traced":
        a = np.array(value)
        return cls(torch.from_numpy(np.array(a, np.complex128 if a.dtype.kind == "c" else np.float64)))

    @property
    def t(self) -> Tensor:
        if self._root is not None and self._seen is not self._root._t:
            self._t, self._seen = self._root._t.reshape(-1)[self._positions()], self._root._t
        return self._t

    @property
    def value(self) -> Array:
        return np.asarray(self.t.detach().resolve_conj().resolve_neg().numpy())

    @property
    def grows(self) -> bool:
        return bool(self.t.requires_grad)

    def used(self) -> Tensor:
        """The tensor, for an operation of it; the first use tells what the author calls it."""
        t = self.t
        if not self.looked and t.requires_grad:
            self.looked = True
            if not self.name and not active().noise:
                self.name = name_of(self, author_frame())
        return t

    # views and writes
    def _index(self) -> Array:
        root = self._root if self._root is not None else self
        return np.arange(root._t.numel()).reshape(tuple(root._t.shape))

    def _positions(self) -> Tensor:
        index = self._index()
        return torch.from_numpy(np.array(self._locate(index) if self._locate else index))

    def view_of(self, tensor: Tensor | None, locate: Locate) -> "Traced":
        """The view that `locate` describes; `tensor` where torch gives the same faster."""
        root = self._root if self._root is not None else self
        first = self._locate
        whole: Locate = locate if first is None else lambda index: locate(first(index))
        if tensor is None:
            place = torch.from_numpy(np.array(whole(self._index())))
            tensor = self.used().reshape(-1)[torch.from_numpy(np.array(locate(_count(self.shape))))]
            assert place.shape == tensor.shape
        else:
            self.used()
        out = Traced(tensor, root, whole)
        if tensor.requires_grad:
            active().record(out, tensor)
        return out

    def write(self, key: Any, value: Any, accumulate: bool = False) -> None:
        """x[key] = value, or np.add.at(x, key, value), in a copy that takes the old one's place."""
        if self.scalar:
            raise TypeError("a scalar cannot be written into")
        root = self._root if self._root is not None else self
        fresh = root._t.clone(memory_format=torch.contiguous_format)
        place = self._locate(self._index()) if self._locate else self._index()
        place = np.asarray(place[_key(key)])
        new = tensor_of(value)
        if new.is_complex() and not fresh.is_complex():
            raise UntraceableError("a complex number written into a real array")
        new = torch.broadcast_to(_fitting(new, place.shape), place.shape).to(fresh.dtype)
        flat = fresh.view(-1)
        if flat.requires_grad or new.requires_grad or accumulate:
            where = torch.from_numpy(np.array(place.reshape(-1)))
            fresh = flat.index_put((where,), new.reshape(-1), accumulate=accumulate).view(root._t.shape)
        else:
            flat.numpy()[place] = new.numpy()
        root._t = fresh
        if fresh.requires_grad:
            root.looked = False
            active().record(root, fresh)

    def __getitem__(self, key: Any) -> Any:
        key = _key(key)
        parts = key if isinstance(key, tuple) else (key,)
        basic = all(
            isinstance(k, int | np.integer | slice) or k is None or k is Ellipsis for k in parts
        ) and not any(isinstance(k, bool | np.bool_) for k in parts)
        if not basic:
            return self._fancy(key, parts)
        fast = all(not isinstance(k, slice) or k.step is None or k.step > 0 for k in parts)
        tensor = self.t[key] if fast else None
        if tensor is not None and tensor.ndim == 0 and Ellipsis not in [k for k in parts if k is Ellipsis]:
            self.used()
            return scalar(tensor)
        return self.view_of(tensor, lambda index: index[key])

    def _fancy(self, key: Any, parts: tuple[Any, ...]) -> "Traced":
        if len(parts) == 1 and isinstance(parts[0], np.ndarray) and parts[0].dtype.kind in "iu":
            return made(self.used()[torch.from_numpy(np.array(parts[0], dtype=np.int64) % max(len(self), 1))])
        place = _count(self.shape)[key]
        out = made(self.used().reshape(-1)[torch.from_numpy(np.array(place))])
        out.scalar = False
        return out if place.ndim else scalar(out.t)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.write(key, value)

    # NumPy's protocols
    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        if self.grows:
            raise UntraceableError("an array of the graph was wanted as plain numbers")
        return np.array(self.value, dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from mlp_torch.check.functions.eager.ufuncs import apply

        return apply(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from mlp_torch.check.functions.eager.functions import call

        return call(func, args, kwargs)

    # what an ndarray has
    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._t.shape)

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._t, self._root, self._locate = self.t.reshape(shape), None, None

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
    def T(self) -> "Traced":  # noqa: N802
        return self.transpose()

    @property
    def flat(self) -> "Traced":
        return self.reshape(-1)

    @property
    def real(self) -> Any:
        return made(torch.real(self.used()).clone()) if self.t.is_complex() else self

    @property
    def imag(self) -> Any:
        return made(torch.imag(self.used()).clone()) if self.t.is_complex() else self * 0.0

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Any:
        wanted = shape[0] if len(shape) == 1 else shape
        wanted = tuple(wanted) if isinstance(wanted, list | tuple) else (int(wanted),)
        wanted = tuple(int(n) for n in wanted)
        if order != "C":
            return self.view_of(None, lambda index: np.reshape(index, wanted, order=order))  # type: ignore[call-overload]
        tensor = self.t.reshape(wanted)
        if tensor.data_ptr() != self.t.data_ptr():
            self.used()
            return made(tensor)
        return self.view_of(tensor, lambda index: index.reshape(tensor.shape))

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int | np.integer) else axes
        order = tuple(int(a) for a in order) if order else tuple(reversed(range(self.ndim)))
        return self.view_of(self.t.permute(order), lambda index: index.transpose(order))

    def item(self, *index: Any) -> Any:
        return self.reshape(-1)[index[0] if index else 0] if len(index) < 2 else self[index]

    def tolist(self) -> Any:
        return [v.tolist() if v.ndim else v for v in self] if self.ndim else scalar(self.t)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        kind = np.dtype(dtype)
        if kind.kind == "f":
            coarse(kind)
            return made(self.used().clone())
        if kind.kind == "c":
            return made(self.used().to(torch.complex128))
        return self.value.astype(dtype).view(Plain)

    def copy(self, order: str = "C") -> "Traced":
        return made(self.used().clone())

    __copy__ = copy

    def flatten(self, order: str = "C") -> "Traced":
        return self.reshape(-1, order=order).copy()

    def fill(self, value: Any) -> None:
        self.write(Ellipsis, value)

    def sort(self, axis: int = -1, **_: Any) -> None:
        self.write(Ellipsis, np.sort(self, axis=axis))

    def dot(self, other: Any) -> Any:
        return np.dot(self, other)

    def view(self, *_: Any, **__: Any) -> "Traced":
        return self.view_of(self.t, lambda index: index)

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name, None) if hasattr(np.ndarray, name) else None
        if function is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def __deepcopy__(self, memo: Any) -> "Traced":
        out = Traced(self.t)
        out.scalar, out.name, out.looked = self.scalar, self.name, self.looked
        return out

    def __len__(self) -> int:
        return len(self._t)

    def __iter__(self) -> Iterator[Any]:
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
        return self.value.round().astype(int) if digits is None else rounded(self, digits)

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


def made(tensor: Tensor) -> Traced:
    """A fresh array, noted with the line that made it."""
    out = Traced(tensor)
    out.scalar = tensor.ndim == 0
    if tensor.requires_grad:
        active().record(out, tensor)
    return out


def calculated(tensor: Tensor) -> Traced:
    """What an operation gave: fresh, and with a rounding error where the run is to have them."""
    return made(active().disturb(tensor))


def scalar(tensor: Tensor) -> Traced:
    return made(tensor.reshape(()))


def rounded(x: Traced, digits: int) -> Traced:
    """A scalar to so many digits: what is returned is rounded, what is differentiated is not."""
    frame = author_frame()
    where = "" if frame is None else f" ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
    active().rounded = f"to {digits} digits{where}"
    t = x.used()
    active().unrounded = float(t.detach().real), float(np.round(x.value.real, digits))
    return made(t + torch.from_numpy(np.asarray(np.round(x.value, digits) - x.value)))


def coarse(dtype: Any) -> None:
    """A float dtype that the code computes in; the graph stays in float64."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        active().coarsest = max(active().coarsest, float(np.finfo(kind).eps))


def tensor_of(value: Any) -> Tensor:
    """float64 (or complex128) of anything that NumPy takes for an array."""
    if isinstance(value, Traced):
        return value.used()
    if isinstance(value, Tensor):
        return value.to(torch.float64)
    if isinstance(value, list | tuple) and holds(value):
        return stacked(value)
    a = np.asarray(value)
    if a.dtype.kind not in "fiubc":
        raise UntraceableError(f"an array of dtype {a.dtype}")
    return torch.from_numpy(np.array(a, np.complex128 if a.dtype.kind == "c" else np.float64))


def stacked(values: Any) -> Tensor:
    """Nested lists of numbers and arrays as one array."""
    parts = [tensor_of(v) for v in values]
    if len({p.shape for p in parts}) > 1:
        raise UntraceableError("a list of arrays of several shapes")
    return torch.stack(parts)


def holds(value: Any) -> bool:
    """Whether an array of the graph is somewhere in nested lists."""
    return isinstance(value, Traced) or (isinstance(value, list | tuple) and any(map(holds, value)))


def grows(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(grows, value))
    return isinstance(value, Traced) and value.grows


def plain(value: Any) -> Any:
    """NumPy's own arrays for the graph's, in any nesting."""
    if isinstance(value, Traced):
        return value.value if value.ndim or not value.scalar else value.value[()]
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if not hasattr(value, "_fields") else value
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _count(shape: tuple[int, ...]) -> Array:
    return np.arange(int(np.prod(shape))).reshape(shape)


def _key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(map(_key, key))
    if isinstance(key, Traced):
        return key.value
    return np.asarray([_key(k) for k in key]) if isinstance(key, list) else key


def _fitting(new: Tensor, shape: tuple[int, ...]) -> Tensor:
    """NumPy drops leading axes of one entry when it writes."""
    while new.ndim > len(shape) and new.shape[0] == 1:
        new = new[0]
    return new
