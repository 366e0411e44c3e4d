"""The variables before every line of the author's, from one watched run, and what can be read there."""

import ast
import copy
import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import FrameType, FunctionType
from typing import Any, Generic, TypeVar

import numpy as np

from mlp_torch.check.functions.copies import written
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.program import Program

Place = tuple[str, int]
LARGE = 1_000_000  # entries of an array that is not copied
MOST_NAMES = 40
MOST_PHRASES, MOST_LETTERS = 60, 50


@dataclass
class Scope:
    """The variables at a statement, and what an expression there can read."""

    globals: dict[str, Any]
    locals: dict[str, Any]
    file: str = ""
    read_before: dict[str, Any] = field(default_factory=dict)
    phrased: dict[tuple[int, ...], list[str]] = field(default_factory=dict)
    literals: list[str] = field(default_factory=list)
    functions: dict[str, int] = field(default_factory=dict)
    known: ast.AST | None = None
    said: tuple[np.ndarray[Any, Any], list[str]] | None = None  # numbers, and what they are called

    @staticmethod
    def plain(value: Any) -> Any:
        """A value as edits look at it: an array, a number."""
        return value

    @cached_property
    def names(self) -> dict[str, Any]:
        return {**self.globals, **self.locals}

    @cached_property
    def readable(self) -> dict[str, Any]:
        """Text → value: variables, entries of dicts, attributes."""
        found: dict[str, Any] = {}
        for name, value in self.locals.items():
            if name.startswith("_mlp_"):
                continue
            parts = {name: value}
            if isinstance(value, Mapping) and len(value) <= MOST_NAMES:
                parts |= {f"{name}[{key!r}]": held for key, held in value.items() if isinstance(key, str)}
            elif not isinstance(self.plain(value), np.ndarray) and hasattr(value, "__dict__"):
                parts |= {f"{name}.{key}": held for key, held in vars(value).items()}
                for key, held in list(vars(value).items()):
                    if isinstance(held, Mapping) and len(held) <= MOST_NAMES:
                        parts |= {f"{name}.{key}[{k!r}]": v for k, v in held.items() if isinstance(k, str)}
            for text, held in parts.items():
                held = self.plain(held)
                if _number(held):
                    found.setdefault(text, held)
        return found

    def read(self, text: str) -> Any:
        """The value of an expression here; raises what it raises."""
        if text not in self.read_before:
            self.read_before[text] = eval(compile(f"({text})", "<edit>", "eval"), self.names)
        return self.read_before[text]

    def also(self, texts: Sequence[str]) -> None:
        """Further expressions of the function that can be read here."""
        for text in texts:
            if text not in self.readable:
                try:
                    value = self.read(text)
                except (Exception, SystemExit):  # not readable here: no variable to offer
                    continue
                if _number(value):
                    self.readable[text] = value
                    self.__dict__.pop("arrays", None)
                    self.__dict__.pop("shapes", None)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        found = {t: v for t, v in self.readable.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fb"}
        return dict(itertools.islice(found.items(), MOST_NAMES))

    @cached_property
    def shapes(self) -> dict[tuple[int, ...], list[str]]:
        found: dict[tuple[int, ...], list[str]] = {}
        for text, value in self.arrays.items():
            found.setdefault(value.shape, []).append(text)
        return found

    def like(self, shape: tuple[int, ...]) -> list[str]:
        return self.shapes.get(shape, [])

    def widening(self, shape: tuple[int, ...]) -> list[str]:
        """Arrays of other shapes that are broadcast to this one."""
        return [t for s, texts in self.shapes.items() if s and widens(s, shape) for t in texts]

    def phrases(self, shape: tuple[int, ...]) -> list[str]:
        """What the function computes elsewhere, of a shape."""
        return self.phrased.get(shape, [])

    def scalars(self) -> list[str]:
        """Numbers that are no sizes: rates, temperatures, sums; those that are written in the function."""
        named = [
            t for t, v in self.readable.items()
            if isinstance(v, float | np.floating) or (isinstance(v, np.ndarray) and v.ndim == 0)
        ]  # fmt: skip
        return [*named[:12], *self.literals, *self.phrases(())[:8]]

    def calls(self, shape: tuple[int, ...], text: str) -> list[tuple[str, float]]:
        """Calls of the author's functions with a text as the first argument."""
        return [
            (f"{name}({', '.join([text, *rest])})", 1.7 + 0.1 * len(rest))
            for name, count in self.functions.items()
            for rest in itertools.product(self.like(shape), repeat=count - 1)
        ]

    def learn(self, function: ast.AST) -> None:
        """What its function computes, reads and calls anywhere: from here on it can be offered."""
        if self.known is function:
            return
        self.known = function
        self.also(list(reads(function)))
        seen: set[str] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                self.literals.append(str(node.value))
            if isinstance(node, ast.BinOp | ast.Call | ast.UnaryOp) and len(seen) < MOST_PHRASES:
                text = ast.unparse(node)
                if len(text) > MOST_LETTERS or text in seen:
                    continue
                seen.add(text)
                try:
                    value = self.read(text)
                except (Exception, SystemExit):  # not readable here
                    continue
                if isinstance(value, np.ndarray | np.floating | float):
                    self.phrased.setdefault(np.shape(value), []).append(text)
        self.literals = list(dict.fromkeys(self.literals))
        for name, value in self.globals.items():
            if isinstance(value, FunctionType) and written(value.__code__.co_filename):
                count, code = value.__code__.co_argcount, value.__code__
                own = getattr(function, "name", "")  # a call that comes back here might never end
                if 1 <= count <= 2 and code.co_filename == self.file and not self._calls(value, own, set()):
                    self.functions[name] = count

    def _calls(self, function: FunctionType, name: str, seen: set[str]) -> bool:
        """Whether a function is the one of this name, or may call it."""
        if function.__name__ == name:
            return True
        for other in set(function.__code__.co_names) - seen:
            seen.add(other)
            found = self.globals.get(other)
            if other == name or (isinstance(found, FunctionType) and self._calls(found, name, seen)):
                return True
        return False

    def counters(self) -> list[str]:
        """Whole numbers that have a name here: what a loop counts with."""
        whole = [t for t, v in self.readable.items() if isinstance(v, int | np.integer) and t.isidentifier()]
        return whole[:8]

    def sizes(self) -> list[str]:
        """Numbers that people divide by: whole ones of this scope, and the first axes of its arrays."""
        found: dict[int, str] = {}
        for text, value in self.readable.items():
            if isinstance(value, int | np.integer) and 1 < value < 10**6:
                found.setdefault(int(value), text)
            elif isinstance(value, float) and value not in (0.0, 1.0):
                found.setdefault(hash(value), text)
        for text, value in self.readable.items():
            if isinstance(value, np.ndarray):
                for axis, size in enumerate(value.shape):
                    if size > 1:
                        found.setdefault(size, f"{text}.shape[{axis}]")
        for text, value in self.readable.items():
            if isinstance(value, np.ndarray) and value.ndim > 1:
                found.setdefault(value.size, f"{text}.size")
        return list(found.values())[:16]


def widens(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether an array is broadcast to another, larger shape."""
    try:
        return shape != into and np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


def _number(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.number | float | int) and not isinstance(value, bool)


AnyScope = TypeVar("AnyScope", bound=Scope)


class Scopes(Generic[AnyScope]):
    """`at(file, line)`: the variables when a line is reached first; `again` the second time."""

    def __init__(self, program: Program, draw: Draw, scope: type[AnyScope]) -> None:
        self.scope = scope
        self.found: dict[Place, AnyScope] = {}
        self.again: dict[Place, AnyScope] = {}
        self.passes: dict[Place, int] = {}

        before = sys.gettrace()
        sys.settrace(self._entered)
        try:
            program.run(draw.parameters, draw.data, code=program.sources.plain)
        finally:
            sys.settrace(before)

    def _entered(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if written(frame.f_code.co_filename) else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            place = frame.f_code.co_filename, frame.f_lineno
            self.passes[place] = self.passes.get(place, 0) + 1
            if self.passes[place] <= 2:
                held = self.found if self.passes[place] == 1 else self.again
                held[place] = self.scope(frame.f_globals, kept(frame.f_locals), place[0])
        return self._line

    def at(self, file: str, line: int) -> AnyScope | None:
        return self.found.get((file, line))


def kept(values: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Variables as they are now: arrays copied, what cannot be copied as it is; of those that are as they
    were `before`, what was kept then.
    """
    found = {}
    before = before or {}
    memo: dict[int, Any] = {}
    for name, value in values.items():
        shape = getattr(value, "shape", ())
        if isinstance(shape, tuple) and math.prod(shape) > LARGE:
            found[name] = value
            continue
        if type(value) is np.ndarray and _same(value, before.get(name)):
            found[name] = before[name]
            continue
        try:
            found[name] = copy.deepcopy(value, memo)
        except (Exception, SystemExit):  # whatever an object of the author's raises when it is copied
            found[name] = value
    return found


def _same(a: np.ndarray[Any, Any], b: Any) -> bool:
    return type(b) is np.ndarray and a.dtype == b.dtype and a.dtype != object and np.array_equal(a, b)


def reads(function: ast.AST) -> Iterator[str]:
    """The variables, attributes and entries that a function reads anywhere."""
    seen: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Load):
            text = ast.unparse(node)
            if text not in seen and len(text) < 40 and "(" not in text:
                seen.add(text)
                yield text
