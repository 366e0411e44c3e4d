"""Edits of an author's program, tried by running it with them on every draw."""

import ast
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manual.numbers import Array
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.program import Program, Source, key_of
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.syntax import Edit, applied, compiled, narrowed, shown

NEAR = 1e-7


@dataclass(frozen=True)
class Mended:
    """`before` and `after`: the statement's text; `arrays`: the gradients that the edit makes right."""

    file: str
    line: int
    before: str
    after: str
    edit: Edit
    arrays: frozenset[str] = frozenset()
    values: Mapping[At, Array] = field(default_factory=dict, compare=False)  # that the statement has then
    joint: bool = False  # whether it mends them only where other lines are mended too

    @property
    def cost(self) -> float:
        return self.edit.cost


@dataclass(frozen=True)
class Attempt:
    """An edit of a statement, and what a run is needed for: whether it mends."""

    source: Source
    function: ast.AST
    edit: Edit


class Trials:
    """What edits mend of one program's gradients."""

    def __init__(self, program: Program, draws: Sequence[Draw]) -> None:
        self.program, self.draws = program, draws
        self.runs = 0
        self.wrong = frozenset(draws[0].wrong)
        self._asked: set[tuple[tuple[str, Edit], ...]] = set()

    def tried(self, attempt: Attempt) -> Mended | None:
        """What an edit mends, told by running it; None where that is nothing, or it was tried before."""
        arrays = self.first_try(attempt)
        return mended_by(attempt, arrays) if arrays else None

    def first_try(self, *attempts: Attempt) -> frozenset[str] | None:
        """What edits mend together, none where they do not run or spoil what is right; None, too, where they
        were tried before.
        """
        key = tuple((a.source.file, a.edit) for a in attempts)
        if key in self._asked:
            return None
        self._asked.add(key)
        return self.works(*attempts)

    def works(self, *attempts: Attempt) -> frozenset[str] | None:
        """The wrong gradients that these edits make right on every draw; None if they spoil a right one."""
        code = self.edited(attempts)
        found = self.wrong
        for draw in self.draws:
            if code is None:
                return None
            self.runs += 1
            try:
                loss, hand = self.program.run(draw.parameters, draw.data, code=code)
            except (Exception, SystemExit):  # whatever an edited program raises
                return None
            if not abs(float(loss) - draw.loss) <= NEAR * max(abs(draw.loss), 1e-12):
                return None
            right = {n for n in draw.true if draw.right(n, hand)}
            if not right >= set(draw.true) - set(draw.wrong):
                return None
            found &= right
        return found

    def edited(self, attempts: Sequence[Attempt]) -> Callable[[types.CodeType], types.CodeType] | None:
        """What gives the code of a function with edits made; code that is not its own as it is."""
        codes: dict[tuple[str, Any], types.CodeType] = {}
        for source in {a.source.file: a.source for a in attempts}.values():
            mine = sorted(
                (a for a in attempts if a.source is source), key=lambda a: a.edit.span, reverse=True
            )
            lines: Sequence[str] = source.lines
            for attempt in mine:
                lines = applied(lines, attempt.edit)
            for function in {id(a.function): a.function for a in mine}.values():
                try:
                    made = compiled(lines, *_extent(function), source.file)
                except (SyntaxError, ValueError):
                    return None
                codes |= {(source.file, key): code for key, code in made.items()}
        files = {file for file, _ in codes}

        def code(given: Any) -> Any:
            found = codes.get((given.co_filename, key_of(given))) if given.co_filename in files else None
            return found if found is not None and found.co_freevars == given.co_freevars else given

        return code


def mended_by(attempt: Attempt, arrays: frozenset[str], joint: bool = False) -> Mended:
    source, edit = attempt.source, narrowed(attempt.source.lines, attempt.edit)
    return Mended(source.file, edit.span[0], *shown(source.lines, edit), edit, arrays, joint=joint)


def _extent(function: Any) -> tuple[int, int]:
    """The lines of a function, with those of its decorators."""
    decorators = getattr(function, "decorator_list", [])
    return min([function.lineno, *(d.lineno for d in decorators)]), function.end_lineno
