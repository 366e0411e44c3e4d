"""Where in a block a missing statement stood: after what it reads is made, beside what is like it."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# what speaks for a gap between two statements, and how much
WEIGHTS = {
    "first": 1.0,  # right after what it reads was made
    "group": 1.0,  # among the sums that follow there
    "order": -1.5,  # its target is named earlier in the function than one before it, or later
    "kin": 4.0,  # how many names it shares with the sum beside it
    "analogue": 1.0,  # how like its neighbours are to those of the sum most like it
    "same": 1.0,  # sums beside it with the same target
    "after": 1.0,  # behind a sum
    "kin after": 0.5,  # behind the sum that it shares most with
}


@dataclass(frozen=True)
class Gap:
    """Before the statement `at` of a block (its length: at the end); the dearer, the less likely."""

    at: int
    score: float


def gaps(block: Sequence[ast.stmt], at: int, added: ast.stmt, function: ast.AST) -> list[Gap]:
    """Where a statement that can stand before block[at] may have stood, the likeliest first."""
    needs = _names(added) | {base(n) for n in ast.walk(added) if isinstance(n, ast.Subscript)}
    target = base(_target(added))
    low, high = at, at
    while low > 0 and not _stops(block[low - 1], needs, target):
        low -= 1
    while high < len(block) and not _stops(block[high], needs, target) and not _final(block[high]):
        high += 1
    group = low
    while group < high and isinstance(block[group], ast.AugAssign):
        group += 1
    rank, like = _ranks(function), _likest(added, function)
    found = []
    for k in range(low, high + 1):
        before, after = (block[k - 1] if k else None), (block[k] if k < len(block) else None)
        beside = [s for s in (before, after) if isinstance(s, ast.AugAssign)]
        kin = [_kinship(added, s) for s in beside]
        behind = isinstance(before, ast.AugAssign)
        features = {
            "first": float(k == low),
            "group": float(k <= group),
            "order": float(_inverted(block[low:high], k - low, target, rank)),
            "kin": max(kin, default=0.0),
            "analogue": _alike(like[0], before) + _alike(like[1], after) if like else 0.0,
            "same": float(sum(base(s.target) == target for s in beside)),
            "after": float(behind),
            "kin after": max(kin) if behind and kin[0] == max(kin) else 0.0,
        }
        found.append(Gap(k, sum(WEIGHTS[name] * value for name, value in features.items())))
    found.sort(key=lambda g: (-g.score, g.at))
    return found


def base(node: ast.AST) -> str:
    """The array behind x[i]; a constant key is part of its name."""
    while isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant):
        node = node.value
    return ast.unparse(node)


def _target(statement: ast.stmt) -> ast.AST:
    if isinstance(statement, ast.Assign):
        return statement.targets[0]
    return statement.target if isinstance(statement, ast.AugAssign) else statement


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - {"np", "self"}


def _stops(statement: ast.stmt, needs: set[str], target: str) -> bool:
    """Whether a statement gives what is needed another value, or makes the target anew or reads it."""
    for node in ast.walk(statement):
        if isinstance(getattr(node, "ctx", None), ast.Store):
            name = base(node)
            if name in needs and not (name == target and _grows(statement)):
                return True
        elif isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and ast.unparse(node) == target:
            return not _grows(statement)
    return False


def _grows(statement: ast.stmt) -> bool:
    """Whether a statement adds to its target or writes an entry of it."""
    return isinstance(statement, ast.AugAssign) or isinstance(_target(statement), ast.Subscript)


def _final(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Return | ast.Continue | ast.Break)


def _ranks(function: ast.AST) -> dict[str, int]:
    """When each name and each key is read or written first in a function's text."""
    kinds = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant)
    nodes = [n for n in ast.walk(function) if isinstance(n, kinds)]
    nodes.sort(key=lambda n: (n.lineno, n.col_offset))
    found: dict[str, int] = {}
    for node in nodes:
        found.setdefault(repr(node.value) if isinstance(node, ast.Constant) else base(node), len(found))
    return found


def _rank(name: str, ranks: dict[str, int]) -> int | None:
    key = re.search(r"\[('\w+')\]$", name)
    return ranks.get(name, ranks.get(key[1]) if key else None)


def _inverted(block: Sequence[ast.stmt], at: int, target: str, ranks: dict[str, int]) -> bool:
    """Whether a sum before a place has a target that is named later, or one behind it one named earlier."""
    mine = _rank(target, ranks)
    for k, statement in enumerate(block):
        other = _rank(base(statement.target), ranks) if isinstance(statement, ast.AugAssign) else None
        if mine is not None and other is not None and other != mine and (other > mine) == (k < at):
            return True
    return False


def _kinship(a: ast.stmt, b: ast.AugAssign) -> float:
    x, y = _names(a.value) if isinstance(a, ast.AugAssign) else _names(a), _names(b.value)
    return len(x & y) / max(1, len(x | y))


def _likest(added: ast.stmt, function: ast.AST) -> tuple[ast.stmt | None, ast.stmt | None] | None:
    """The neighbours of the function's sum that is most like a statement."""
    text = ast.unparse(added)
    found: list[tuple[float, int, tuple[ast.stmt | None, ast.stmt | None]]] = []
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if not isinstance(body, list):
                continue
            for k, statement in enumerate(body):
                if isinstance(statement, ast.AugAssign):
                    around = (body[k - 1] if k else None), (body[k + 1] if k + 1 < len(body) else None)
                    found.append((_ratio(text, ast.unparse(statement)), -statement.lineno, around))
    return max(found, key=lambda f: f[:2])[2] if found else None


def _alike(a: ast.stmt | None, b: ast.stmt | None) -> float:
    if a is None or b is None:
        return float(a is b)
    return _ratio(ast.unparse(a), ast.unparse(b))


def _ratio(a: str, b: str) -> float:
    return SequenceMatcher(None, a, b, autojunk=False).ratio()
