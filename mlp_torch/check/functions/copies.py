"""Copies of the author's functions, classes and objects, over globals of our own; no original changes."""

import contextlib
import copy
import functools
import random
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_STANDARD = sysconfig.get_paths()["stdlib"]
_CALLING = {str(Path(__file__).parent), str(Path(__file__).parent / "calling")}
_OURS = str(Path(__file__).parents[2])  # mlp_torch, of which only the calling of functions is copied
KEPT = ("numpy", "scipy", "torch", "pytest", "_pytest", "matplotlib", "pandas", "sklearn", "numba", "jax")


@functools.cache
def author_s(file: str) -> bool:
    """Whether a file is neither Python's, nor a library's that NumPy's arrays pass through, nor ours."""
    if file.startswith(("<frozen", "<__array_function__")):
        return False
    if file.startswith(_OURS):
        return str(Path(file).parent) in _CALLING
    for folder in ("site-packages/", "dist-packages/"):
        if folder in file:
            return file.split(folder)[-1].split("/")[0].removesuffix(".py") not in KEPT
    return not file.startswith(_STANDARD)


@functools.cache
def written(file: str) -> bool:
    """Whether the author wrote it: a file of theirs, a notebook's cell; no installed package, not ours."""
    installed = "site-packages/" in file or "dist-packages/" in file
    return author_s(file) and not file.startswith(_OURS) and not installed


def _module_file(name: str) -> str:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file:
        return str(file)
    return "<frozen>" if name in sys.stdlib_module_names or name == "builtins" else "<string>"


def author_s_class(cls: type) -> bool:
    """Whether the author or a library that is copied wrote it."""
    return author_s(_module_file(cls.__module__))


class Copies:
    """One consistent copy: what is the same object in the author's code is the same object in it.

    `code` gives a function's code, rewritten or not; `extra` are names that every copy's globals hold. A
    subclass says what stands for arrays (`array`), for what libraries give (`instead`) and for builtins.
    """

    builtins: Any = None

    def __init__(
        self, code: Callable[[CodeType], CodeType] = lambda code: code, extra: Mapping[str, Any] | None = None
    ) -> None:
        self.code, self.extra = code, dict(extra or {})
        self.memo: dict[int, Any] = {}
        self.spaces: dict[int, dict[str, Any]] = {}
        self.alive: list[Any] = []
        self.functions: list[tuple[FunctionType, FunctionType]] = []  # the author's, and its copy
        self.other: Callable[[CodeType], CodeType] | None = None  # than its own, for a while
        self.before: list[tuple[FunctionType, CodeType]] = []

    def array(self, value: Any) -> Any:
        return value.copy()

    def instead(self, value: Any) -> Any:
        """What stands for a library's function, class, module or object; None where it stays."""
        return None

    def of(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str | bytes | complex | np.generic):
            return value
        if id(value) in self.memo:
            return self.memo[id(value)]
        self.alive.append(value)
        found = self._new(value)
        self.memo[id(value)] = found
        return found

    def _new(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.array(value)
        other = self.instead(value)
        if other is not None:
            return other
        if isinstance(value, FunctionType):
            return self._function(value) if author_s(value.__code__.co_filename) else value
        if isinstance(value, MethodType):
            if isinstance(value.__self__, np.random.RandomState):
                return value
            return MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, ModuleType):
            file = getattr(value, "__file__", None)
            return _Lazy(value, self) if file and author_s(str(file)) else value
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, BuiltinFunctionType | np.ufunc):
            return value
        if isinstance(value, functools.partial):
            return functools.partial(
                self.of(value.func),
                *map(self.of, value.args),
                **{k: self.of(v) for k, v in value.keywords.items()},
            )
        if isinstance(value, list | dict | tuple | set) and type(value) in (list, dict, tuple, set):
            return self._container(value)
        if isinstance(value, np.random.Generator | np.random.RandomState | random.Random):
            return copy.deepcopy(value)
        if hasattr(type(value), "__array_function__") or type(value).__module__.startswith(KEPT):
            return value
        return self._object(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, list):
            new: Any = []
            self.memo[id(value)] = new
            new.extend(map(self.of, value))
            return new
        if isinstance(value, dict):
            new = {}
            self.memo[id(value)] = new
            new.update({self.of(k) if callable(k) else k: self.of(v) for k, v in value.items()})
            return new
        return type(value)(map(self.of, value))

    def _function(self, f: FunctionType) -> Any:
        inner = getattr(f, "__wrapped__", None)
        space = self._space(f.__globals__)
        cells = tuple(CellType() for _ in f.__closure__ or ())
        code = self.code(f.__code__)
        new = FunctionType(code, space, f.__name__, None, cells or None)
        self.memo[id(f)] = new
        new.__qualname__, new.__module__, new.__doc__ = f.__qualname__, f.__module__, f.__doc__
        self._fill(f.__code__, f.__globals__, space)
        if code is not f.__code__:
            self._fill(code, f.__globals__, space)
        for i, cell in enumerate(f.__closure__ or ()):
            cells_new = self._cell(cell)
            cells = (*cells[:i], cells_new, *cells[i + 1 :])
        if cells:
            again = FunctionType(code, space, f.__name__, None, cells)
            again.__qualname__, again.__module__, again.__doc__ = f.__qualname__, f.__module__, f.__doc__
            for holder in list(self.memo):
                if self.memo[holder] is new:
                    self.memo[holder] = again
            new = again
        self.functions.append((f, new))
        new.__defaults__ = self.of(f.__defaults__) if f.__defaults__ else None
        new.__kwdefaults__ = self.of(f.__kwdefaults__) if f.__kwdefaults__ else None
        for key, held in vars(f).items():
            setattr(new, key, self.of(held) if key != "__wrapped__" else inner)
        self._exchange(f, new)
        return new

    @contextlib.contextmanager
    def exchanged(self, code: Callable[[CodeType], CodeType]) -> Iterator[None]:
        """The copies with other code for a while."""
        self.other, self.before = code, []
        try:
            for original, new in list(self.functions):
                self._exchange(original, new)
            yield
        finally:
            for new, old in self.before:
                new.__code__ = old
            self.other = None

    def _exchange(self, original: FunctionType, new: FunctionType) -> None:
        given = original.__code__ if self.other is None else self.other(original.__code__)
        if given is not original.__code__:
            self.before.append((new, new.__code__))
            self._fill(given, original.__globals__, new.__globals__)
            new.__code__ = given

    def _cell(self, cell: Any) -> Any:
        if id(cell) in self.memo:
            return self.memo[id(cell)]
        self.alive.append(cell)
        new = CellType()
        self.memo[id(cell)] = new
        try:
            held = cell.cell_contents
        except ValueError:
            return new
        new.cell_contents = self.of(held)
        return new

    def _space(self, outside: dict[str, Any]) -> dict[str, Any]:
        if id(outside) not in self.spaces:
            self.alive.append(outside)
            names = ("__name__", "__file__", "__package__", "__spec__", "__loader__", "__doc__")
            space = {k: outside[k] for k in names if k in outside}
            if self.builtins is not None:
                space["__builtins__"] = self.builtins
            space |= self.extra
            self.spaces[id(outside)] = space
        return self.spaces[id(outside)]

    def _fill(self, code: Any, outside: dict[str, Any], space: dict[str, Any]) -> None:
        """The names that the code mentions, and those of the functions inside it."""
        for name in code.co_names:
            if name in outside and name not in space:
                space[name] = None
                space[name] = self.of(outside[name])
        for part in code.co_consts:
            if hasattr(part, "co_names"):
                self._fill(part, outside, space)

    def _class(self, cls: type) -> Any:
        if not author_s_class(cls):
            return cls
        self.memo[id(cls)] = cls  # while it is built
        bases = tuple(map(self.of, cls.__bases__))
        slots = cls.__dict__.get("__slots__", ())
        slots = (slots,) if isinstance(slots, str) else tuple(slots)
        space = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__", *slots)}
        try:
            new = type(cls)(cls.__name__, bases, dict(space))
        except Exception:  # an Enum, a metaclass with arguments: such classes hold no arithmetic
            return cls
        self.memo[id(cls)] = new
        for key, held in space.items():
            if key in ("__slots__", "__doc__", "__module__", "__qualname__", "__annotations__"):
                continue
            try:
                fresh = self._member(held)
                if fresh is not held:
                    setattr(new, key, fresh)
            except Exception:  # what cannot be set is no method
                continue
        return new

    def _member(self, held: Any) -> Any:
        if isinstance(held, staticmethod | classmethod):
            return type(held)(self.of(held.__func__))
        if isinstance(held, property):
            return property(*(self.of(f) for f in (held.fget, held.fset, held.fdel)))
        if isinstance(held, functools.cached_property):
            new = functools.cached_property(self.of(held.func))
            new.attrname = held.attrname
            return new
        return self.of(held)

    def _object(self, value: Any) -> Any:
        cls = self.of(type(value))
        if cls is type(value) and not author_s_class(cls):
            return value
        try:
            new = object.__new__(cls)
        except TypeError:
            return value
        self.memo[id(value)] = new
        for key, held in getattr(value, "__dict__", {}).items():
            new.__dict__[key] = self.of(held)
        for base in type(value).__mro__:
            slots = base.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if hasattr(value, slot) and slot not in ("__dict__", "__weakref__"):
                    object.__setattr__(new, slot, self.of(getattr(value, slot)))
        return new


class _Lazy(ModuleType):
    """A module of the author's, each of its names copied when it is asked for."""

    def __init__(self, original: ModuleType, copies: Copies) -> None:
        super().__init__(original.__name__)
        self.__dict__["_original"], self.__dict__["_copies"] = original, copies

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["_original"], name)
        space = self.__dict__["_copies"]._space(vars(self.__dict__["_original"]))
        if name not in space:
            space[name] = self.__dict__["_copies"].of(value)
        return space[name]
