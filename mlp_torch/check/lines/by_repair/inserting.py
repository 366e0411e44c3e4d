"""A line that is missing: what would have to be added, and after which line."""

import ast
import itertools
import time
from collections.abc import Iterator, Sequence

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.by_repair.mending import Mender
from mlp_torch.check.lines.by_repair.scope import Scope
from mlp_torch.check.lines.draws import Draw, close
from mlp_torch.check.lines.program import Source
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.syntax import Edit, enclosing
from mlp_torch.check.lines.trials import Mended

COST = 2.0
MOST_TARGETS = 6
SINGLE = ("{a}", "{a}.sum(axis=0)", "{a}.sum(axis=0, keepdims=True)", "{a}.sum(axis=1)",
          "{a}.sum(axis=1, keepdims=True)", "{a}.sum(axis=(0, 1))", "{a}.T")  # fmt: skip
PAIR = ("{a}.T @ {b}", "{a} @ {b}.T", "{a} @ {b}", "{a} * {b}", "np.outer({a}, {b})")


def made_of(scope: Scope, wanted: Array) -> Iterator[str]:
    """Expressions of the scope's variables whose value is `wanted`, the shortest kinds first."""
    known = {t: v for t, v in scope.arrays.items() if v.size <= 10**5 and v.any()}
    arrays = dict(sorted(known.items(), key=lambda pair: len(pair[0])))
    with np.errstate(all="ignore"):
        for form in SINGLE:
            for a, v in arrays.items():
                yield from _scaled(scope, form.format(a=a), _single(form, v), wanted)
        for form in PAIR:
            for (a, v), (b, w) in itertools.product(arrays.items(), repeat=2):
                value = _pair(form, v, w)
                if value is not None:
                    yield from _scaled(scope, form.format(a=a, b=b), value, wanted)


def _single(form: str, v: Array) -> Array | None:
    if form == "{a}":
        return v
    if form.endswith(".T"):
        return v.T if v.ndim == 2 else None
    axes = (0, 1) if "(0, 1)" in form else (1,) if "axis=1" in form else (0,)
    if v.ndim <= len(axes):
        return None
    keep = "keepdims" in form
    total: Array = v.sum(axes, keepdims=keep)
    return total


def _pair(form: str, v: Array, w: Array) -> Array | None:
    if form == "{a} * {b}":
        return v * w if v.shape == w.shape else None
    if form.startswith("np.outer"):
        return np.outer(v, w) if v.ndim == w.ndim == 1 else None
    if v.ndim != 2 or w.ndim != 2:
        return None
    v, w = v.T if "{a}.T" in form else v, w.T if "{b}.T" in form else w
    return v @ w if v.shape[1] == w.shape[0] else None


def _scaled(scope: Scope, text: str, value: Array | None, wanted: Array) -> Iterator[str]:
    if value is None or value.shape != wanted.shape or value.dtype.kind not in "fb":
        return
    square = float((value * value).sum())
    if not np.isfinite(square) or not square:
        return
    c = float((value * wanted).sum()) / square
    if not close(c * value, wanted, 1e-7) or not c:
        return
    plain = text if not any(sign in text for sign in " @*") else f"({text})"
    if abs(c - 1) < 1e-7:
        yield text
    elif abs(c + 1) < 1e-7:
        yield f"-{plain}"
    else:
        for size in ["2", "0.5", *scope.sizes()]:
            try:
                s = float(scope.read(size))
            except Exception:  # not readable here: no factor to offer
                continue
            inverse = 1 / s if s else 0.0
            ways = ((s, "{s} * {t}"), (inverse, "{t} / {s}"), (2 * s, "2 * {s} * {t}"), (-s, "-{s} * {t}"))
            for factor, form in ways:
                if abs(c - factor) <= 1e-7 * abs(c):
                    yield form.format(s=size, t=plain)


def missing_line(
    mender: Mender, draw: Draw, sites: Sequence[Site], places: Sequence[tuple[str, int]],
    arrays: frozenset[str], needed: Sequence[Array],
) -> Mended | None:  # fmt: skip
    """A line `target += …` after one of the places that makes `arrays` right on every draw."""
    for file, line in places:
        if time.monotonic() > mender.deadline:
            return None
        source = mender.program.sources.of(file)
        if source is None:
            continue
        statement, function = enclosing(source.tree, line)
        if statement is None or function is None or isinstance(statement, ast.Return | ast.For | ast.If):
            continue
        last = statement.end_lineno or line
        scope = _after(mender, function, file, last)
        if scope is None:
            continue
        for wanted in needed:
            targets = [t for t, v in scope.arrays.items() if v.shape == wanted.shape and v.dtype.kind == "f"]
            for text in itertools.islice(made_of(scope, wanted), 4):
                for target in targets[:MOST_TARGETS]:
                    if target == text:
                        continue
                    added = f"{target} += {text}"
                    edit = _inserted(source, statement, added)
                    if mender.works(source, edit, function, arrays):
                        edit = _earliest(mender, source, function, edit, added, arrays)
                        at = edit.span[0]
                        before = source.lines[at - 1]
                        return Mended(file, at, before, before + edit.text, edit)
    return None


def _inserted(source: Source, statement: ast.stmt, text: str) -> Edit:
    """A line after a statement, indented as it is."""
    last = statement.end_lineno or statement.lineno
    column = len(source.lines[last - 1].encode())
    return Edit((last, column, last, column), f"\n{' ' * statement.col_offset}{text}", COST)


def _earliest(
    mender: Mender, source: Source, function: ast.AST, edit: Edit, added: str, arrays: frozenset[str]
) -> Edit:
    """The same line as early in its function as it works: beside what it is made of."""
    simple = [
        n for n in ast.walk(function)
        if isinstance(n, ast.Assign | ast.AugAssign | ast.Expr) and (n.end_lineno or 0) < edit.span[0]
    ]  # fmt: skip
    for statement in sorted(simple, key=lambda n: n.lineno):
        earlier = _inserted(source, statement, added)
        if mender.works(source, earlier, function, arrays):
            return earlier
    return edit


def _after(mender: Mender, function: ast.AST, file: str, line: int) -> Scope | None:
    """The variables once a line is done: those at the next line of its function that is reached."""
    end = function.end_lineno or line  # type: ignore[attr-defined]  # a function's node has it
    for following in range(line + 1, end + 1):
        scope = mender.scopes.at(file, following)
        if scope is not None:
            return scope
    return None
