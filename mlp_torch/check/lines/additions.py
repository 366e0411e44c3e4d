"""A statement that is missing: `target += expression`, found by what its sum over all rounds would mend."""

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.mender import Mender
from mlp_torch.check.lines.numbers import said_as
from mlp_torch.check.lines.places import gaps
from mlp_torch.check.lines.rounds import Rounds
from mlp_torch.check.lines.scopes import Scope
from mlp_torch.check.lines.sensitivity import NEAR, Sensitivity
from mlp_torch.check.lines.statements import Root
from mlp_torch.check.lines.syntax import ADDED, Edit, block_of, double_quoted, quoted, roots_of
from mlp_torch.check.lines.terms import Terms
from mlp_torch.check.lines.trials import Attempt, Mended

COST = 1.6
ODD, SCALED, FARTHER = 0.4, 0.2, 0.05  # dearer by this: to what adds nothing up; times a number; elsewhere
MOST_TEXTS, MOST_PLACES = 3, 4
DOUBTFUL = 2.5  # a gap that speaks less for itself by this than the best is not tried
SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.AnnAssign)
Slopes = dict[str, Array]


@dataclass
class Place:
    """A target before one statement, at every time it ran: its slopes, by round and gradient."""

    root: Root
    target: str
    slopes: list[Slopes]
    shapes: list[tuple[int, ...]]
    sum: bool  # whether something is added to it elsewhere, or it is all zero
    old: list[Array] | None = None  # what was there, where it is written and not added to

    @property
    def filled(self) -> Array | float:
        """What an addition takes the place of."""
        return 0.0 if self.old is None else np.concatenate([a.ravel() for a in self.old])

    def of(self, entry: str) -> "Place | None":
        """An entry of the target as a target; None where it has none in some round."""
        try:
            code = compile(f"_array_[{entry}]", "<entry>", "eval")
            scopes = self.root.scopes
            rows = [
                {n: np.asarray(eval(code, {**scope.names, "_array_": s})) for n, s in row.items()}
                for scope, row in zip(scopes, self.slopes, strict=True)
            ]
            shapes = [
                np.shape(eval(code, {**scope.names, "_array_": np.empty(s)}))
                for scope, s in zip(scopes, self.shapes, strict=True)
            ]
            old = self.old and [
                np.asarray(eval(code, {**scope.names, "_array_": a}))
                for scope, a in zip(scopes, self.old, strict=True)
            ]
        except (Exception, SystemExit):  # not so in this round
            return None
        return Place(self.root, f"{self.target}[{entry}]", rows, shapes, self.sum, old)


def additions(mender: Mender) -> Iterator[Mended]:
    """Statements whose addition mends, each where it may have stood, the likeliest first."""
    slopes = mender.sensitivity
    if slopes is None:
        return
    seen: set[tuple[int, int, bool]] = set()
    added: set[tuple[str, str]] = set()
    rounds = Rounds()
    for root, end in _all_roots(mender):
        start = (id(root.statement), id(root.function), end)
        if start in seen or root.node is None or not root.all_seen:
            continue
        seen.add(start)
        root.scopes[0].learn(root.function)
        terms = Terms(root.scopes[0], root.function)
        rounds.enter(root, end)
        for place in _places(mender, slopes, root, terms, end):
            if mender.late:
                return
            for text, said in itertools.islice(_texts(slopes, place, terms, rounds), MOST_TEXTS):
                if (place.target, text) in added:
                    continue
                added.add((place.target, text))
                cost = (
                    COST + ODD * (not place.sum) + SCALED * len(re.findall(r"1 /|\d \*|\w \* \w* \*", said))
                )
                op = "=" if place.old else "-=" if text.startswith("-") else "+="
                statement = f"{place.target} {op} {text.removeprefix('-') if op == '-=' else text}"
                yield from _as_term(mender, root, place, text, cost)
                yield from _where(mender, root, end, statement, cost)


def _all_roots(mender: Mender) -> Iterator[tuple[Root, bool]]:
    """The places before statements, and (True) behind the last one of a block."""
    yield from ((root, False) for root in mender.roots)
    draw, sites = mender.draws[0], mender.program.sources.sites
    for root in mender.roots:
        name = getattr(_only_target(root.statement), "id", "")
        last = block_of(root.source.tree, root.statement)[-1] is root.statement
        if name and last and root.node is not None and roots_of(root.statement) == [root.node]:
            values = draw.values[root.site.number]
            pairs = zip(root.scopes, root.events, strict=False)
            scopes = [Scope(s.globals, {**s.locals, name: values[k]}, s.file) for s, k in pairs]
            yield replace(root, scopes=scopes), True
    if not draw.order:  # nothing of the run was recorded
        return
    number, k = max(draw.order, key=lambda at: draw.order[at])
    for root in {id(r.function): r for r in mender.roots}.values():
        for statement in ast.walk(root.function):
            place = root.source.file, getattr(statement, "lineno", 0)
            if isinstance(statement, ast.Return) and mender.scopes.passes.get(place) == 1:
                scope = mender.scopes.found[place]
                node = statement.value
                yield Root(root.source, statement, root.function, node, sites[number], [k], [scope]), False


def _only_target(statement: ast.stmt) -> ast.AST | None:
    return statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None


def _places(mender: Mender, slopes: Sensitivity, root: Root, terms: Terms, end: bool) -> Iterator[Place]:
    """The arrays, and entries of arrays, that could be added to, where that moves a wrong gradient."""
    scope = root.scopes[0]
    arrays = {**scope.arrays, **{t: scope.read(t) for t in terms.elements}}
    sums = {s.target for s in mender.program.sources.sites if s.kind == "sum"}
    seen: set[int] = set()
    for target in sorted(arrays, key=len):
        if arrays[target].dtype.kind != "f" or id(arrays[target]) in seen or "[:" in target:
            continue
        seen.add(id(arrays[target]))
        if _right(mender, target, arrays[target]):
            continue
        rounds = [
            _slopes(mender, slopes, target, scope, mender.draws[0].order[root.site.number, k] + 0.5 * end)
            for k, scope in zip(root.events, root.scopes, strict=True)
        ]
        if any(r is None for r in rounds):
            continue
        rows = [r[0] for r in rounds if r is not None]
        old = [r[1] for r in rounds if r is not None and r[1] is not None]
        if not any(row.keys() & set(slopes.wrong) for row in rows) or len(old) not in (0, len(rows)):
            continue
        adds = any(s == target or s.startswith(f"{target}[") for s in sums)
        adds = adds or bool(old) or not np.any(root.scopes[-1].read(target))
        shapes = [np.shape(s.read(target)) for s in root.scopes]
        place = Place(root, target, rows, shapes, adds, old or None)
        yield place
        for entry in terms.entries if adds else ():
            part = place.of(entry) if terms.shape_of(target, entry) is not None else None
            if part is not None:
                yield part


def _right(mender: Mender, target: str, value: Array) -> bool:
    """Whether an array is the gradient that it is named after already."""
    ats = [at for _, at in mender.by_target.get(target, ())]
    return bool(value.any()) and any(mender.names.by_name(at, value) for at in ats[:1])


def _slopes(
    mender: Mender, slopes: Sensitivity, target: str, scope: Scope, time: float
) -> tuple[Slopes, Array | None] | None:
    """How gradients move with an array as it stands at a time, and what it holds if it is not filled yet;
    None where that is not known.
    """
    draw, sites = mender.draws[0], mender.program.sources.sites
    try:
        now = np.asarray(scope.read(target))
    except (Exception, SystemExit):  # not there in this round
        return None
    for order, at in reversed(mender.by_target.get(target, ())):
        if order >= time or sites[at[0]].kind == "sum":
            continue
        value, unfilled = draw.values[at[0]][at[1]], "np.empty" in sites[at[0]].text
        if unfilled or np.array_equal(value, now):
            return {n: by[at] for n, by in slopes.slopes.items() if at in by}, value if unfilled else None
    # an array that nothing was written into: one of the gradients as it is given back
    same = [n for n in slopes.wrong if np.array_equal(draw.hand[n], now)]
    return ({same[0]: slopes.random[same[0]]}, None) if len(same) == 1 else None


def _texts(slopes: Sensitivity, place: Place, terms: Terms, rounds: Rounds) -> Iterator[tuple[str, str]]:
    """What may be added to the target, and how it is scaled: its sum over all rounds mends a gradient, and
    moves no right one.
    """
    texts, rows = rounds.rows(place.root, terms.of(place.shapes[0]), place.shapes)
    factors = _factors(slopes, place, rows - place.filled)
    known = [(t, f) for t, f in zip(texts, factors, strict=True) if np.isfinite(f) and t != place.target]
    for text, factor in known:
        if abs(factor - 1) < NEAR:
            yield text, ""
        elif abs(factor + 1) < NEAR and place.old is None:
            yield f"-{text}", ""
    for text, factor in known if place.old is None else ():
        plain = text if not any(sign in text for sign in " @*") else f"({text})"
        if abs(abs(factor) - 1) >= NEAR:
            yield from (
                (f"{said} * {plain}", f"{said} * {plain}") for said in said_as(place.root.scopes[0], factor)
            )


def _factors(slopes: Sensitivity, place: Place, rows: Array) -> Array:
    """The number times which each row mends a gradient to first order; NaN where none does."""
    factors: Array = np.full(len(rows), np.nan)
    spoils = np.zeros(len(rows), dtype=bool)
    for name in slopes.slopes:
        parts = [
            row[name] if name in row else np.zeros(shape)
            for row, shape in zip(place.slopes, place.shapes, strict=True)
        ]
        along = np.concatenate([p.ravel() for p in parts])
        if not along.any():
            continue
        moved, size = rows @ along, np.abs(rows) @ np.abs(along)
        moves = np.abs(moved) > NEAR * size
        if name not in slopes.wrong:
            spoils |= moves
            continue
        found = np.divide(slopes.gaps[name], moved, out=np.full(len(rows), np.nan), where=moves)
        spoils |= moves & (np.abs(found - factors) > 1e-6 * np.abs(factors))
        factors = np.where(moves & np.isnan(factors), found, factors)
    return np.where(spoils, np.nan, factors)


def _as_term(mender: Mender, root: Root, place: Place, text: str, cost: float) -> Iterator[Mended]:
    """The same as one more term of the statement that makes the target, where that gives it a value."""
    if place.sum and not np.any(root.scopes[0].read(place.target)):
        return
    for statement in ast.walk(root.function):
        target = _only_target(statement) if isinstance(statement, ast.stmt) else None
        if target is None or ast.unparse(target) != place.target or not isinstance(statement, ast.Assign):
            continue
        last, end = statement.end_lineno or 0, statement.end_col_offset or 0
        term = f" - {text[1:]}" if text.startswith("-") else f" + {text}"
        term = quoted(term, double_quoted(root.source.lines))
        mended = mender.tried(Attempt(root.source, root.function, Edit((last, end, last, end), term, cost)))
        if mended is not None:
            yield mended


def _where(mender: Mender, root: Root, end: bool, statement: str, cost: float) -> Iterator[Mended]:
    """The addition in the root's block, at the places where it may have stood and where it works."""
    source, block = root.source, block_of(root.source.tree, root.statement)
    (parsed,) = ast.parse(statement).body
    text = quoted(statement, double_quoted(source.lines))
    at = block.index(root.statement) + end
    found = gaps(block, at, parsed, root.function)
    scores = {g.at: g.score for g in found}
    likely = [g for g in found if g.score >= found[0].score - DOUBTFUL][: MOST_PLACES - 1]
    earliest = min(found, key=lambda g: g.at)
    lines: set[int] = set()
    for gap in [*likely, earliest]:
        upper = scores.get(gap.at - 1, -np.inf) >= scores.get(gap.at + 1, -np.inf)
        for edit, line in _edits(block, gap.at, text, upper):
            if line in lines:
                break
            dear = replace(edit, cost=cost + FARTHER * len(lines))
            mended = mender.tried(Attempt(source, root.function, dear))
            if mended is not None:
                lines.add(line)
                yield replace(mended, line=line)
                break


def _edits(block: Sequence[ast.stmt], at: int, statement: str, upper: bool) -> list[tuple[Edit, int]]:
    """The statement in a gap: behind what stands above it, or before what stands below it."""
    found = []
    if at and isinstance(block[at - 1], SIMPLE):
        last, end = block[at - 1].end_lineno or 0, block[at - 1].end_col_offset or 0
        found.append((Edit((last, end, last, end), ADDED + statement, 0.0), last))
    if at < len(block) and isinstance(block[at], (*SIMPLE, ast.Return)):
        first, start = block[at].lineno, block[at].col_offset
        found.append((Edit((first, start, first, start), statement + ADDED, 0.0), first))
    return found if upper else found[::-1]
