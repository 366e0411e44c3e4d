"""The line that mends: small edits of a guilty statement, kept only where a run makes every gradient right."""

import ast
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.candidates import Candidate
from mlp_torch.check.lines.draws import Draw, close
from mlp_torch.check.lines.edits import Edit, Scope, applied, edits, reads, snapshot, span
from mlp_torch.check.lines.program import Program, Source, codes_of
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.sites import Site

NEAR = 1e-7


@dataclass(frozen=True)
class Mended:
    """`before` and `after`: the statement's text; `edits` what was done, all in one file."""

    file: str
    line: int
    before: str
    after: str
    edit: Edit

    @property
    def cost(self) -> float:
        return self.edit.cost


class Mender:
    """Edits of statements, run on every draw."""

    def __init__(self, program: Program, draws: Sequence[Draw], deadline: float) -> None:
        self.program, self.draws, self.deadline = program, draws, deadline
        self.held: list[tuple[str, Edit]] = []  # edits that stay made, by file
        self.runs = 0

    def source(self, site: Site) -> Source | None:
        return self.program.sources.of(site.file)

    def mend(
        self, site: Site, candidate: Candidate | None, arrays: frozenset[str], most: int = 1500
    ) -> list[Mended]:
        """The cheapest edits of a site's statement that make `arrays` right on every draw, spoiling none."""
        source = self.source(site)
        if source is None:
            return []
        tree = ast.parse(source.text)
        statement, function = enclosing(tree, site)
        if statement is None or function is None:
            return []
        root = root_of(statement, site)
        place, wanted = self._wanted(site, candidate)
        scope = self._scope(site, place)
        if scope is None:
            return []
        scope.also(list(reads(function)))
        if site.kind in ("post", "bind") or root is None:
            root, wanted = None, None
        found: list[Mended] = []
        tried = 0
        cheapest = np.inf
        for edit in edits(statement, root, source.lines, scope):
            if edit.cost > cheapest + 0.25 or tried >= most or time.monotonic() > self.deadline:
                break
            if wanted is not None and root is not None and within(edit.span, span(root)):
                if not self._gives(edit, root, source, scope, wanted):
                    continue
            tried += 1
            if self.works(source, edit, function, arrays):
                cheapest = min(cheapest, edit.cost)
                before, after = shown(source.lines, edit)
                found.append(Mended(site.file, edit.span[0], before, after, edit))
                if len(found) >= 4:
                    break
        return found

    def _wanted(self, site: Site, candidate: Candidate | None) -> tuple[At, Array | None]:
        draw = self.draws[0]
        if candidate is None:
            ks = draw.backward(site.number)
            return (site.number, ks[0] if ks else 0), None
        arrays = candidate.arrays(draw) or {}
        wrong = [at for at, a in arrays.items() if not close(draw.values[at[0]][at[1]], a)]
        at = min(wrong or arrays, key=lambda at: draw.order[at])
        return at, arrays[at]

    def _scope(self, site: Site, place: At) -> Scope | None:
        draw, recorder = self.draws[0], self.program.recorder
        recorder.watched = place
        recorder.seen = None
        try:
            self.program.run(draw.parameters, draw.data)
        except Exception:
            return None
        finally:
            recorder.watched = None
        if recorder.seen is None:
            return None
        return Scope(*recorder.seen)

    def _gives(self, edit: Edit, root: ast.expr, source: Source, scope: Scope, wanted: Array) -> bool:
        """Whether the statement's value is the wanted one with the edit, in the variables seen there."""
        lines = applied(source.lines, edit)
        first, start, last, end = span(root)
        grown = len(lines) - len(source.lines)
        tail = source.lines[last - 1].encode()[end:]
        text = "\n".join(lines[first - 1 : last + grown]).encode()[start:]
        text = text[: len(text) - len(tail)] if tail else text
        try:
            value = np.asarray(scope.read("(" + text.decode().strip() + ")"), dtype=float)
        except Exception:
            return False
        if value.shape != wanted.shape:
            if value.size != wanted.size or value.squeeze().shape != wanted.squeeze().shape:
                return False
            value = value.reshape(wanted.shape)
        gap = float(np.linalg.norm(value - wanted))
        return gap <= NEAR * max(float(np.linalg.norm(wanted)), 1e-12)

    def works(self, source: Source, edit: Edit, function: ast.AST, arrays: frozenset[str]) -> bool:
        """Whether `arrays` are right on every draw with this edit and those made before it, and the right
        ones stay so."""
        code = self.edited(source, [edit], function)
        if code is None:
            return False
        for draw in self.draws:
            self.runs += 1
            try:
                loss, hand = self.program.run(draw.parameters, draw.data, code=code)
            except Exception:
                return False
            if not abs(float(loss) - draw.loss) <= NEAR * max(abs(draw.loss), 1e-12):
                return False
            wrong = set(draw.wrong) - arrays
            if not all(draw.right(n, hand) for n in draw.true if n not in wrong):
                return False
        return True

    def edited(
        self, source: Source, made: Sequence[Edit], function: ast.AST
    ) -> Callable[[types.CodeType], types.CodeType] | None:
        """What gives the code of a function with edits made; code that is not theirs as it is."""
        mine = [e for f, e in self.held if f == source.file]
        lines = source.lines
        for edit in sorted([*made, *mine], key=lambda e: e.span, reverse=True):
            lines = applied(lines, edit)
        first, last = function.lineno, function.end_lineno  # type: ignore[attr-defined]
        decorators = getattr(function, "decorator_list", [])
        first = min([first, *(d.lineno for d in decorators)])
        grown = len(lines) - len(source.lines)
        try:
            codes = compiled(lines, first, last + grown, source.file)
        except (SyntaxError, ValueError):
            return None

        def code(given: Any) -> Any:
            if given.co_filename != source.file:
                return given
            key = (given.co_qualname.rpartition("<locals>.")[2].rpartition(".")[2], given.co_firstlineno)
            found = codes.get(key)
            return found if found is not None and found.co_freevars == given.co_freevars else given

        return code


def compiled(lines: Sequence[str], first: int, last: int, file: str) -> dict[tuple[str, int], types.CodeType]:
    """The code objects of the function on these lines, by the last part of the name and the first line."""
    body = lines[first - 1 : last]
    indent = len(body[0]) - len(body[0].lstrip())
    if indent:  # a method: inside a class, so that names with two underscores are the class's
        text = "\n".join(["if 1:", *body])
        tree = ast.parse(text)
        ast.increment_lineno(tree, first - 2)
    else:
        tree = ast.parse("\n".join(body))
        ast.increment_lineno(tree, first - 1)
    found = codes_of(compile(tree, file, "exec"))
    return {(name.rpartition(".")[2], line): code for (name, line), code in found.items()}


def enclosing(tree: ast.AST, site: Site) -> tuple[ast.stmt | None, ast.AST | None]:
    """The smallest statement that holds the site, and the outermost function around it."""
    statement: ast.stmt | None = None
    function: ast.AST | None = None
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or node.end_lineno is None:
            continue
        if not node.lineno <= site.line <= node.end_lineno:
            continue
        if isinstance(node, ast.FunctionDef):
            if function is None:
                function = node
        elif not isinstance(node, ast.ClassDef | ast.For | ast.While | ast.If | ast.With | ast.Try):
            statement = node
    return statement, function


def root_of(statement: ast.stmt, site: Site) -> ast.expr | None:
    """The expression of a site in the untouched tree."""
    for node in ast.walk(statement):
        if isinstance(node, ast.expr) and (node.lineno, node.col_offset) == (site.line, site.column):
            if ast.unparse(node) == site.text:
                return node
    return None


def within(inner: tuple[int, int, int, int], outer: tuple[int, int, int, int]) -> bool:
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]


def shown(lines: Sequence[str], edit: Edit) -> tuple[str, str]:
    """The edited lines before and after."""
    first, _, last, _ = edit.span
    before = lines[first - 1 : last]
    after = applied(lines, edit)
    count = last - first + 1 + len(after) - len(lines)
    return "\n".join(before), "\n".join(after[first - 1 : first - 1 + count])


__all__ = ["Mended", "Mender", "snapshot"]
