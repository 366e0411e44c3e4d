"""The variables before every line of the author's, from one watched run, and what can be read there."""

import ast
import copy
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import numpy as np

from mlp_torch.check.functions.copies import written
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.program import Program

Place = tuple[str, int]
LARGE = 1_000_000  # entries of an array that is not copied
MOST_NAMES = 40


@dataclass
class Scope:
    """The variables at a statement, and what an expression there can read: text → value."""

    globals: dict[str, Any]
    locals: dict[str, Any]
    readable: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in list(self.locals.items()):
            self._add(name, value)
            if isinstance(value, Mapping) and len(value) <= MOST_NAMES:
                for key, held in value.items():
                    if isinstance(key, str):
                        self._add(f"{name}[{key!r}]", held)
            elif not isinstance(value, np.ndarray) and hasattr(value, "__dict__"):
                for key, held in vars(value).items():
                    self._add(f"{name}.{key}", held)

    def _add(self, text: str, value: Any) -> None:
        if text.startswith("_mlp_"):
            return
        if isinstance(value, np.ndarray | np.number | float | int) and not isinstance(value, bool):
            self.readable.setdefault(text, value)

    def read(self, text: str) -> Any:
        """The value of an expression here; raises what it raises."""
        with np.errstate(all="ignore"):
            return eval(compile(text, "<edit>", "eval"), self.globals, dict(self.locals))

    def also(self, texts: Sequence[str]) -> None:
        """Further expressions of the function that can be read here."""
        for text in texts:
            if text not in self.readable:
                try:
                    self._add(text, self.read(text))
                except Exception:  # not readable here: no variable to offer
                    continue

    @property
    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        found = {t: v for t, v in self.readable.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fb"}
        return dict(itertools.islice(found.items(), MOST_NAMES))

    def like(self, shape: tuple[int, ...]) -> list[str]:
        return [t for t, v in self.arrays.items() if v.shape == shape]

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


class Scopes:
    """`at(file, line)`: the variables when a line is reached first; `again` the second time."""

    def __init__(self, program: Program, draw: Draw) -> None:
        self.found: dict[Place, Scope] = {}
        self.again: dict[Place, Scope] = {}
        self.passes: dict[Place, int] = {}

        def plain(code: CodeType) -> CodeType:
            return code

        before = sys.gettrace()
        sys.settrace(self._entered)
        try:
            program.run(draw.parameters, draw.data, code=plain)
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
                held[place] = Scope(frame.f_globals, kept(frame.f_locals))
        return self._line

    def at(self, file: str, line: int) -> Scope | None:
        return self.found.get((file, line))


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as they are now: arrays copied, what cannot be copied as it is."""
    found = {}
    memo: dict[int, Any] = {}
    for name, value in values.items():
        if isinstance(value, np.ndarray) and value.size > LARGE:
            found[name] = value
            continue
        try:
            found[name] = copy.deepcopy(value, memo)
        except Exception:  # whatever an object of the author's raises when it is copied
            found[name] = value
    return found


def reads(function: ast.AST) -> Iterator[str]:
    """The variables, attributes and entries that a function reads anywhere."""
    seen: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Load):
            text = ast.unparse(node)
            if text not in seen and len(text) < 40 and "(" not in text:
                seen.add(text)
                yield text
