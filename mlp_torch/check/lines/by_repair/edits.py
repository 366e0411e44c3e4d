"""Small edits of one statement, as people slip: another variable, a transpose, a factor, a sign, an axis …"""

import ast
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlp_torch.check.lines.syntax import Edit, Span, roots_of, segment, span

MOST_NAMES = 40
Offer = Callable[[ast.AST, str, float], None]  # (node, what stands in its place, cost)


@dataclass
class Scope:
    """The variables at a statement, and what an expression there can read: text → value."""

    globals: dict[str, Any]
    locals: dict[str, Any]
    readable: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in list(self.locals.items()):
            self._add(name, value)
            if isinstance(value, Mapping) and len(value) <= MOST_NAMES:
                for key, held in value.items():
                    if isinstance(key, str):
                        self._add(f"{name}[{key!r}]", held)
            elif not isinstance(self.plain(value), np.ndarray) and hasattr(value, "__dict__"):
                for key, held in vars(value).items():
                    self._add(f"{name}.{key}", held)

    @staticmethod
    def plain(value: Any) -> Any:
        """A value as edits look at it: an array, a number."""
        return value

    def maker(self, lines: Sequence[str], offer: "Offer") -> "_Maker":
        return _Maker(lines, self, offer)

    def _add(self, text: str, value: Any) -> None:
        if text.startswith("_mlp_"):
            return
        value = self.plain(value)
        if isinstance(value, np.ndarray | np.number | float | int) and not isinstance(value, bool):
            self.readable.setdefault(text, value)

    def read(self, text: str) -> Any:
        """The value of an expression here; raises what it raises."""
        with np.errstate(all="ignore"):
            return self.plain(eval(compile(text, "<edit>", "eval"), self.globals, dict(self.locals)))

    def also(self, texts: Sequence[str]) -> None:
        """Further expressions of the function that can be read here."""
        for text in texts:
            if text not in self.readable:
                try:
                    self._add(text, self.read(text))
                except Exception:  # not readable here: no variable to offer
                    continue

    @property
    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        found = {t: v for t, v in self.readable.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fb"}
        return dict(itertools.islice(found.items(), MOST_NAMES))

    def like(self, shape: tuple[int, ...]) -> list[str]:
        return [t for t, v in self.arrays.items() if v.shape == shape]

    def counters(self) -> list[str]:
        """Whole numbers that have a name here: what a loop counts with."""
        whole = [t for t, v in self.readable.items() if isinstance(v, int | np.integer) and t.isidentifier()]
        return whole[:8]

    def sizes(self) -> list[str]:
        """Numbers that people divide by: whole ones of this scope, and the first axes of its arrays."""
        found: dict[int, str] = {}
        for text, value in self.readable.items():
            if isinstance(value, int | np.integer) and 1 < value < 10**6:
                found.setdefault(int(value), text)
            elif isinstance(value, float) and value not in (0.0, 1.0):
                found.setdefault(hash(value), text)
        for text, value in self.readable.items():
            if isinstance(value, np.ndarray):
                for axis, size in enumerate(value.shape):
                    if size > 1:
                        found.setdefault(size, f"{text}.shape[{axis}]")
        for text, value in self.readable.items():
            if isinstance(value, np.ndarray) and value.ndim > 1:
                found.setdefault(value.size, f"{text}.size")
        return list(found.values())[:16]


TIGHT = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Constant)
OTHER_CALLS = {
    "sum": ("mean",), "mean": ("sum",), "maximum": ("minimum",), "minimum": ("maximum",), "sin": ("cos",),
    "cos": ("sin",), "max": ("sum",), "zeros_like": ("ones_like",), "ones_like": ("zeros_like",),
    "argmax": ("argmin",), "log": ("exp",), "exp": ("log",), "tanh": ("cosh",), "cumsum": ("sum",),
}  # fmt: skip
DERIVATIVES = (
    "(1 - {a} ** 2)", "{a} * (1 - {a})", "({a} > 0)", "(1 - {a})", "(1 + {a})", "np.exp({a})", "np.cos({a})",
    "np.sign({a})", "(1 - np.tanh({a}) ** 2)", "2 * {a}", "1 / {a}", "{a} ** 2",
)  # fmt: skip


def edits(statement: ast.stmt, root: ast.expr | None, lines: Sequence[str], scope: Scope) -> list[Edit]:
    """Every small edit of a statement, the likeliest first, each text once. `root`: its value alone."""
    found: dict[tuple[Span, str], Edit] = {}

    def offer(node: ast.AST, text: str, cost: float) -> None:
        edit = Edit(span(node), text, cost)
        key = (edit.span, edit.text)
        if text != segment(lines, node) and (key not in found or found[key].cost > cost):
            found[key] = edit

    make = scope.maker(lines, offer)
    roots = [root] if root is not None else roots_of(statement)
    for one in roots:
        for node in ast.walk(one):
            make.node(node)
        make.whole(one)
    if len(roots) == 1:
        make.exchanged(roots[0])
    elif isinstance(value := getattr(statement, "value", None), ast.expr):
        make.exchanged(value, 1.2)
    if isinstance(statement, ast.AugAssign | ast.Assign):
        make.assignment(statement)
    return sorted(found.values(), key=lambda e: (e.cost, len(e.text)))


class _Maker:
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
            for axis in (
                None,
                "0",
                "1",
                "-1",
                "(0, 1)",
                "2",
                "(0, 2)",
                "(1, 2)",
                "(0, 2, 3)",
                "(2, 3)",
                "(2, 3, 4)",
                "(1, 2, 3)",
            ):
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
            masks = [t for t, v in scope.arrays.items() if v.ndim > 0 and _widens(v.shape, value.shape)]
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


def _widens(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether an array is broadcast to another, larger shape."""
    try:
        return shape != into and np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


def reads(function: ast.AST) -> Iterator[str]:
    """The variables, attributes and entries that a function reads anywhere."""
    seen: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Load):
            text = ast.unparse(node)
            if text not in seen and len(text) < 40 and "(" not in text:
                seen.add(text)
                yield text
