"""The statements of the backward pass: what each computes, and the variables there whenever it ran."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.program import Program, Source
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.scopes import Scope, kept
from mlp_torch.check.lines.sites import CHANGING_METHODS, HANDED, Site, array_of
from mlp_torch.check.lines.syntax import Edit, enclosing, root_of, span, within

MOST_EVENTS = 256  # of one expression, at which the variables are kept
MOST_BYTES = 200_000_000  # of all variables that are kept


@dataclass
class Root:
    """One value that a statement computes: the expression `node`, or (`node` is None) the array that it
    changes in place. `scopes`: the variables before each of the `events` of its site.
    """

    source: Source
    statement: ast.stmt
    function: ast.AST
    node: ast.expr | None
    site: Site
    events: list[int]
    scopes: list[Scope] = field(default_factory=list)
    all_seen: bool = True

    @property
    def place(self) -> tuple[str, int]:
        return self.source.file, self.statement.lineno

    def text(self, edit: Edit | None = None) -> str:
        """The expression, or the statement, with an edit made."""
        first, start, last, end = span(self.node or self.statement)
        lines = [line.encode() for line in self.source.lines[first - 1 : last]]
        if edit is None:
            lines[-1] = lines[-1][:end]
            lines[0] = lines[0][start:]
        else:
            a, b, c, d = edit.span
            new = lines[a - first][:b] + edit.text.encode() + lines[c - first][d:]
            tail = len(lines[-1]) - end if c != last else len(lines[c - first]) - end
            lines[a - first : c - first + 1] = [new]
            lines[-1] = lines[-1][: len(lines[-1]) - tail]
            lines[0] = lines[0][start:]
        text = b"\n".join(lines).decode()
        return f"({text})" if self.node is not None else text

    def value(self, code: Any, scope: Scope) -> Any:
        """What the code of this expression or statement gives in a scope; raises what it does."""
        if self.node is not None:
            return eval(code, scope.names)
        names = dict(scope.names)
        target = compile(self.site.text, "<array>", "eval")
        array = eval(target, names)
        before = np.array(array)
        try:
            exec(code, names)
            return np.array(eval(target, names))
        finally:
            if isinstance(array, np.ndarray):
                array[...] = before

    def compiled(self, edit: Edit | None = None) -> Any:
        """Raises SyntaxError, and ValueError where another array than the site's is written into."""
        text = self.text(edit)
        if self.node is not None:
            return compile(text, "<edit>", "eval")
        (statement,) = ast.parse(text).body
        if ast.unparse(array_of(written_to(statement))) != self.site.text:
            raise ValueError(f"{text} does not write into {self.site.text}")
        return compile(text, "<edit>", "exec")

    def first(self, edit: Edit, draw: Draw) -> tuple[int, Array] | None:
        """The first round in which an edit changes the value, and the value; None if it does so in none."""
        try:
            code = self.compiled(edit)
            for i, scope in enumerate(self.scopes):
                value = np.asarray(self.value(code, scope), dtype=float)
                if not np.array_equal(value, draw.values[self.site.number][self.events[i]]):
                    return i, value
        except (Exception, SystemExit):  # whatever an expression raises that nobody wrote
            return None
        return None

    def inside(self, edit: Edit) -> bool:
        return within(edit.span, span(self.node or self.statement))


def written_to(statement: ast.stmt) -> ast.expr:
    """What a statement gives a value, or changes in place."""
    if isinstance(statement, ast.Assign):
        return statement.targets[0]
    if isinstance(statement, ast.AugAssign | ast.AnnAssign):
        return statement.target
    called = getattr(statement, "value", None)
    if isinstance(called, ast.Call):  # np.add.at(x, …), x.fill(…)
        first = called.args[0] if called.args else called.func
        own = isinstance(called.func, ast.Attribute) and called.func.attr in CHANGING_METHODS
        return called.func.value if own and isinstance(called.func, ast.Attribute) else first
    raise ValueError("it writes into nothing")


def roots(program: Program, draw: Draw) -> list[Root]:
    """What the statements of the backward pass compute, in the order in which they ran first."""
    sites = program.sources.sites
    found: list[Root] = []
    wholes: dict[tuple[str, int], Site] = {}  # statements that change an array in place
    for number in draw.values:
        site, events = sites[number], draw.backward(number)
        if not events or draw.gradients(number) is not None or site.kind in ("argument", "bind"):
            continue
        source = program.sources.of(site.file)
        if source is None:
            continue
        statement, function = enclosing(source.tree, site.line)
        if statement is None or function is None:
            continue
        if site.kind == "post":
            wholes[site.file, statement.lineno] = site
            continue
        node = root_of(statement, site)
        if node is not None and (site.assigned or site.target == HANDED or _handed(statement, node)):
            found.append(Root(source, statement, function, node, site, events))
    for root in list(found):
        whole = wholes.pop(root.place, None)
        if whole is not None:
            events = draw.backward(whole.number)
            if len(events) == len(root.events):
                post = Root(root.source, root.statement, root.function, None, whole, events)
                found.append(post)
    _see(program, draw, found)
    found = [r for r in found if r.scopes]
    return sorted(found, key=lambda r: draw.order[r.site.number, r.events[0]])


def _handed(statement: ast.stmt, node: ast.expr) -> bool:
    """Whether an expression is an argument of a function of the author's, or what a list holds."""
    for call in ast.walk(statement):
        if isinstance(call, ast.List | ast.Tuple) and any(e is node for e in call.elts):
            return True
        if isinstance(call, ast.Call) and any(a is node for a in call.args):
            func: ast.expr = call.func
            while isinstance(func, ast.Attribute):
                func = func.value
            return not (isinstance(func, ast.Name) and func.id in ("np", "numpy", "math", "scipy"))
    return False


def _see(program: Program, draw: Draw, found: list[Root]) -> None:
    """Fill in the scopes: one run in which the variables are kept at every value."""
    events: dict[int, dict[int, int]] = {}
    for root in found:
        if root.node is not None:
            events[root.site.number] = {k: i for i, k in enumerate(root.events[:MOST_EVENTS])}
    seen: dict[At, Scope] = {}
    room = [MOST_BYTES]
    last: dict[str, dict[str, Any]] = {}  # of each function: what does not change is kept once

    def watch(at: At, frame: FrameType) -> None:
        if at[1] in events[at[0]] and room[0] > 0:
            name = frame.f_code.co_qualname
            before = last.get(name, {})
            values = last[name] = kept(frame.f_locals, before)
            new = (v for n, v in values.items() if isinstance(v, np.ndarray) and v is not before.get(n))
            room[0] -= sum(v.nbytes for v in new) + 1000
            seen[at] = Scope(frame.f_globals, values, frame.f_code.co_filename)

    recorder = program.recorder
    recorder.watched, recorder.watch = frozenset(events), watch
    try:
        program.run(draw.parameters, draw.data)
    finally:
        recorder.watched, recorder.watch = frozenset(), None
    by_place: dict[tuple[str, int], Root] = {}
    for root in found:
        if root.node is not None:
            ats = [(root.site.number, k) for k in root.events[:MOST_EVENTS]]
            root.scopes = [seen[at] for at in ats if at in seen]
            root.all_seen = len(root.scopes) == len(root.events)
            by_place.setdefault(root.place, root)
    for root in found:
        if root.node is None and root.place in by_place:
            value = by_place[root.place]
            root.scopes, root.all_seen = value.scopes, value.all_seen


def given(root: Root, code: Any, draw: Draw) -> Mapping[At, Array] | None:
    """The values that an edit gives at every event; None where it does not run or changes nothing at all."""
    new = dict(_values(root, code))
    if len(new) < len(root.scopes):
        return None
    site = root.site.number
    same = all(
        a.shape == (old := draw.values[site][k]).shape and np.array_equal(a, old) for (_, k), a in new.items()
    )
    return None if same else new


def _values(root: Root, code: Any) -> Iterator[tuple[At, Array]]:
    for k, scope in zip(root.events, root.scopes, strict=False):
        try:
            value = root.value(code, scope)
        except (Exception, SystemExit):  # whatever an expression raises that nobody wrote
            return
        if not isinstance(value, np.ndarray | np.number | float | int):
            return
        array = np.asarray(value, dtype=float) if np.asarray(value).dtype.kind in "fiub" else None
        if array is None or not np.isfinite(array).all():
            return
        yield (root.site.number, k), array
