"""A statement that is missing: `target += expression`, found by what its sum over all rounds would mend."""

import ast
import difflib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.mender import Attempt, Mended, Mender
from mlp_torch.check.lines.scopes import Scope
from mlp_torch.check.lines.sensitivity import NEAR, Sensitivity
from mlp_torch.check.lines.statements import Root
from mlp_torch.check.lines.syntax import ADDED, Edit, block_of, quoted

COST = 1.6
ODD, SCALED = 0.4, 0.2  # dearer by this: to what adds nothing up; times a number
LARGE = 10**5  # entries of an array of which nothing is made
MOST_SCALARS = 12
ALIKE = 0.15  # a likeness that is as good
ONE = (
    "{a}", "{a}.sum(axis=0)", "{a}.sum(axis=0, keepdims=True)", "{a}.sum(axis=1)",
    "{a}.sum(axis=1, keepdims=True)", "{a}.sum(axis=(0, 1))", "{a}.T", "np.sign({a})",
)  # fmt: skip
TWO = ("{a}.T @ {b}", "{a} @ {b}.T", "{a} @ {b}", "{a} * {b}", "np.outer({a}, {b})")
BY_NUMBER = ("{s} * {a}", "({s} - 1) * {a}", "(1 - {s}) * {a}")


@dataclass
class Place:
    """Before one statement, at every time it ran: the slopes of a target there, by round and gradient."""

    root: Root
    target: str
    slopes: list[dict[str, Array]]
    sum: bool  # whether something is added to it elsewhere, or it is all zero


def additions(mender: Mender) -> Iterator[Mended]:
    """Statements whose addition mends, each where what stands beside it is most like it."""
    slopes = mender.sensitivity
    if slopes is None:
        return
    seen: set[tuple[int, int]] = set()
    added: set[tuple[str, str]] = set()
    for root in [*mender.roots, *_ends(mender)]:
        start = (id(root.statement), id(root.function))
        if start in seen or root.node is None or not root.all_seen:
            continue
        seen.add(start)
        root.scopes[0].learn(root.function)
        for place in _places(mender, slopes, root):
            if mender.late:
                return
            for text in itertools.islice(_texts(mender, slopes, place), 3):
                if (place.target, text) in added:
                    continue
                added.add((place.target, text))
                cost = COST + ODD * (not place.sum) + SCALED * (" * " in text) * (1 + ("1 /" in text))
                found = _beside_its_like(mender, root, f"{place.target} += {text}", cost)
                if found is not None:
                    yield found


def _ends(mender: Mender) -> Iterator[Root]:
    """The returns of functions that ran once, where nothing is computed: all that came before can be read."""
    draw, sites = mender.draws[0], mender.program.sources.sites
    number, k = max(draw.order, key=lambda at: draw.order[at])
    for root in {id(r.function): r for r in mender.roots}.values():
        for statement in ast.walk(root.function):
            place = root.source.file, getattr(statement, "lineno", 0)
            if isinstance(statement, ast.Return) and mender.scopes.passes.get(place) == 1:
                scope = mender.scopes.found[place]
                node = statement.value
                yield Root(root.source, statement, root.function, node, sites[number], [k], [scope])


def _places(mender: Mender, slopes: Sensitivity, root: Root) -> Iterator[Place]:
    """The arrays that could be added to before a statement, where that moves a wrong gradient."""
    arrays = root.scopes[0].arrays
    seen: set[int] = set()
    for target in sorted(arrays, key=len):
        if arrays[target].dtype.kind != "f" or id(arrays[target]) in seen:
            continue
        seen.add(id(arrays[target]))
        if _right(mender, target, arrays[target]):
            continue
        rounds = [
            _slopes(mender, slopes, target, scope, mender.draws[0].order[root.site.number, k])
            for k, scope in zip(root.events, root.scopes, strict=True)
        ]
        if all(r is not None for r in rounds) and any(r.keys() & set(slopes.wrong) for r in rounds if r):
            last = root.scopes[-1].read(target)
            sums = (s.target for s in mender.program.sources.sites if s.kind == "sum")
            adds = not np.any(last) or any(s == target or s.startswith(f"{target}[") for s in sums)
            yield Place(root, target, [r for r in rounds if r is not None], adds)


def _right(mender: Mender, target: str, value: Array) -> bool:
    """Whether an array is the gradient that it is named after already."""
    ats = [at for _, at in mender.by_target.get(target, ())]
    return bool(value.any()) and any(mender.names.by_name(at, value) for at in ats[:1])


def _slopes(
    mender: Mender, slopes: Sensitivity, target: str, scope: Scope, time: int
) -> dict[str, Array] | None:
    """How gradients move with an array as it stands at a time; None where that is not known."""
    draw, sites = mender.draws[0], mender.program.sources.sites
    try:
        now = np.asarray(scope.read(target))
    except (Exception, SystemExit):  # not there in this round
        return None
    for order, at in reversed(mender.by_target.get(target, ())):
        if order < time and sites[at[0]].kind != "sum" and np.array_equal(draw.values[at[0]][at[1]], now):
            return {n: by[at] for n, by in slopes.slopes.items() if at in by}
    # an array that nothing was written into: one of the gradients as it is given back
    same = [n for n in slopes.wrong if np.array_equal(draw.hand[n], now)]
    return {same[0]: slopes.random[same[0]]} if len(same) == 1 else None


def _texts(mender: Mender, slopes: Sensitivity, place: Place) -> Iterator[str]:
    """What may be added to the target: its sum over all rounds mends a gradient, and moves no right one."""
    scopes = place.root.scopes
    shape = scopes[0].arrays[place.target].shape
    for text in _made(scopes[0], shape):
        if text == place.target:
            continue
        factor = _factor(slopes, place, text)
        if factor is None:
            continue
        plain = text if not any(sign in text for sign in " @*") else f"({text})"
        if abs(factor - 1) < NEAR:
            yield text
        elif abs(factor + 1) < NEAR:
            yield f"-{plain}"
        else:
            yield from (f"{said} * {plain}" for said in _said(scopes[0], factor))


def _factor(slopes: Sensitivity, place: Place, text: str) -> float | None:
    """The number times which the expression mends a gradient to first order."""
    code = compile(text, "<added>", "eval")
    values = []
    for scope in place.root.scopes:
        try:
            values.append(np.asarray(eval(code, scope.names), dtype=float))
        except (Exception, SystemExit):  # not so in this round
            return None
    factor: float | None = None
    if any(v.shape != s.shape for v, row in zip(values, place.slopes, strict=True) for s in row.values()):
        return None
    for name in slopes.slopes:
        steps = [v * row[name] for v, row in zip(values, place.slopes, strict=True) if name in row]
        moved, size = sum(float(s.sum()) for s in steps), sum(float(np.abs(s).sum()) for s in steps)
        if not np.isfinite(size):
            return None
        if name not in slopes.wrong:
            if abs(moved) > NEAR * size:
                return None
        elif size and abs(moved) > NEAR * size:
            found = slopes.gaps[name] / moved
            if factor is None:
                factor = found
            elif abs(found - factor) > 1e-6 * abs(factor):
                return None
    return factor


def _made(scope: Scope, shape: tuple[int, ...]) -> Iterator[str]:
    """Expressions of the scope's arrays that have a shape, the shortest kinds first."""
    known = {t: v.shape for t, v in scope.arrays.items() if 0 < v.size <= LARGE and v.dtype.kind == "f"}
    arrays = dict(sorted(known.items(), key=lambda pair: len(pair[0])))
    for form, (a, s) in itertools.product(ONE, arrays.items()):
        if _shape(form, s) == shape:
            yield form.format(a=a)
    yield from scope.phrases(shape)
    for form, (a, s), (b, t) in itertools.product(TWO, arrays.items(), arrays.items()):
        if _shape(form, s, t) == shape:
            yield form.format(a=a, b=b)
    for form, (a, s), number in itertools.product(BY_NUMBER, arrays.items(), scope.scalars()[:MOST_SCALARS]):
        if s == shape:
            yield form.format(a=a, s=number)


def _shape(form: str, s: tuple[int, ...], t: tuple[int, ...] = ()) -> tuple[int, ...] | None:
    """The shape that a form gives; None where it does not run."""
    if form in ("{a}", "np.sign({a})"):
        return s
    if form == "{a} * {b}":
        return s if s == t else None
    if form.startswith("np.outer"):
        return (*s, *t) if len(s) == len(t) == 1 else None
    if "@" in form:
        if len(s) != 2 or len(t) != 2:
            return None
        s, t = s[::-1] if "{a}.T" in form else s, t[::-1] if "{b}.T" in form else t
        return (s[0], t[1]) if s[1] == t[0] else None
    try:
        return np.shape(eval(form.replace("{a}", "a"), {"a": np.empty(s), "np": np}))
    except ValueError:
        return None


def _said(scope: Scope, factor: float) -> Iterator[str]:
    """A number by the names of the scope: n, 1 / n, 2 * reg, a * b."""
    known: dict[str, float] = {"2": 2.0, "0.5": 0.5}
    for text in (*scope.sizes(), *scope.scalars()):
        try:
            known[text] = float(scope.read(text))
        except (Exception, SystemExit):  # no number here
            continue
    for (s, x), sign in itertools.product(known.items(), ("", "-")):
        one = -1 if sign else 1
        if abs(one * x - factor) <= 1e-6 * abs(factor):
            yield f"{sign}{s}"
        if x and abs(one / x - factor) <= 1e-6 * abs(factor):
            yield f"{sign}1 / {s}"
    for (s, x), (t, y) in itertools.combinations(known.items(), 2):
        if abs(x * y - factor) <= 1e-6 * abs(factor):
            yield f"{s} * {t}"


def _beside_its_like(mender: Mender, root: Root, added: str, cost: float) -> Mended | None:
    """The addition in the root's block, before or behind the statement that is most like it and where it
    works.
    """
    block = block_of(root.source.tree, root.statement)
    simple = [s for s in block if isinstance(s, ast.Assign | ast.AugAssign | ast.Expr)]
    like = {id(s): difflib.SequenceMatcher(None, added, ast.unparse(s)).ratio() for s in simple}
    source, best = root.source, max(like.values(), default=0.0)
    alike = [s for s in simple if like[id(s)] > best - ALIKE][::-1]  # behind the last of them
    rest = [s for s in simple if s not in alike]
    added = quoted(added, source.lines)
    for statement in [*alike, *sorted(rest, key=lambda s: -like[id(s)])]:
        last, end = statement.end_lineno or statement.lineno, statement.end_col_offset or 0
        edit = Edit((last, end, last, end), ADDED + added, cost)
        found = mender.tried(Attempt(source, root.function, edit))
        if found is not None:
            return replace(found, line=last)
    first, start = root.statement.lineno, root.statement.col_offset
    if not isinstance(root.statement, ast.Return):
        return None
    edit = Edit((first, start, first, start), f"{added}{ADDED}", cost)
    return mender.tried(Attempt(source, root.function, edit))


def _likeness(a: str, b: str) -> float:
    """How many of their names two statements share, and a little how alike their texts are."""
    x, y = (set(re.findall(r"[A-Za-z_]\w*|'\w+'", text)) - {"np", "self"} for text in (a, b))
    return len(x & y) / max(len(x | y), 1) + 0.3 * difflib.SequenceMatcher(None, a, b).ratio()
