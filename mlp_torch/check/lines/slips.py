"""Small edits in the place of one expression: another variable, a transpose, a sign, an axis, a bound …

Each is what would undo a common slip; a table gives the kinds of expression that it applies to.
"""

import ast
import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mlp_torch.check.lines.scopes import Scope
from mlp_torch.check.lines.syntax import Edit, Span, double_quoted, quoted, segment, span

TIGHT = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Constant)
BINDING = (ast.BinOp, ast.UnaryOp, ast.Attribute, ast.Subscript, ast.Compare)
READ = (ast.Name, ast.Attribute, ast.Subscript)
MOST_ORDERS = 24  # of the axes of a transposition
Offer = tuple[ast.AST, str, float]  # the text in a node's place, and its cost


class Slips:
    """Gathers edits, each text once, at its lowest cost: the dearer, the less it looks like a slip."""

    def __init__(self, root: ast.AST, lines: Sequence[str], scope: Scope) -> None:
        self.root, self.lines, self.scope = root, lines, scope
        self.found: dict[tuple[Span, str], Edit] = {}
        self.double = double_quoted(lines)
        self.parents = {id(part): node for node in ast.walk(root) for part in ast.iter_child_nodes(node)}

    def sorted(self) -> list[Edit]:
        return sorted(self.found.values(), key=lambda e: (e.cost, len(e.text)))

    def offer(self, node: ast.AST, text: str, cost: float) -> None:
        text = quoted(self.bracketed(node, text), self.double)
        key = (span(node), text)
        known = self.found.get(key)
        if text != self.text(node) and (known is None or known.cost > cost):
            self.found[key] = Edit(span(node), text, cost)

    def bracketed(self, node: ast.AST, text: str) -> str:
        """The text in brackets where what stands around it would bind its parts more tightly."""
        parent, signs = self.parents.get(id(node)), _signs(text)
        if node is self.root or not signs or not isinstance(parent, BINDING) or self.in_brackets(node):
            return text
        if isinstance(parent, ast.BinOp):
            first, op = parent.left is node, parent.op
            if isinstance(op, ast.Add) or (isinstance(op, ast.Sub) and (first or signs <= set("*/@"))):
                return text
            if isinstance(op, ast.Mult) and first and signs <= set("*/@"):
                return text
        return f"({text})"

    def in_brackets(self, node: ast.AST) -> bool:
        first, start, last, end = span(node)
        before, after = self.lines[first - 1].encode()[:start], self.lines[last - 1].encode()[end:]
        return before.endswith(b"(") and after.startswith(b")")

    def text(self, node: ast.AST) -> str:
        return segment(self.lines, node)

    def tight(self, node: ast.AST) -> str:
        """Its text, in brackets unless nothing can tear it apart."""
        text = self.text(node)
        return text if isinstance(node, TIGHT) else f"({text})"

    def value(self, node: ast.AST) -> Any:
        try:
            return self.scope.read(self.text(node))
        except (Exception, SystemExit):  # whatever the author's expression raises: it has no value here
            return None


@lru_cache(maxsize=4096)
def _signs(text: str) -> set[str]:
    """The operators that are in no brackets."""
    depth, found = 0, set()
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if not depth and sign in "+-*/@<>=":
            found.add(sign)
    return found


def variable(slips: Slips, node: ast.expr) -> Iterator[Offer]:
    """Another variable of the same shape; a number for a number."""
    value, text, scope = slips.value(node), slips.text(node), slips.scope
    if isinstance(value, np.ndarray) and value.ndim:
        for other in scope.like(value.shape):
            yield node, other, 1.0 + 0.2 * (other.split("[")[0] not in text)
        for phrase in scope.phrases(value.shape):
            yield node, phrase, 1.6
        if value.ndim == 2 and value.shape[0] != value.shape[1]:
            for other in scope.like(value.shape[::-1]):
                yield node, f"{other}.T", 1.6
    elif isinstance(value, list | tuple):
        yield node, f"{text}[::-1]", 1.2
    elif isinstance(value, int | float | np.number | np.ndarray) and not isinstance(value, bool):
        for other in scope.sizes():
            yield node, other, 1.3
        for other in scope.scalars():
            yield node, other, 1.2


def transposed(slips: Slips, node: ast.expr) -> Iterator[Offer]:
    value = slips.value(node)
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node, slips.text(node.value), 1.0
    elif isinstance(value, np.ndarray) and value.ndim == 2:
        yield node, f"{slips.tight(node)}.T", 1.0
    elif isinstance(value, np.ndarray) and value.ndim > 2:
        yield node, f"np.swapaxes({slips.text(node)}, -1, -2)", 1.7


def indexed(slips: Slips, node: ast.Subscript) -> Iterator[Offer]:
    """One step before or after, another counter, the slice's other end, the other axis, another key."""
    index = node.slice
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    for part in parts:
        if isinstance(part, ast.Slice):
            yield from ((part, text, 1.2) for text in (":", ":-1", "1:", "::-1"))
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            held = slips.value(node.value)
            mine = getattr(held.get(part.value), "shape", None) if isinstance(held, dict) else None
            for key in held if mine is not None else ():
                if isinstance(key, str) and getattr(held[key], "shape", None) == mine:
                    yield part, repr(key), 1.0
        elif isinstance(part, ast.Name | ast.BinOp | ast.Constant | ast.UnaryOp | ast.Subscript):
            text = slips.text(part)
            yield from ((part, f"{text} {sign} 1", 1.1) for sign in "-+")
            yield from ((part, name, 1.15) for name in slips.scope.counters())
            if isinstance(part, ast.BinOp):
                yield part, slips.text(part.left), 1.0
    for i, j in itertools.combinations(range(len(parts)), 2):
        texts = [slips.text(p) for p in parts]
        texts[i], texts[j] = texts[j], texts[i]
        yield index, ", ".join(texts), 1.2 if len(parts) == 2 else 1.25


def operation(slips: Slips, node: ast.BinOp) -> Iterator[Offer]:
    """One operand too much; another operator; the operands in the other order."""
    a, b = slips.text(node.left), slips.text(node.right)
    left, right = slips.tight(node.left), slips.tight(node.right)
    op = type(node.op)
    if op in (ast.Mult, ast.Div, ast.Add, ast.Sub):
        yield node, a if isinstance(node.left, TIGHT) else f"({a})", 1.2
    if op in (ast.Mult, ast.Add, ast.Sub):
        yield node, ("-" if op is ast.Sub else "") + right, 1.2
    yield from ((node, form.format(a=left, b=right), cost) for form, cost in OPERATORS.get(op, ()))
    if op is ast.Add:
        yield node, f"{a} - {right}", 1.0
    if op is ast.Sub:
        yield node, f"{a} + {b}", 1.0
    if op is ast.Pow and isinstance(node.right, ast.Constant | ast.UnaryOp):
        yield node, left, 1.1
        power = slips.value(node.right)
        if isinstance(power, int | float):
            others = (power - 1, power + 1, -power, 0.5, 2, 3)
            yield from ((node.right, f"{other:g}", 1.0) for other in others)


ORDERS = ("{b} @ {a}", "{a}.T @ {b}", "{a} @ {b}.T", "{b}.T @ {a}", "{b} @ {a}.T", "{a}.T @ {b}.T")
OPERATORS: dict[type, tuple[tuple[str, float], ...]] = {
    ast.Mult: (("{a} / {b}", 1.1), ("{a} @ {b}", 1.3)),
    ast.Div: (("{a} * {b}", 1.1), ("{b} / {a}", 1.2)),
    ast.Sub: (("{b} - {a}", 1.0),),
    ast.MatMult: (*((form, 1.4) for form in ORDERS), ("{a} * {b}", 1.4)),
}


def unary(slips: Slips, node: ast.UnaryOp) -> Iterator[Offer]:
    if isinstance(node.op, ast.USub | ast.Invert | ast.Not):
        yield node, slips.tight(node.operand), 1.0
    if isinstance(node.op, ast.USub):
        yield node, f"1 - {slips.tight(node.operand)}", 1.4


def constant(slips: Slips, node: ast.Constant) -> Iterator[Offer]:
    """Another number; a number where there is a name for one; other axes of einsum."""
    value, parent = node.value, slips.parents.get(id(node))
    beside = 0.4 * isinstance(parent, ast.Compare)  # a bound that no entry crosses fits by chance
    if isinstance(value, bool):
        yield node, str(not value), 1.1
    elif isinstance(value, int | float):
        likely = (0, 1, 2, 3, 4, 0.5, -1, value + 1, value - 1, -value, 2 * value, value / 2, value * value)
        factor = 0.15 * (isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult | ast.Div))
        costs: dict[float, float] = {0: 1.1, 1: 1.1 + factor + beside}  # a factor 1 is rather left out
        yield from ((node, f"{x:g}", costs.get(x, 1.1 + beside)) for x in likely if x != value)
        if value:
            yield node, f"1 / {value}", 1.3
        yield from ((node, text, 1.4 + beside) for text in (*slips.scope.sizes(), *slips.scope.scalars()))
    elif isinstance(value, str) and "->" in value:
        operands, _, result = value.partition("->")
        parts = operands.split(",")
        for i, part in enumerate((*parts, result)):
            for order in itertools.islice(itertools.permutations(part), MOST_ORDERS):
                new = [*parts, result]
                new[i] = "".join(order)
                yield node, repr(f"{','.join(new[:-1])}->{new[-1]}"), 1.1


def comparison(slips: Slips, node: ast.Compare) -> Iterator[Offer]:
    """Another sign; dearer where all entries, or none, would pass."""
    if len(node.ops) == 1:
        a, b = slips.text(node.left), slips.text(node.comparators[0])
        for sign in (">", "<", ">=", "<=", "==", "!="):
            text = f"{a} {sign} {b}"
            try:
                passing = np.mean(slips.scope.read(text))
            except (Exception, SystemExit):  # not readable here
                passing = 0.5
            yield (
                node,
                text,
                1.0 + 0.6 * (passing in (0, 1) and isinstance(slips.value(node.left), np.ndarray)),
            )
