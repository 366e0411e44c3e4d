"""An array that looks like NumPy's and whose values are a torch graph's: views, writes, scalars and all.

NumPy's own functions come here through its protocols; a write into an array leaves what was computed from it
before untouched, and is seen by every view of it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.functions.eager.ndarray import (
    Methods,
    Plain,
    count,
    fitting,
    given,
    holds,
    key_of,
    operation,
)
from mlp_torch.check.functions.eager.run import (
    FINE,
    UntraceableError,
    active,
    author_frame,
    coarse,
    name_of,
    unit_of,
)

BASIC = {int, slice, type(None), type(Ellipsis)}  # what makes a view, as every other integer does
Locate = Callable[[Array], Array]  # where a view's entries lie, told on an array of positions


class Traced(Methods):
    """A float64 (or complex128) array in the graph. `scalar`: immutable, as NumPy's scalars are.

    `kind` is the unit of the dtype that it has in NumPy, `coarsest` that of the coarsest on its way.
    """

    __slots__ = (
        "__weakref__", "_coarsest", "_locate", "_root", "_seen", "_t", "kind", "looked", "name", "scalar",
    )  # fmt: skip
    __array_priority__ = 1000.0

    def __init__(self, tensor: Tensor, root: "Traced | None" = None, locate: Locate | None = None) -> None:
        self._t, self._root, self._locate = tensor, root, locate
        self._seen = root._t if root is not None else None
        self.scalar, self.looked, self.name = False, False, ""
        self.kind, self._coarsest = FINE, FINE

    @classmethod
    def constant(cls, value: Any) -> "Traced":
        a = np.array(value)
        out = cls(torch.from_numpy(np.array(a, np.complex128 if a.dtype.kind == "c" else np.float64)))
        out.kind = unit_of(a.dtype)
        return out

    @property
    def coarsest(self) -> float:
        return self._coarsest if self._root is None else self._root._coarsest

    def alike(self, tensor: Tensor, kind: float | None = None) -> "Traced":
        """A fresh array of the same precision, or cast to another."""
        out = made(tensor)
        out.kind = self.kind if kind is None else kind
        out._coarsest = max(self.coarsest, out.kind if out.kind > self.kind else FINE)
        return out

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
        return count(tuple(root._t.shape))

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
            tensor = self.used().reshape(-1)[torch.from_numpy(np.array(locate(count(self.shape))))]
            assert place.shape == tensor.shape
        else:
            self.used()
        out = Traced(tensor, root, whole)
        out.kind = self.kind
        if tensor.requires_grad:
            active().record(out, tensor)
        return out

    def write(self, key: Any, value: Any, accumulate: bool = False) -> None:
        """x[key] = value, or np.add.at(x, key, value), in a copy that takes the old one's place."""
        if self.scalar:
            raise TypeError("a scalar cannot be written into")
        root = self._root if self._root is not None else self
        kind, coarsest = given([value])
        root._coarsest = max(root._coarsest, coarsest, root.kind if root.kind > kind else FINE)
        place = self._locate(self._index()) if self._locate else self._index()
        place = np.asarray(place[key_of(key)])
        new = tensor_of(value)
        old = root._t
        if new.is_complex() and not old.is_complex():
            raise UntraceableError("a complex number written into a real array")
        new = torch.broadcast_to(fitting(new, place.shape), place.shape).to(old.dtype)
        if old.requires_grad or new.requires_grad or accumulate:
            where = torch.from_numpy(np.array(place.reshape(-1)))
            flat = old.reshape(-1).index_put((where,), new.reshape(-1), accumulate=accumulate)
            fresh = flat.view(old.shape)
        else:
            fresh = old.clone(memory_format=torch.contiguous_format)
            fresh.view(-1).numpy()[place] = new.numpy()
        root._t = fresh
        if fresh.requires_grad:
            root.looked = False
            active().record(root, fresh)

    def __getitem__(self, key: Any) -> Any:
        key = key_of(key)
        parts = key if isinstance(key, tuple) else (key,)
        kinds = set(map(type, parts))
        if any(kind is bool or not issubclass(kind, int | np.integer) for kind in kinds - BASIC):
            return self._fancy(key, parts)
        fast = slice not in kinds or all(type(k) is not slice or k.step is None or k.step > 0 for k in parts)
        tensor = self.t[key] if fast else None
        if tensor is not None and tensor.ndim == 0 and type(Ellipsis) not in kinds:
            self.used()
            return self.alike(tensor.reshape(()))
        return self.view_of(tensor, lambda index: index[key])

    def _fancy(self, key: Any, parts: tuple[Any, ...]) -> "Traced":
        if len(parts) == 1 and isinstance(parts[0], np.ndarray) and parts[0].dtype.kind in "iu":
            rows = torch.from_numpy(np.array(parts[0], dtype=np.int64) % max(len(self), 1))
            return self.alike(self.used()[rows])
        place = count(self.shape)[key]
        out = self.alike(self.used().reshape(-1)[torch.from_numpy(np.array(place))])
        out.scalar = not place.ndim
        return out

    def __setitem__(self, key: Any, value: Any) -> None:
        self.write(key, value)

    def settle(self, tensor: Tensor) -> None:
        """It is a fresh array from here on, and no view."""
        self._t, self._root, self._locate = tensor, None, None

    # NumPy's protocols
    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        if self.grows:
            raise UntraceableError("an array of the graph was wanted as plain numbers")
        return np.array(self.value, dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from mlp_torch.check.functions.eager.ufuncs import apply

        with operation([*inputs, *kwargs.values()]):
            return apply(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from mlp_torch.check.functions.eager.functions import call

        with operation([*args, *kwargs.values()]):
            return call(func, args, kwargs)

    # what an ndarray has

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Any:
        wanted = shape[0] if len(shape) == 1 else shape
        wanted = tuple(wanted) if isinstance(wanted, list | tuple) else (int(wanted),)
        wanted = tuple(int(n) for n in wanted)
        if order != "C":
            return self.view_of(None, lambda index: np.reshape(index, wanted, order=order))  # type: ignore[call-overload]  # order: str
        tensor = self.t.reshape(wanted)
        if tensor.data_ptr() != self.t.data_ptr():
            self.used()
            return self.alike(tensor)
        return self.view_of(tensor, lambda index: index.reshape(tensor.shape))

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int | np.integer) else axes
        order = tuple(int(a) for a in order) if order else tuple(reversed(range(self.ndim)))
        return self.view_of(self.t.permute(order), lambda index: index.transpose(order))

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        kind = np.dtype(dtype)
        if kind.kind == "f":
            return self.alike(self.used().clone(), coarse(kind))
        if kind.kind == "c":
            return self.alike(self.used().to(torch.complex128))
        return self.value.astype(dtype).view(Plain)

    def copy(self, order: str = "C") -> "Traced":
        return self.alike(self.used().clone())

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> "Traced":
        out = Traced(self.t)
        out.scalar, out.name, out.looked = self.scalar, self.name, self.looked
        out.kind, out._coarsest = self.kind, self.coarsest
        return out


Plain.joined = Traced.constant


def made(tensor: Tensor) -> Traced:
    """A fresh array, noted with the line that made it."""
    out = Traced(tensor)
    out.scalar = tensor.ndim == 0
    out.kind, out._coarsest = active().now
    if tensor.requires_grad:
        active().record(out, tensor)
    return out


def calculated(tensor: Tensor) -> Traced:
    """What an operation gave: fresh, and with a rounding error where the run is to have them."""
    out = made(active().disturb(tensor))
    out._coarsest = max(out._coarsest, out.kind)
    return out


def scalar(tensor: Tensor) -> Traced:
    return made(tensor.reshape(()))


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


def wrapped(found: Any) -> Any:
    """What NumPy gave, as the run wants it: floats may be written into later, the rest stays plain."""
    if isinstance(found, tuple | list):
        items = [wrapped(f) for f in found]
        return type(found)(items) if type(found) in (tuple, list) else tuple(items)
    kind, coarsest = active().now
    if isinstance(found, np.ndarray | np.floating) and (found.ndim or max(kind, coarsest) > FINE):
        if found.dtype.kind in "fc":
            out = Traced.constant(found)
            out.scalar, out.kind = not found.ndim, max(kind, out.kind)
            out._coarsest = max(coarsest, kind)
            return out
        return found.view(Plain) if found.dtype.kind in "biu" else found
    if isinstance(found, np.ndarray):
        return found[()]
    return found
