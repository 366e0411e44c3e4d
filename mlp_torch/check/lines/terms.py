"""What a missing statement may add: entries of arrays, and expressions of a shape, of what is there."""

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mlp_torch.check.lines.scopes import Scope

LARGE = 10**5  # entries of an array of which nothing is made
MOST_SCALARS, MOST_ENTRIES, MOST_PARTS, MOST_DIMS = 12, 10, 60, 4
ONE = (
    "{a}", "{a}.sum(axis=0)", "{a}.sum(axis=0, keepdims=True)", "{a}.sum(axis=1)",
    "{a}.sum(axis=1, keepdims=True)", "{a}.sum(axis=(0, 1))", "{a}.sum()", "{a}.T", "np.sign({a})",
)  # fmt: skip
TWO = (
    "{a}.T @ {b}", "{a} @ {b}.T", "{a} @ {b}", "{a} * {b}", "np.outer({a}, {b})",
    "({a} * {b}).sum(axis={axes})",
)  # fmt: skip
BY_NUMBER = ("{s} * {a}", "({s} - 1) * {a}", "(1 - {s}) * {a}")
Shape = tuple[int, ...]


@dataclass
class Terms:
    """The expressions of one function's arrays at one statement."""

    scope: Scope
    function: ast.AST
    made: dict[Shape, list[str]] = field(default_factory=dict)

    @cached_property
    def entries(self) -> list[str]:
        """What stands between the brackets of the function's arrays: i, :, :, c, x[i, j]."""
        found: dict[str, None] = {}
        for node in ast.walk(self.function):
            if isinstance(node, ast.Subscript) and not isinstance(getattr(node.slice, "value", None), str):
                found.setdefault(ast.unparse(node.slice).removeprefix("(").removesuffix(")"))
        return list(found)[:MOST_ENTRIES]

    @cached_property
    def elements(self) -> list[str]:
        """The arrays in lists of which the function names an element."""
        found: dict[str, None] = {}
        for node in ast.walk(self.function):
            if isinstance(node, ast.Subscript) and isinstance(getattr(node.slice, "value", None), int):
                held = self._read(ast.unparse(node.value))
                if isinstance(held, list | tuple) and len(held) <= MOST_ENTRIES:
                    texts = (f"{ast.unparse(node.value)}[{k}]" for k in range(len(held)))
                    found |= dict.fromkeys(t for t in texts if isinstance(self._read(t), np.ndarray))
        return list(found)

    @cached_property
    def shapes(self) -> dict[Shape, list[str]]:
        """Arrays, parts of arrays and numbers, by shape, those with short names first."""
        known = {t: v.shape for t, v in self.scope.arrays.items() if v.dtype.kind == "f"}
        known |= {t: np.shape(self._read(t)) for t in self.elements}
        parts = [
            f"{t}[{entry}]" for t, s in list(known.items()) for entry in self.entries
            if t.isidentifier() and 1 + entry.count(",") == len(s)
        ]  # fmt: skip
        for text in parts[:MOST_PARTS]:
            value = self._read(text)
            if isinstance(value, np.ndarray | np.floating) and text not in known:
                known[text] = np.shape(value)
        known |= {t: () for t, v in self.scope.readable.items() if isinstance(v, float | np.floating)}
        found: dict[Shape, list[str]] = {}
        for text in sorted(known, key=len):
            if 0 < np.prod(known[text], dtype=int) <= LARGE:
                found.setdefault(known[text], []).append(text)
        return found

    def _read(self, text: str) -> Any:
        try:
            return self.scope.read(text)
        except (Exception, SystemExit):  # not readable here
            return None

    def shape_of(self, target: str, entry: str) -> Shape | None:
        """The shape of an entry of an array; None where it has none, or is no smaller."""
        value = self._read(f"{target}[{entry}]")
        whole = self._read(target)
        if not isinstance(value, np.ndarray | np.floating) or np.shape(value) == np.shape(whole):
            return None
        return np.shape(value)

    def of(self, shape: Shape) -> list[str]:
        """The expressions that have a shape, the shortest kinds first, each once."""
        if shape not in self.made:
            self.made[shape] = list(dict.fromkeys(self._of(shape)))
        return self.made[shape]

    def _of(self, shape: Shape) -> Iterator[str]:
        for form, (s, texts) in itertools.product(ONE, self.shapes.items()):
            if shape_of(form, s) == shape:
                yield from (form.format(a=a) for a in texts)
        yield from self.scope.phrases(shape)
        for form, (s, left), (t, right) in itertools.product(TWO, self.shapes.items(), self.shapes.items()):
            for axes in summed(s, t, shape) if "{axes}" in form else [""]:
                if axes or shape_of(form, s, t) == shape:
                    for a, b in itertools.product(left, right):
                        if a != b and not (a > b and "} * {" in form and (s == t or axes)):
                            yield form.format(a=a, b=b, axes=axes)
        for form, a in itertools.product(BY_NUMBER, self.shapes.get(shape, ())):
            yield from (form.format(a=a, s=s) for s in self.scope.scalars()[:MOST_SCALARS])


def summed(s: Shape, t: Shape, shape: Shape) -> Iterator[str]:
    """The axes over which the product of two shapes is summed to a third."""
    try:
        whole = np.broadcast_shapes(s, t)
    except ValueError:
        return
    if not s or not t or not len(shape) < len(whole) <= MOST_DIMS:
        return
    for axes in itertools.combinations(range(len(whole)), len(whole) - len(shape)):
        if tuple(d for i, d in enumerate(whole) if i not in axes) == shape:
            yield str(axes) if len(axes) > 1 else str(axes[0])


def shape_of(form: str, s: Shape, t: Shape = ()) -> Shape | None:
    """The shape that a form gives; None where it does not run."""
    if form in ("{a}", "np.sign({a})"):
        return s
    if form == "{a} * {b}":
        try:
            return np.broadcast_shapes(s, t)
        except ValueError:
            return None
    if form.startswith("np.outer"):
        return (*s, *t) if len(s) == len(t) == 1 else None
    if "@" in form:
        if ".T" in form and (len(s) != 2 or len(t) != 2):
            return None
        s, t = s[::-1] if "{a}.T" in form else s, t[::-1] if "{b}.T" in form else t
        if not (0 < len(s) <= 2 and 0 < len(t) <= 2) or s[-1] != t[0]:
            return None
        return (*s[:-1], *t[1:])
    if not s:
        return None
    try:
        return np.shape(eval(form.replace("{a}", "a"), {"a": np.empty(s), "np": np}))
    except ValueError:
        return None
