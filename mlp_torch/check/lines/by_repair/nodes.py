"""The edits of one node of an expression, by its kind: each what people write in its place."""

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlp_torch.check.lines.by_repair.scope import Offer, Scope
from mlp_torch.check.lines.calls import AXES
from mlp_torch.check.lines.syntax import segment

TIGHT = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Constant)
OTHER_CALLS = {
    "sum": ("mean",), "mean": ("sum",), "maximum": ("minimum",), "minimum": ("maximum",), "sin": ("cos",),
    "cos": ("sin",), "max": ("sum",), "zeros_like": ("ones_like",), "ones_like": ("zeros_like",),
    "argmax": ("argmin",), "log": ("exp",), "exp": ("log",), "tanh": ("cosh",), "cumsum": ("sum",),
}  # fmt: skip


class Nodes:
    def __init__(self, lines: Sequence[str], scope: Scope, offer: Offer) -> None:
        self.lines, self.scope, self.offer = lines, scope, offer

    def text(self, node: ast.AST) -> str:
        return segment(self.lines, node)

    def wrapped(self, node: ast.AST) -> str:
        text = self.text(node)
        return text if isinstance(node, TIGHT) else f"({text})"

    def value(self, node: ast.AST) -> Any:
        try:
            return self.scope.read(self.text(node).replace("\n", " "))
        except Exception:  # whatever the author's expression raises: it has no value here
            return None

    def node(self, node: ast.AST) -> None:
        kinds: tuple[tuple[type | tuple[type, ...], Callable[[Any], None]], ...] = (
            ((ast.Name, ast.Attribute, ast.Subscript), self.variable),
            ((ast.Name, ast.Attribute, ast.Subscript, ast.Call), self.transposed),
            (ast.Subscript, self.indexed),
            (ast.BinOp, self.operation),
            (ast.UnaryOp, self.unary),
            (ast.Constant, self.constant),
            (ast.Compare, self.comparison),
            (ast.Call, self.call),
        )
        for kind, make in kinds:
            if isinstance(node, kind) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
                make(node)

    def variable(self, node: ast.expr) -> None:
        """Another variable of the same shape; a number for a number."""
        value = self.value(node)
        text = self.text(node)
        if isinstance(value, np.ndarray):
            for other in self.scope.like(value.shape):
                self.offer(node, other, 1.0 + 0.2 * (other.split("[")[0] not in text))
            if value.ndim == 2 and value.shape[0] != value.shape[1]:
                for other in self.scope.like(value.shape[::-1]):
                    self.offer(node, f"{other}.T", 1.6)
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            for other in self.scope.sizes():
                self.offer(node, other, 1.3)

    def transposed(self, node: ast.expr) -> None:
        if isinstance(node, ast.Attribute) and node.attr == "T":
            self.offer(node, self.text(node.value), 1.0)
            return
        value = self.value(node)
        if isinstance(value, np.ndarray) and value.ndim == 2:
            self.offer(node, f"{self.text(node)}.T", 1.0)

    def indexed(self, node: ast.Subscript) -> None:
        """One step before or after, the slice's other end, the other axis."""
        index = node.slice
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        for part in parts:
            if isinstance(part, ast.Slice):
                for text in (":", ":-1", "1:", "::-1"):
                    self.offer(part, text, 1.2)
            elif isinstance(part, ast.Name | ast.BinOp | ast.Constant | ast.UnaryOp):
                if isinstance(part, ast.Constant) and not isinstance(part.value, int):
                    continue
                text = self.text(part)
                for other in (f"{text} - 1", f"{text} + 1"):
                    self.offer(part, other, 1.1)
                for name in self.scope.counters():
                    self.offer(part, name, 1.15)
                if isinstance(part, ast.BinOp):
                    self.offer(part, self.text(part.left), 1.0)
        if len(parts) == 2:
            a, b = (self.text(p) for p in parts)
            self.offer(index, f"{b}, {a}", 1.2)

    def operation(self, node: ast.BinOp) -> None:
        left, right = self.wrapped(node.left), self.wrapped(node.right)
        a, b = self.text(node.left), self.text(node.right)
        if isinstance(node.op, ast.Mult | ast.Div | ast.Add | ast.Sub):
            self.offer(
                node, a if isinstance(node.left, TIGHT) else f"({a})", 1.2
            )  # the other one is too much
            if not isinstance(node.op, ast.Div):
                minus = "-" if isinstance(node.op, ast.Sub) else ""
                self.offer(node, minus + right, 1.2)
        if isinstance(node.op, ast.Mult):
            self.offer(node, f"{left} / {right}", 1.1)
            self.offer(node, f"{left} @ {right}", 1.3)
        if isinstance(node.op, ast.Div):
            self.offer(node, f"{left} * {right}", 1.1)
            self.offer(node, f"{right} / {left}", 1.2)
        if isinstance(node.op, ast.Add | ast.Sub):
            sign = "-" if isinstance(node.op, ast.Add) else "+"
            self.offer(
                node, f"{a} {sign} {b}" if isinstance(node.right, TIGHT) else f"{a} {sign} {right}", 1.0
            )
            if sign == "+":
                self.offer(node, f"{right} - {left}", 1.0)
        if isinstance(node.op, ast.MatMult):
            for text in (
                f"{right} @ {left}", f"{left}.T @ {right}", f"{left} @ {right}.T", f"{right}.T @ {left}",
                f"{right} @ {left}.T", f"{left}.T @ {right}.T",
            ):  # fmt: skip
                self.offer(node, text, 1.4)
            self.offer(node, f"{left} * {right}", 1.4)
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant | ast.UnaryOp):
            try:
                power = ast.literal_eval(node.right)
            except ValueError:
                return
            self.offer(node, left, 1.1)
            for other in (power - 1, power + 1, -power, 0.5, 2, 3):
                self.offer(node.right, f"{other:g}", 1.0)

    def unary(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub | ast.Invert | ast.Not):
            self.offer(node, self.wrapped(node.operand), 1.0)

    def constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.offer(node, str(not value), 1.1)
        elif isinstance(value, int | float):
            for other in (
                0,
                1,
                2,
                3,
                4,
                0.5,
                -1,
                value + 1,
                value - 1,
                -value,
                2 * value,
                value / 2,
                value * value,
            ):
                if other != value:
                    self.offer(node, f"{other:g}" if isinstance(other, float) else str(other), 1.1)
            if value:
                self.offer(node, f"1 / {value}", 1.3)
            for other_text in self.scope.sizes():
                self.offer(node, other_text, 1.4)

    def comparison(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            a, b = self.text(node.left), self.text(node.comparators[0])
            for sign in (">", "<", ">=", "<=", "==", "!="):
                self.offer(node, f"{a} {sign} {b}", 1.0)

    def call(self, node: ast.Call) -> None:
        func = node.func
        name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
        head = self.text(func)
        rest = [self.text(a) for a in node.args]
        keys = {k.arg: self.text(k.value) for k in node.keywords if k.arg}
        for other in OTHER_CALLS.get(name, ()):
            self.offer(func, head[: -len(name)] + other, 1.1)
        if name in ("dot", "matmul", "outer", "multiply") and len(rest) == 2:
            a, b = (self.wrapped(x) for x in node.args)
            for x, y in (
                (b, a),
                (f"{a}.T", b),
                (a, f"{b}.T"),
                (f"{b}.T", a),
                (b, f"{a}.T"),
                (f"{a}.T", f"{b}.T"),
            ):
                self.offer(node, f"{head}({x}, {y})", 1.4)
            self.offer(node, f"{a} * {b}", 1.5)
        if name in ("dot", "matmul") and len(rest) == 1 and isinstance(func, ast.Attribute):
            a, b = self.wrapped(func.value), self.wrapped(node.args[0])
            for x, y in ((b, a), (f"{a}.T", b), (a, f"{b}.T"), (f"{b}.T", a), (b, f"{a}.T")):
                self.offer(node, f"{x}.{name}({y})", 1.4)
        if name in ("sum", "mean", "max", "min", "cumsum", "argmax", "softmax", "logsumexp", "prod", "flip"):
            given = [r for r, a in zip(rest, node.args, strict=True)]
            method = isinstance(func, ast.Attribute) and self.text(func.value) not in (
                "np",
                "numpy",
                "special",
            )
            array = [] if method else given[:1]
            for axis in AXES:
                for keep in (None, "True"):
                    inside = [
                        *array,
                        *([f"axis={axis}"] if axis else []),
                        *([f"keepdims={keep}"] if keep else []),
                    ]
                    self.offer(
                        node, f"{head}({', '.join(inside)})", 1.1 + 0.2 * (keep != keys.get("keepdims"))
                    )
        if name == "range":
            last, all_of = rest[-1], ", ".join(rest)
            for text in (
                f"range({', '.join(['0', *rest[1:]])})", f"range({last} + 1)", f"range({last} - 1)",
                f"reversed(range({all_of}))", f"range({last})",
            ):  # fmt: skip
                self.offer(node, text, 1.1)
        if name in ("reversed", "list") and rest:
            self.offer(node, rest[0], 1.0)
        if name == "zip" or name == "enumerate":
            for argument in node.args:
                self.offer(argument, f"reversed({self.text(argument)})", 1.1)
        if len(rest) == 1 and not keys and name not in ("dot", "matmul"):
            self.offer(node, self.wrapped(node.args[0]), 1.6)  # the call is too much
