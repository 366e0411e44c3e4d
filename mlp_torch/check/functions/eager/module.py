"""What stands for `np`, `math` and `float` in the author's code while it is traced, and the copies of it."""

import builtins
import math
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from mlp_torch.check.functions.copies import KEPT, Copies
from mlp_torch.check.functions.eager.array import Traced, made, scalar, tensor_of, wrapped
from mlp_torch.check.functions.eager.composed import LATER
from mlp_torch.check.functions.eager.functions import REDUCTIONS
from mlp_torch.check.functions.eager.ndarray import grows, holds, operation, plain
from mlp_torch.check.functions.eager.run import UntraceableError, active, coarse


class _Number(type):
    """A class of numbers to which the graph's scalars belong, and whose calls keep them in the graph."""

    original: type
    dtype: np.dtype[Any]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Traced):
            if cls.original is float and args[0].size != 1:
                raise TypeError("only arrays of one entry can be converted to Python scalars")
            found = args[0].astype(cls.dtype)
            return found.alike(found.t.reshape(())) if cls.original is float else found
        return cls.original(*args, **kwargs)

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, cls.original) or (isinstance(value, Traced) and value.scalar)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.original)


def _number(original: type, dtype: Any) -> Any:
    space = {"original": original, "dtype": np.dtype(dtype)}
    return _Number(original.__name__, (), space)


class _Arrays(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, np.ndarray) or (isinstance(value, Traced) and not value.scalar)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return wrapped(np.ndarray(*args, **kwargs))


class NDArray(metaclass=_Arrays):
    """`np.ndarray` for isinstance."""


Float = _number(float, float)
NUMBERS = {
    float: Float,
    np.float64: _number(np.float64, np.float64),
    np.float32: _number(np.float32, np.float32),
    np.float16: _number(np.float16, np.float16),
    np.longdouble: _number(np.longdouble, np.float64),
}


def array(value: Any, dtype: Any = None, copy: Any = True, ndmin: int = 0, **_: Any) -> Any:
    if isinstance(value, Traced):
        found = value.astype(dtype) if dtype is not None else (value.copy() if copy else value)
        if isinstance(found, Traced):
            found.scalar = False
    elif holds(value):
        with operation([value]):
            found = made(tensor_of(value))
        found.scalar = False
        if dtype is not None:
            found = found.astype(dtype)
    else:
        a = np.array(value, dtype=_dtype(dtype), ndmin=ndmin)
        if a.dtype.kind == "f":
            coarse(a.dtype)
        return Traced.constant(a) if a.dtype.kind in "fc" else wrapped(a)
    while np.ndim(found) < ndmin:
        found = found[None]
    return found


def asarray(value: Any, dtype: Any = None, **_: Any) -> Any:
    if isinstance(value, Traced) and (dtype is None or np.dtype(_dtype(dtype)) == value.dtype):
        return value
    return array(value, dtype)


def _dtype(dtype: Any) -> Any:
    return getattr(dtype, "dtype", dtype) if isinstance(dtype, _Number) else dtype


def _full(shape: Any, value: Any, dtype: Any = None, **_: Any) -> Any:
    if not isinstance(value, Traced):
        return wrapped(np.full(plain(shape), value, dtype=_dtype(dtype)))
    found = Traced.constant(np.zeros(plain(shape)))
    found.write(Ellipsis, value)
    return found


class Vectorized:
    """np.vectorize: the function, entry by entry."""

    def __init__(self, function: Callable[..., Any], *_: Any, **options: Any) -> None:
        if options.get("signature"):
            raise UntraceableError("np.vectorize with a signature")
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        shape = np.broadcast_shapes(*(np.shape(a) for a in args))
        flat = [np.ravel(np.broadcast_to(a, shape)) for a in args]
        found = [self.function(*row, **kwargs) for row in zip(*flat, strict=True)]
        return array(found).reshape(shape) if shape else found[0]


class _Joined:
    """np.r_ and np.c_ of arrays and numbers; of slices, NumPy's own."""

    def __init__(self, original: Any, columns: bool) -> None:
        self.original, self.columns = original, columns

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(p, slice | str) for p in parts):
            return wrapped(self.original[plain(key)])
        if not self.columns:
            return np.concatenate([np.atleast_1d(asarray(p)) for p in parts])
        return np.concatenate(
            [p if np.ndim(p) > 1 else np.reshape(p, (-1, 1)) for p in map(asarray, parts)], -1
        )


def _from_iterable(values: Any, dtype: Any = None, *_: Any, **__: Any) -> Any:
    return array(list(values), dtype)


OVERRIDES: dict[Any, Any] = {
    np.array: array, np.asarray: asarray, np.asanyarray: asarray, np.ascontiguousarray: asarray,
    np.asfortranarray: asarray, np.full: _full, np.ndarray: NDArray, np.vectorize: Vectorized,
    np.fromiter: _from_iterable, np.asarray_chkfinite: asarray, **NUMBERS,
}  # fmt: skip
_instances: list[tuple[Any, Any]] = [(np.r_, _Joined(np.r_, False)), (np.c_, _Joined(np.c_, True))]
_by_identity = {id(k): v for k, v in [*OVERRIDES.items(), *_instances]}


def replaced(value: Any) -> Any:
    """What stands for a function or class of NumPy's or scipy's, or None."""
    try:
        if id(value) in _by_identity:
            return _by_identity[id(value)]
    except TypeError:
        return None
    module = getattr(value, "__module__", None) or getattr(type(value), "__module__", None) or ""
    if isinstance(value, np.ufunc | type):
        return None
    if isinstance(module, str) and module.startswith(("numpy", "scipy")) and callable(value):
        return _lifted(value)
    owner = getattr(value, "__self__", None)
    if isinstance(owner, np.random.RandomState | np.random.Generator):
        return _lifted(value)
    return None


def _lifted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with floats as arrays of the graph's kind; scipy's own only where the graph knows it."""
    name = getattr(function, "__name__", "")
    known = str(getattr(function, "__module__", "")).startswith("scipy") and {**REDUCTIONS, **LATER}.get(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if "dtype" in kwargs:
            kwargs["dtype"] = _dtype(kwargs["dtype"])
            if kwargs["dtype"] is not None:
                coarse(kwargs["dtype"]) if np.dtype(kwargs["dtype"]).kind == "f" else None
        args = tuple(map(_dtype, args))
        if name in REDUCTIONS or name in LATER:
            args = tuple(array(a) if isinstance(a, list | tuple) and holds(a) else a for a in args)
        if known and grows(list(args)):
            with operation(args):
                return known(*args, **kwargs)
        found = function(*args, **kwargs)
        return wrapped(found) if not isinstance(found, Traced) else found

    call.__name__ = name
    return call


class Module(ModuleType):
    """`np` (or a module inside it) as the author's code sees it."""

    def __init__(self, original: ModuleType) -> None:
        super().__init__(original.__name__)
        self.__dict__["_original"] = original

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["_original"], name)
        if isinstance(value, ModuleType) and value.__name__.startswith(("numpy", "scipy")):
            found: Any = Module(value)
        else:
            found = replaced(value)
            found = value if found is None else found
        self.__dict__[name] = found
        return found


_MATH: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log10": np.log10, "log2": np.log2, "log1p": np.log1p, "expm1": np.expm1, "sqrt": np.sqrt,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "fabs": np.fabs, "atan2": np.arctan2, "pow": np.power, "hypot": np.hypot,
    "copysign": np.copysign, "isnan": np.isnan, "isfinite": np.isfinite, "isinf": np.isinf,
    "fsum": lambda values: sum(values, 0.0), "prod": lambda values, **k: np.prod(array(list(values)), **k),
    "log": lambda x, base=None: np.log(x) if base is None else np.log(x) / np.log(base),
    "erf": lambda x: scalar(torch.erf(tensor_of(x))), "erfc": lambda x: scalar(torch.erfc(tensor_of(x))),
    "lgamma": lambda x: scalar(torch.lgamma(tensor_of(x))),
}  # fmt: skip


def _of_math(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        inside = any(isinstance(a, Traced) or holds(a) for a in args)
        with operation(args):
            return _MATH[name](*args, **kwargs) if inside else original(*args, **kwargs)

    return call


MATH = ModuleType("math")
for _name in dir(math):
    _value = getattr(math, _name)
    setattr(MATH, _name, _of_math(_name, _value) if _name in _MATH else _value)
_from_math = {id(getattr(math, n)): getattr(MATH, n) for n in _MATH}


def of_math(value: Any) -> Any:
    return _from_math.get(id(value))


BUILTINS = {**vars(builtins), "float": Float, "print": lambda *_, **__: None}


class Rebuilt(Copies):
    """Copies that compute on arrays of the graph."""

    builtins = BUILTINS

    def of(self, value: Any) -> Any:
        return value if isinstance(value, Traced) else super().of(value)

    def array(self, value: Any) -> Any:
        if type(value) is np.ndarray and value.dtype.kind in "fc":
            active().of_data(value.dtype)
            return Traced.constant(value)
        return value.copy()

    def instead(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return replaced(value)
        if isinstance(value, MethodType):
            return replaced(value) if isinstance(value.__self__, np.random.RandomState) else None
        if isinstance(value, ModuleType):
            name = value.__name__
            known = name.split(".")[0] in ("numpy", "scipy")
            return MATH if name == "math" else Module(value) if known else None
        if isinstance(value, type):
            found = replaced(value)
            return BUILTINS["float"] if found is None and value is float else found
        if isinstance(value, BuiltinFunctionType | np.ufunc):
            return of_math(value) or replaced(value)
        if hasattr(type(value), "__array_function__") or type(value).__module__.startswith(KEPT):
            return replaced(value)
        return None
