"""All small edits of one statement: those of each of its expressions, and what may be missing in it."""

import ast
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mlp_torch.check.lines.calls import call
from mlp_torch.check.lines.program import Source
from mlp_torch.check.lines.scopes import Scope
from mlp_torch.check.lines.slips import (
    READ,
    Offer,
    Slips,
    comparison,
    constant,
    indexed,
    operation,
    transposed,
    unary,
    variable,
)
from mlp_torch.check.lines.syntax import Edit, crossed, moved, roots_of, span

# what may stand in the place of an expression, by its kind
TABLE: tuple[tuple[Any, Callable[[Slips, Any], Iterator[Offer]]], ...] = (
    (READ, variable),
    ((*READ, ast.Call), transposed),
    (ast.Subscript, indexed),
    (ast.BinOp, operation),
    (ast.UnaryOp, unary),
    (ast.Constant, constant),
    (ast.Compare, comparison),
    (ast.Call, call),
)
# what may be missing beside a value {v}: (forms, cost); {a} is an array of its shape, or that widens to it
FACTORS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("{v} * {a}",), 1.5),
    (("{v} / {a}",), 1.7),
    (("{v} + {a}", "{v} - {a}", "{a} - {v}"), 1.6),
    (
        (
            "{v} * (1 - {a} ** 2)", "{v} * {a} * (1 - {a})", "{v} * ({a} > 0)", "{v} * (1 - {a})",
            "{v} * (1 + {a})", "{v} * ({a} - 1)",
        ),
        1.7,
    ),
    (
        (
            "{v} * np.exp({a})", "{v} * np.cos({a})", "{v} * np.sign({a})", "{v} * (1 - np.tanh({a}) ** 2)",
            "{v} * 2 * {a}", "{v} * -{a}", "{v} * -2 * {a}", "{v} / {a} ** 2", "{v} * {a} ** 2",
        ),
        2.0,
    ),
)  # fmt: skip
SCALED = (("{v} * {s}", 1.5), ("{v} / {s}", 1.4))  # {s} a number that has a name, or a size
ALONE = (
    ("-{v}", 1.2), ("{v} ** 2", 1.6), ("1 - {v}", 1.6), ("1 + {v}", 1.6), ("{v} - 1", 1.7), ("1 / {v}", 1.7),
)  # fmt: skip
WRAPS = ("sign", "sin", "cos", "tanh", "exp", "sqrt", "log", "square")
WHOLE = (
    "{v}.sum(axis=0)", "{v}.sum(axis=1)", "{v}.sum(axis=0, keepdims=True)", "{v}.mean(axis=0)", "{v}[::-1]",
    "{v}.sum(axis=1, keepdims=True)", "{v}.sum(axis=-1, keepdims=True)",
)  # fmt: skip
CENTRED = ("{v} - {v}.mean(axis={axis}, keepdims=True)", "{v} - {v}.sum(axis={axis}, keepdims=True)")
CHEAP = 1.35  # the cost up to which nothing but a sign is missing
INSIDE = 0.2  # dearer by this inside an expression than for the whole of it


def _offer(slips: Slips, node: ast.AST) -> None:
    """All that stands in the table for an expression's kind."""
    if isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        for kinds, make in TABLE:
            for offer in make(slips, node) if isinstance(node, kinds) else ():
                slips.offer(*offer)


def of_expression(root: ast.expr, lines: Sequence[str], scope: Scope, dearest: float = np.inf) -> list[Edit]:
    """Every small edit of what a statement computes, the likeliest first, each text once; up to a cost."""
    slips = Slips(root, lines, scope)
    for node in ast.walk(root):
        _offer(slips, node)
        if isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            for offer in missing(slips, node) if dearest > CHEAP else sign(slips, node):
                slips.offer(*offer)
    for offer in exchanged(slips, root, 1.5) if dearest > CHEAP else ():
        slips.offer(*offer)
    return [e for e in slips.sorted() if e.cost <= dearest]


def of_statement(statement: ast.stmt, lines: Sequence[str], scope: Scope, source: Source) -> list[Edit]:
    """Edits of what is no value: how and where it is assigned, a loop's head, what changes places."""
    slips = Slips(statement, lines, scope)
    value = getattr(statement, "value", None)
    if isinstance(statement, ast.For | ast.While | ast.If | ast.Expr):
        for root in roots_of(statement):
            for node in ast.walk(root):
                _offer(slips, node)
    if len(roots_of(statement)) > 1 and isinstance(value, ast.expr):
        for offer in exchanged(slips, value, 1.2):
            slips.offer(*offer)
    if isinstance(statement, ast.AugAssign | ast.Assign):
        for offer in assigned(slips, statement):
            slips.offer(*offer)
    return sorted(
        [*slips.sorted(), *moved(source, statement), *crossed(source, statement)], key=lambda e: e.cost
    )


def sign(slips: Slips, node: ast.AST) -> Iterator[Offer]:
    """The one that costs no more than CHEAP of what may be missing."""
    if isinstance(node, (ast.BinOp, ast.Call, ast.UnaryOp, *READ)):
        far = 0.0 if node is slips.root else INSIDE
        yield node, f"-{slips.tight(node)}", 1.2 + far


def missing(slips: Slips, node: ast.AST) -> Iterator[Offer]:
    """A sign, a factor, a term or a function that was left out."""
    if not isinstance(node, (ast.BinOp, ast.Call, ast.UnaryOp, ast.Compare, ast.Constant, *READ)):
        return
    value, scope = slips.value(node), slips.scope
    if isinstance(value, bool | np.bool_) or not isinstance(value, np.ndarray | float | int | np.number):
        return
    root, v = node is slips.root, slips.tight(node)
    far = 0.0 if root else INSIDE
    if not isinstance(node, ast.Constant):
        yield from ((node, form.format(v=v), cost + far) for form, cost in ALONE)
        for form, cost in SCALED:
            yield from ((node, form.format(v=v, s=s), cost + far) for s in ("2", "0.5", *scope.sizes()))
            yield from ((node, form.format(v=v, s=s), cost + far) for s in scope.scalars())
        yield from ((node, f"np.{name}({slips.text(node)})", 1.5) for name in WRAPS)
    shape = np.shape(value)
    outer = slips.value(slips.root) if isinstance(slips.root, ast.expr) else value
    whole = np.shape(outer) if isinstance(outer, np.ndarray) else shape
    beside = [*scope.like(shape), *scope.widening(shape)] if shape else []
    if shape != whole and len(whole) >= len(shape):
        beside += [a for a in scope.like(whole) if a not in beside]
    for forms, cost in FACTORS:
        for form, a in itertools.product(forms, beside):
            yield node, form.format(v=v, a=a), cost + far
    for a in [p for s in {shape, whole} for p in scope.phrases(s)]:
        for form, cost in (("{v} * ({a})", 1.65), ("{v} + {a}", 1.8), ("{v} - ({a})", 1.8)):
            yield node, form.format(v=v, a=a), cost + far
    if isinstance(node, ast.Constant):
        return
    for f, a in itertools.product([f for f, count in scope.functions.items() if count == 1], beside):
        yield node, f"{v} * {f}({a})", 1.8 + far
    for called, cost in scope.calls(shape, slips.text(node)):
        yield node, called, cost
    if root and shape:
        yield from ((node, form.format(v=v), 1.7) for form in WHOLE)
        yield from ((node, form.format(v=v, axis=axis), 2.2) for form in CENTRED for axis in ("0", "-1"))
        for a, s in itertools.product(beside, scope.sizes()):
            yield node, f"{v} + {a} / {s}", 2.4
        for a, s in itertools.product(beside, ("2", *scope.sizes(), *scope.scalars())):
            yield node, f"{v} + {s} * {a}", 1.8


def exchanged(slips: Slips, root: ast.expr, cost: float) -> Iterator[Offer]:
    """Two operands of the statement in each other's place."""
    held = (np.ndarray, dict, list, tuple)
    parts = [n for n in ast.walk(root) if isinstance(n, READ) and isinstance(slips.value(n), held)]
    text = slips.text(root).encode()
    for a, b in itertools.combinations(parts, 2):
        x, y = sorted((a, b), key=span)
        if slips.text(x) == slips.text(y) or span(x)[2:] > span(y)[:2]:
            continue
        places = (span(x)[:2], span(x)[2:], span(y)[:2], span(y)[2:])
        i, j, k, m = (_offset(slips, root, *place) for place in places)
        yield root, (text[:i] + text[k:m] + text[j:k] + text[i:j] + text[m:]).decode(), cost


def _offset(slips: Slips, root: ast.AST, line: int, column: int) -> int:
    """Where a place of the file lies in the text of a node, in bytes."""
    first, start, *_ = span(root)
    before = [slips.lines[n - 1].encode() for n in range(first, line)]
    return sum(len(b) + 1 for b in before) + column - start


def assigned(slips: Slips, statement: ast.AugAssign | ast.Assign) -> Iterator[Offer]:
    """= for +=, − for +, and the other way round; another entry of the array that is written into."""
    value, text = slips.text(statement.value), slips.text
    targets = [statement.target] if isinstance(statement, ast.AugAssign) else statement.targets
    if len(targets) == 1 and not isinstance(targets[0], ast.Tuple):
        signs = ("+=", "-=", "=", "*=", "/=") if isinstance(statement, ast.AugAssign) else ("+=", "-=")
        yield from ((statement, f"{text(targets[0])} {sign} {value}", 1.0) for sign in signs)
        if isinstance(statement, ast.AugAssign):
            yield from others(slips, targets[0])
    for target in targets:
        if isinstance(target, ast.Subscript):
            yield from others(slips, target.value)
            yield from indexed(slips, target)
            for node in ast.walk(target.slice):
                _offer(slips, node)
    if isinstance(statement, ast.Assign) and len(targets) == 1 and isinstance(targets[0], ast.Tuple):
        for a, b in itertools.combinations(range(len(targets[0].elts)), 2):
            names = [text(e) for e in targets[0].elts]
            names[a], names[b] = names[b], names[a]
            yield targets[0], ", ".join(names), 1.3


def others(slips: Slips, array: ast.expr) -> Iterator[Offer]:
    """Another array in the place of the one that is written into."""
    value = slips.value(array)
    if isinstance(value, np.ndarray) and value.ndim:
        yield from ((array, other, 1.2) for other in slips.scope.like(value.shape))
