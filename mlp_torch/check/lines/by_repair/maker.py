"""The edits of a statement: those of its nodes, and those of the whole."""

import ast
import itertools

import numpy as np

from mlp_torch.check.lines.by_repair.nodes import Nodes
from mlp_torch.check.lines.scopes import widens
from mlp_torch.check.lines.syntax import span

DERIVATIVES = (
    "(1 - {a} ** 2)", "{a} * (1 - {a})", "({a} > 0)", "(1 - {a})", "(1 + {a})", "np.exp({a})", "np.cos({a})",
    "np.sign({a})", "(1 - np.tanh({a}) ** 2)", "2 * {a}", "1 / {a}", "{a} ** 2",
)  # fmt: skip


class Maker(Nodes):
    """What people write in the place of an expression, or of the statement's sign."""

    def whole(self, root: ast.expr) -> None:
        """A sign, a factor or a term at the root, and on every factor of it."""
        scope = self.scope
        for node in ast.walk(root):
            if not isinstance(
                node, ast.BinOp | ast.Call | ast.Name | ast.Attribute | ast.Subscript | ast.UnaryOp
            ):
                continue
            if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
                continue
            value = self.value(node)
            if not isinstance(value, np.ndarray | float | np.floating):
                continue
            far = 0.0 if node is root else 0.3
            text = self.wrapped(node)
            self.offer(node, f"-{text}", 1.2 + far)
            for size in ("2", "0.5", *scope.sizes()):
                self.offer(node, f"{text} * {size}", 1.5 + far)
                self.offer(node, f"{text} / {size}", 1.4 + far)
            self.offer(node, f"{text} ** 2", 1.6 + far)
            if not isinstance(value, np.ndarray):
                continue
            same = scope.like(value.shape)
            masks = [t for t, v in scope.arrays.items() if v.ndim > 0 and widens(v.shape, value.shape)]
            for other in [*same, *masks]:
                self.offer(node, f"{text} * {other}", 1.7 + far)
                self.offer(node, f"{text} / {other}", 2.0 + far)
                for form in DERIVATIVES:
                    self.offer(node, f"{text} * {form.format(a=other)}", 2.0 + far)
            for other in [*same, *masks]:
                self.offer(node, f"{text} + {other}", 1.8 + far)
                self.offer(node, f"{text} - {other}", 1.9 + far)
                for size in scope.sizes():
                    if node is root:
                        self.offer(node, f"{text} + {size} * {other}", 2.4)
                        self.offer(node, f"{text} + {other} / {size}", 2.5)
            if node is root and value.ndim:
                for form in ("{a}.sum(axis=0)", "{a}.sum(axis=1)", "{a}.sum(axis=0, keepdims=True)",
                             "{a}.sum(axis=1, keepdims=True)", "{a}.sum(axis=-1, keepdims=True)",
                             "{a}.mean(axis=0)", "{a}[::-1]"):  # fmt: skip
                    self.offer(node, form.format(a=text), 1.7)
                for axis in ("0", "-1"):
                    mean = f"{text}.mean(axis={axis}, keepdims=True)"
                    total = f"{text}.sum(axis={axis}, keepdims=True)"
                    self.offer(node, f"{text} - {mean}", 2.2)
                    self.offer(node, f"{text} - {total}", 2.2)

    def exchanged(self, root: ast.AST, cost: float = 1.5) -> None:
        """Two operands of the statement in each other's place."""
        held = (np.ndarray, dict, list, tuple)
        parts = [
            n for n in ast.walk(root)
            if isinstance(n, ast.Name | ast.Attribute | ast.Subscript) and isinstance(self.value(n), held)
        ]  # fmt: skip
        whole = self.text(root)
        for a, b in itertools.combinations(parts, 2):
            x, y = sorted((a, b), key=span)
            if self.text(x) == self.text(y) or span(x)[2:] > span(y)[:2]:
                continue
            at = [
                self._offset(root, *where) for where in (span(x)[:2], span(x)[2:], span(y)[:2], span(y)[2:])
            ]
            text = whole.encode()
            pieces = (
                text[: at[0]],
                text[at[2] : at[3]],
                text[at[1] : at[2]],
                text[at[0] : at[1]],
                text[at[3] :],
            )
            self.offer(root, b"".join(pieces).decode(), cost)

    def _offset(self, root: ast.AST, line: int, column: int) -> int:
        """Where a place of the file lies in the text of a node, in bytes."""
        first, start, *_ = span(root)
        before = [self.lines[n - 1].encode() for n in range(first, line)]
        return sum(len(b) + 1 for b in before) + column - start

    def assignment(self, statement: ast.AugAssign | ast.Assign) -> None:
        """= for +=, − for +, and the other way round."""
        value = self.text(statement.value)
        targets = [statement.target] if isinstance(statement, ast.AugAssign) else statement.targets
        if isinstance(statement, ast.AugAssign):
            for sign in ("+=", "-=", "=", "*=", "/="):
                self.offer(statement, f"{self.text(statement.target)} {sign} {value}", 1.0)
        elif len(targets) == 1 and not isinstance(targets[0], ast.Tuple):
            for sign in ("+=", "-="):
                self.offer(statement, f"{self.text(targets[0])} {sign} {value}", 1.0)
        for target in targets:
            if isinstance(target, ast.Subscript):
                self.indexed(target)
                for node in ast.walk(target.slice):
                    self.node(node)
