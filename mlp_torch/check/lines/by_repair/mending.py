"""The line that mends: small edits of a statement, kept only where a run makes every gradient right."""

import ast
import contextlib
import time
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import FrameType
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.by_repair.edits import edits
from mlp_torch.check.lines.by_repair.program import Repairable
from mlp_torch.check.lines.by_repair.scope import Scope
from mlp_torch.check.lines.candidates import Candidate
from mlp_torch.check.lines.draws import Draw, close
from mlp_torch.check.lines.program import Source, key_of
from mlp_torch.check.lines.recording import At, copied
from mlp_torch.check.lines.scopes import Scopes, reads
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.syntax import (
    Edit,
    Span,
    applied,
    compiled,
    enclosing,
    moved,
    root_of,
    roots_of,
    shown,
    span,
    within,
)
from mlp_torch.check.lines.trials import Mended

NEAR = 1e-7


class Mender:
    """Edits of statements, run on every draw."""

    def __init__(self, program: Repairable, draws: Sequence[Draw], deadline: float) -> None:
        self.program, self.draws, self.deadline = program, draws, deadline
        self.held: list[tuple[str, Edit]] = []  # edits that stay made, by file
        self.runs = 0

    @cached_property
    def scopes(self) -> Scopes[Scope]:
        return Scopes(self.program, self.draws[0], self.program.scope)

    def source(self, site: Site) -> Source | None:
        return self.program.sources.of(site.file)

    def mend(
        self, site: Site, candidate: Candidate | None, arrays: frozenset[str], most: int = 1500,
        dearest: float = np.inf,
    ) -> list[Mended]:  # fmt: skip
        """The cheapest edits of a site's statement that make `arrays` right on every draw, spoiling none."""
        source = self.source(site)
        if source is None:
            return []
        statement, function = enclosing(source.tree, site.line)
        if statement is None or function is None:
            return []
        root = root_of(statement, site)
        place, wanted = self._wanted(site, candidate)
        scope = self._scope(site, place)
        if scope is None:
            return []
        if site.kind in ("post", "bind", "output") or root is None:
            root, wanted = None, None
        return self._cheapest(source, statement, function, root, wanted, scope, arrays, most, dearest)

    def anywhere(self, file: str, line: int, arrays: frozenset[str], dearest: float) -> list[Mended]:
        """Edits of the statement on a line, up to a cost, whatever its value is."""
        source = self.program.sources.of(file)
        if source is None:
            return []
        statement, function = enclosing(source.tree, line)
        scope = self.scopes.at(file, line)
        if statement is None or function is None or scope is None:
            return []
        return self._cheapest(source, statement, function, None, None, scope, arrays, 1500, dearest)

    def _cheapest(
        self, source: Source, statement: ast.stmt, function: ast.AST, root: ast.expr | None,
        wanted: Array | None, scope: Scope, arrays: frozenset[str], most: int, dearest: float = np.inf,
    ) -> list[Mended]:  # fmt: skip
        scope.also(list(reads(function)))
        later = self.scopes.again.get((source.file, statement.lineno))
        seen = [scope] if later is None else [scope, later]
        old: dict[Span, list[Any]] = {}
        for one in roots_of(statement):
            with contextlib.suppress(Exception):
                old[span(one)] = [self._value(span(one), source.lines, source.lines, s) for s in seen]
        found: list[Mended] = []
        tried = 0
        cheapest = np.inf
        offered = edits(statement, root, source.lines, scope)
        if root is None:
            offered = sorted([*offered, *moved(source, statement)], key=lambda e: e.cost)
        for edit in offered:
            if edit.cost > min(cheapest + 0.25, dearest) or tried >= most or time.monotonic() > self.deadline:
                break
            if wanted is not None and root is not None and within(edit.span, span(root)):
                if not self._gives(edit, root, source, scope, wanted):
                    continue
            elif self._idle(edit, source, seen, old):
                continue
            tried += 1
            if self.works(source, edit, function, arrays):
                cheapest = min(cheapest, edit.cost)
                before, after = shown(source.lines, edit)
                found.append(Mended(source.file, edit.span[0], before, after, edit))
                if len(found) >= 4:
                    break
        return found

    def _idle(
        self, edit: Edit, source: Source, scopes: Sequence[Scope], old: Mapping[Span, Sequence[Any]]
    ) -> bool:
        """Whether an edit changes nothing the first two times, or does not run there."""
        at = next((s for s in old if within(edit.span, s)), None)
        if at is None:
            return False
        lines = applied(source.lines, edit)
        for scope, was in zip(scopes, old[at], strict=True):
            try:
                new = self._value(at, source.lines, lines, scope)
            except Exception:  # whatever the author's expression raises: it may be worth a run
                return True
            numbers = (np.ndarray, np.number, float)
            if not (isinstance(new, numbers) and isinstance(was, numbers)):
                return False
            if np.any(was) and not np.any(new):
                return True  # nothing at all is no slip of a variable
            if np.shape(new) != np.shape(was) or not np.array_equal(new, was):
                return False
        return True

    @staticmethod
    def _value(at: Span, lines: Sequence[str], edited: Sequence[str], scope: Scope) -> Any:
        """The expression at a span of `lines` as it stands in `edited`, read in the scope."""
        first, start, last, end = at
        grown = len(edited) - len(lines)
        tail = len(lines[last - 1].encode()) - end
        text = "\n".join(edited[first - 1 : last + grown]).encode()[start:]
        return scope.read("(" + text[: len(text) - tail].decode().strip() + ")")

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
        seen: list[tuple[dict[str, Any], dict[str, Any]]] = []

        def watch(at: At, frame: FrameType) -> None:
            if at == place and not seen:
                seen.append((frame.f_globals, {k: copied(v) for k, v in frame.f_locals.items()}))

        recorder.watched, recorder.watch = frozenset({place[0]}), watch
        try:
            self.program.run(draw.parameters, draw.data)
        except Exception:  # whatever the author's code raises: nothing is seen
            return None
        finally:
            recorder.watched, recorder.watch = frozenset(), None
        return self.program.scope(*seen[0]) if seen else None

    def _gives(self, edit: Edit, root: ast.expr, source: Source, scope: Scope, wanted: Array) -> bool:
        """Whether the statement's value is the wanted one with the edit, in the variables seen there."""
        try:
            found = self._value(span(root), source.lines, applied(source.lines, edit), scope)
            value = np.asarray(found, dtype=float)
        except Exception:  # whatever an edited expression raises: it gives nothing
            return False
        if value.shape != wanted.shape:
            if value.size != wanted.size or value.squeeze().shape != wanted.squeeze().shape:
                return False
            value = value.reshape(wanted.shape)
        gap = float(np.linalg.norm(value - wanted))
        return gap <= NEAR * max(float(np.linalg.norm(wanted)), 1e-12)

    def works(self, source: Source, edit: Edit, function: ast.AST, arrays: frozenset[str]) -> bool:
        """Whether `arrays` are right on every draw with this edit and those made before it, and the right
        ones stay so.
        """
        code = self.edited(source, [edit], function)
        if code is None:
            return False
        for draw in self.draws:
            self.runs += 1
            try:
                loss, hand = self.program.run(draw.parameters, draw.data, code=code)
            except Exception:  # whatever an edited program raises: it mends nothing
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
        first, last = function.lineno, function.end_lineno  # type: ignore[attr-defined]  # a function's node has both
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
            found = codes.get(key_of(given))
            return found if found is not None and found.co_freevars == given.co_freevars else given

        return code
