"""The author's functions, classes and objects once more, over globals of our own; theirs stay as they are."""

import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

Code = types.CodeType
LIBRARIES = tuple(
    {str(Path(sysconfig.get_paths()[k]).resolve()) for k in ("stdlib", "platstdlib", "purelib", "platlib")}
)


@cache
def is_authors(file: str | None) -> bool:
    """Whether a file is the author's: no installed package, and nothing of Python's own."""
    if not file or file.startswith("<frozen"):
        return False
    if file.startswith("<"):
        return True  # a notebook cell, or text that was executed
    return not str(Path(file).resolve()).startswith(LIBRARIES)


class Copies:
    """Copies of everything of the author's that a function reaches.

    `substitute` gives what stands in the place of a global (numpy's functions, say), or the value itself;
    `code` gives a function's code, rewritten or not. `extra` are names that every copy's globals hold.
    """

    def __init__(
        self, substitute: Callable[[Any], Any], code: Callable[[Code], Code], extra: Mapping[str, Any]
    ) -> None:
        self.substitute, self.code, self.extra = substitute, code, dict(extra)
        self.made: dict[int, Any] = {}
        self.kept: list[Any] = []  # what ids in `made` belong to stays alive

    def of(self, value: Any) -> Any:
        """The copy of a function, class, module, object or container of them; anything else as it is."""
        if id(value) in self.made:
            return self.made[id(value)]
        new = self.substitute(value)
        if new is not value:
            return self._keep(value, new)
        if isinstance(value, types.FunctionType):
            return self._function(value) if is_authors(value.__code__.co_filename) else value
        if isinstance(value, types.MethodType):
            return types.MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, staticmethod | classmethod):
            return type(value)(self.of(value.__func__))
        if isinstance(value, property):
            return property(*(f and self.of(f) for f in (value.fget, value.fset, value.fdel)))
        if isinstance(value, type):
            return self._class(value) if self._ours(value) else value
        if isinstance(value, types.ModuleType):
            return self._module(value) if is_authors(getattr(value, "__file__", None)) else value
        return self._object(value)

    def globals(self, given: dict[str, Any]) -> dict[str, Any]:
        """The copy of a module's globals."""
        if id(given) in self.made:
            found: dict[str, Any] = self.made[id(given)]
            return found
        new: dict[str, Any] = self._keep(given, dict(given) | self.extra)
        for name, value in given.items():
            if not name.startswith("__"):
                new[name] = self.of(value)
        return new

    def _keep(self, value: Any, new: Any) -> Any:
        self.made[id(value)] = new
        self.kept.append(value)
        return new

    def _function(self, f: types.FunctionType) -> Any:
        cells = tuple(types.CellType() for _ in f.__closure__ or ())
        new = types.FunctionType(
            self.code(f.__code__), self.globals(f.__globals__), f.__name__, f.__defaults__, cells or None
        )
        new.__kwdefaults__ = f.__kwdefaults__
        self._keep(f, new)
        for cell, old in zip(cells, f.__closure__ or (), strict=True):
            try:
                cell.cell_contents = self.of(old.cell_contents)
            except ValueError:
                continue  # an empty cell stays empty
        new.__dict__.update({k: self.of(v) for k, v in f.__dict__.items()})
        new.__qualname__ = f.__qualname__
        return new

    def _ours(self, cls: type) -> bool:
        module = sys.modules.get(cls.__module__)
        file = getattr(module, "__file__", None) if module is not None else "<text>"
        return is_authors(file or "<text>") and cls.__module__ != "builtins"

    def _class(self, cls: type) -> Any:
        bases = tuple(self.of(b) for b in cls.__bases__)
        body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        slots = body.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            body.pop(name, None)
        try:
            new = type(cls)(cls.__name__, bases, {k: v for k, v in body.items() if k in ("__slots__",)})
        except TypeError:
            return self._keep(cls, cls)
        self._keep(cls, new)
        for name, value in body.items():
            if name not in ("__slots__", "__doc__"):
                try:
                    setattr(new, name, self.of(value))
                except (AttributeError, TypeError):
                    continue
        return new

    def _module(self, module: types.ModuleType) -> Any:
        new = types.ModuleType(module.__name__)
        self._keep(module, new)
        new.__dict__.update(self.globals(vars(module)))
        return new

    def _object(self, value: Any) -> Any:
        """Containers and objects of the author's classes, whose class is exchanged; the caller's stay."""
        if type(value) is tuple:
            return tuple(self.of(v) for v in value)
        if type(value) is list:
            items: list[Any] = self._keep(value, [])
            items += [self.of(v) for v in value]
            return items
        if type(value) is dict:
            pairs: dict[Any, Any] = self._keep(value, {})
            pairs.update({k: self.of(v) for k, v in value.items()})
            return pairs
        cls = type(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return cls(*(self.of(v) for v in value))
        if not self._ours(cls) or not hasattr(value, "__dict__"):
            return value
        new = object.__new__(self.of(cls))
        self._keep(value, new)
        for name, held in vars(value).items():
            object.__setattr__(new, name, self.of(held))
        return new
