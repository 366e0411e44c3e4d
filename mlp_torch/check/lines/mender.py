"""The line that mends: small edits of a statement, kept only where a run makes gradients right."""

import ast
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.edits import of_expression, of_statement
from mlp_torch.check.lines.halves import Half, pairs
from mlp_torch.check.lines.program import Program
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.repairs import Verified
from mlp_torch.check.lines.scopes import Scope, Scopes
from mlp_torch.check.lines.sensitivity import Sensitivity, sensitivity
from mlp_torch.check.lines.statements import Root, given, roots
from mlp_torch.check.lines.syntax import Edit
from mlp_torch.check.lines.trials import Attempt, Mended, Trials, mended_by


class Mender(Trials):
    """Edits of one program's statements, run on every draw."""

    def __init__(self, program: Program, draws: Sequence[Draw], deadline: float) -> None:
        super().__init__(program, draws)
        self.deadline = deadline
        self._looked = 0
        self._late = False
        self._edits: dict[int, tuple[float, list[Edit]]] = {}
        self.misshapen: list[Attempt] = []  # whose values have another shape than those that are there
        self._recurrent: dict[int, bool] = {}
        self.halves: list[Half] = []
        self.steps: list[tuple[int, Attempt]] = []  # edits of roots after which a value is what is hoped for
        self.hopes: Callable[[At, Array], bool] = lambda _at, _value: False

    @property
    def late(self) -> bool:
        self._looked += 1
        if self._looked % 16 == 1:  # a look at the clock costs as much as an edit
            self._late = time.monotonic() > self.deadline
        return self._late

    @cached_property
    def scopes(self) -> Scopes[Scope]:
        return Scopes(self.program, self.draws[0], Scope)

    @cached_property
    def names(self) -> Verified:
        return Verified(self.draws[0], self.program.sources.sites)

    @cached_property
    def sensitivity(self) -> Sensitivity | None:
        return sensitivity(self.program, self.draws[0])

    @cached_property
    def roots(self) -> list[Root]:
        return roots(self.program, self.draws[0])

    @cached_property
    def by_target(self) -> dict[str, list[tuple[int, At]]]:
        """When which events gave a name or an array its value, in the order of time."""
        draw, sites = self.draws[0], self.program.sources.sites
        found: dict[str, list[tuple[int, At]]] = {}
        for at, order in sorted(draw.order.items(), key=lambda pair: pair[1]):
            if sites[at[0]].target:
                found.setdefault(sites[at[0]].target, []).append((order, at))
        return found

    def edits(self, number: int, dearest: float) -> list[Edit]:
        """The edits of a root up to a cost, the likeliest first."""
        known, made = self._edits.get(number, (-1.0, []))
        if known < dearest:
            root = self.roots[number]
            scope, lines = root.scopes[0], root.source.lines
            scope.learn(root.function)
            if root.node is not None:
                made = of_expression(root.node, lines, scope, dearest)
            else:
                made = of_statement(root.statement, lines, scope, root.source)
            self._edits[number] = dearest, made
        return made

    def predicted(self, low: float, high: float) -> Iterator[Mended]:
        """Edits of low < cost ≤ high whose values mend to first order, and a run says that they do."""
        slopes = self.sensitivity
        if slopes is None:
            return
        for number, root in enumerate(self.roots):
            at = (root.site.number, root.events[0])
            if not root.all_seen or not any(slopes.reach((at[0], k)) for k in root.events):
                continue
            for edit in self.edits(number, high):
                if edit.cost <= low:
                    continue
                if edit.cost > high or self.late:
                    break
                if not root.inside(edit):
                    continue
                try:
                    new = given(root, root.compiled(edit), self.draws[0])
                except (SyntaxError, ValueError):
                    continue
                if new is None:
                    continue
                if slopes.misshapen(new):
                    self.misshapen.append(Attempt(root.source, root.function, edit))
                elif slopes.mends(new):
                    mended = self.tried(Attempt(root.source, root.function, edit))
                    if mended is not None:
                        yield replace(mended, values=new)
                else:
                    self._note(number, Attempt(root.source, root.function, edit), new, slopes)

    def _note(self, number: int, attempt: Attempt, new: Mapping[At, Array], slopes: Sensitivity) -> None:
        """Keep an edit that may mend together with another one."""
        draw, moved = self.draws[0], slopes.moved(new)
        if moved is not None and not slopes.spoils(*moved):
            wrong = np.array([n in slopes.wrong for n in slopes.slopes])
            half = Half(number, attempt, moved[0][wrong], moved[1][wrong])
            if half.moves.any():
                self.halves.append(half)
        first = next((at for at, v in new.items() if not np.array_equal(v, draw.values[at[0]][at[1]])), None)
        if first is not None and self.hopes(first, new[first]):
            self.steps.append((number, attempt))

    @property
    def rounds(self) -> bool:
        """Whether anything in the backward pass runs more than once."""
        return any(len(r.events) > 1 for r in self.roots)

    def towards(self, wanted: Callable[[At, Array], bool], low: float, high: float) -> Iterator[Mended]:
        """Edits of what comes round that give a wanted value the first time that it can be wrong."""
        for number, root in enumerate(self.roots):
            ats = [(root.site.number, k) for k in root.events]
            for edit in self.edits(number, high) if len(ats) > 1 else ():
                if self.late:
                    return
                if edit.cost <= low or not root.inside(edit):
                    continue
                value = root.first(edit, self.draws[0])
                if value is not None and wanted(ats[value[0]], value[1]):
                    attempt = Attempt(root.source, root.function, edit)
                    mended = self.tried(attempt)
                    if mended is not None:
                        yield mended
                    else:
                        self.steps.append((number, attempt))

    def run(self, low: float, high: float) -> Iterator[Mended]:
        """Edits that only a run can judge: heads of loops, statements that change places, other shapes, and
        values that come round again.
        """
        for attempt in self.attempts(high):
            if self.late:
                return
            if low < attempt.edit.cost <= high:
                mended = self.tried(attempt)
                if mended is not None:
                    yield mended

    def misfits(self, high: float, most: int = 400) -> Iterator[Mended]:
        """Edits of what has no slope: of masks, and those after which a value has another shape."""
        attempts = [*self.misshapen, *self.silent(high)]
        for attempt in sorted(attempts, key=lambda a: a.edit.cost)[:most]:
            mended = self.tried(attempt) if attempt.edit.cost <= high and not self.late else None
            if mended is not None:
                yield mended

    def attempts(self, high: float) -> list[Attempt]:
        found = list(self.misshapen)
        functions = {(r.source.file, id(r.function)): r for r in self.roots}
        for (file, _), root in functions.items():
            for statement in ast.walk(root.function):
                if not isinstance(statement, ast.stmt) or statement is root.function:
                    continue
                scope = self.scopes.at(file, statement.lineno)
                if scope is None:
                    continue
                scope.learn(root.function)
                made = of_statement(statement, root.source.lines, scope, root.source)
                found += [Attempt(root.source, root.function, e) for e in made if e.cost <= high]
        slopes = self.sensitivity
        found += self.silent(high)
        for number, root in enumerate(self.roots):
            if slopes is not None and root.all_seen and not self.recurrent(number):
                continue
            found += [
                Attempt(root.source, root.function, e) for e in self.edits(number, high) if e.cost <= high
            ]
        return sorted(found, key=lambda a: a.edit.cost)

    def recurrent(self, number: int) -> bool:
        """Whether only a run judges a root's edits: moved in the first round, its value moves in a later one,
        or the gradients do not move along their slopes.
        """
        if number not in self._recurrent:
            root, draw = self.roots[number], self.draws[0]
            site, first, *later = root.site.number, *root.events
            old = draw.values[site][first]
            moved = {(site, first): old * 1.1 + 0.1}
            try:
                _, hand = self.program.run(draw.parameters, draw.data, moved, recording=bool(later))
            except (Exception, SystemExit):  # whatever the author's code raises at other numbers
                self._recurrent[number] = True
                return True
            now = {e.count: e.value for e in self.program.recorder.events if e.site == site}
            again = any(k not in now or not np.array_equal(now[k], draw.values[site][k]) for k in later)
            slopes = self.sensitivity
            bent = slopes is not None and not slopes.straight(moved, hand)
            self._recurrent[number] = again or bent
        return self._recurrent[number]

    def silent(self, high: float) -> list[Attempt]:
        """Edits of assignments that give no array of floats: a mask where a gradient is meant."""
        found: list[Attempt] = []
        heard = {
            (s.file, s.statement) for s in map(self.program.sources.sites.__getitem__, self.draws[0].values)
        }
        functions = {id(r.function): r for r in self.roots}
        for root in functions.values():
            source = root.source
            for statement in ast.walk(root.function):
                if not isinstance(statement, ast.Assign) or (source.file, statement.lineno) in heard:
                    continue
                scope = self.scopes.at(source.file, statement.lineno)
                if scope is not None:
                    scope.learn(root.function)
                    made = of_expression(statement.value, source.lines, scope, high)
                    found += [Attempt(source, root.function, e) for e in made if e.cost <= high]
        return found

    def next_steps(self, high: float) -> list[Mended]:
        """Of each line the cheapest edit after which a value is what is hoped for, though others stay wrong:
        in the order in which they run.
        """
        best: dict[tuple[str, int], tuple[int, Attempt]] = {}
        for number, attempt in sorted(self.steps, key=lambda step: step[1].edit.cost):
            if attempt.edit.cost <= high:
                best.setdefault((attempt.source.file, attempt.edit.span[0]), (number, attempt))
        found, slopes = [], self.sensitivity
        for number, attempt in sorted(best.values(), key=lambda step: step[0]):
            arrays = self.works(attempt)
            if arrays is not None and slopes is not None:
                root = self.roots[number]
                ats = [(root.site.number, k) for k in root.events]
                reached = frozenset(n for at in ats for n in slopes.reach(at)) & self.wrong
                found.append(mended_by(attempt, reached, joint=True))
        return found

    def both(self) -> list[tuple[Mended, Mended]]:
        """Pairs of edits of which neither mends alone, and both together everything."""
        slopes = self.sensitivity
        if slopes is None:
            return []
        names = [n for n in slopes.slopes if n in slopes.wrong]
        found = []
        for pair in pairs(self.halves, np.array([slopes.gaps[n] for n in names])):
            if self.late:
                break
            if self.first_try(*(half.attempt for half in pair)) == self.wrong:
                found.append((self._told(pair[0], names), self._told(pair[1], names)))
        return found

    def _told(self, half: Half, names: Sequence[str]) -> Mended:
        root, arrays = (
            self.roots[half.number],
            frozenset(n for n, m in zip(names, half.moves, strict=True) if m),
        )
        values = given(root, root.compiled(half.attempt.edit), self.draws[0]) or {}
        return replace(mended_by(half.attempt, arrays, joint=True), values=values)
