"""Small edits as people slip in torch: dim and keepdim, transposes, where's branches, einsum's letters."""

import ast
import itertools
from collections.abc import Sequence

import numpy as np

from mlp_torch.check.lines.by_repair.scope import Offer, Scope
from mlp_torch.check.lines.scopes import MOST_NAMES
from mlp_torch.check.lines.syntax import span
from mlp_torch.check.lines.tensors.wholes import WholeMaker
from mlp_torch.check.lines.tensors.words import (
    KEEP,
    LAYOUTS,
    OTHERS,
    REDUCTIONS,
    SPACES,
    dims,
    spellings,
    together,
    within,
)

HANDED = 0.4


class TensorMaker(WholeMaker):
    """Edits in torch's words."""

    def __init__(self, lines: Sequence[str], scope: Scope, offer: Offer) -> None:
        def said(node: ast.AST, text: str, cost: float) -> None:
            for numpy_s, torch_s in (("np.", "torch."), ("axis=", "dim="), ("keepdims=", "keepdim=")):
                if numpy_s in text and numpy_s not in self.text(node):
                    text = text.replace(numpy_s, torch_s)
            # a bare name that is returned is rather made wrong than handed on wrong
            handed = isinstance(node, ast.Name) and self._returned(node)
            if not text.endswith("/ 0.5"):  # that is 2 *
                offer(node, text, cost + HANDED * handed)

        super().__init__(lines, scope, said)
        self.root: ast.expr | None = None
        self.broken = False  # the root has no value: what it is made of may be of any shape

    def node(self, node: ast.AST) -> None:
        if isinstance(node, ast.expr) and (self.root is None or not within(span(node), span(self.root))):
            numbers = (np.ndarray, np.number, int, float, tuple, list, dict)
            self.root, self.broken = node, not isinstance(self.value(node), numbers)
        super().node(node)
        if isinstance(node, ast.Constant) and node.value is None:
            self._nothing(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for text in spellings(node.value):
                self.offer(node, repr(text), 1.1)
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Compare):
            value = self.value(node)
            if isinstance(value, np.ndarray) and value.dtype.kind == "b":
                self.offer(node, f"~{self.wrapped(node)}", 1.2)
                if value.ndim > 1:
                    for other in self.scope.like(value.shape):
                        self.offer(node, f"{self.wrapped(node)} & {other}", 1.9)
            elif isinstance(value, np.ndarray) and value.dtype.kind in "iu":
                for text, other in self.scope.readable.items():
                    if (
                        isinstance(other, np.ndarray)
                        and other.dtype.kind in "iu"
                        and (other.shape == value.shape)
                    ):
                        self.offer(node, text, 1.1)

    def _nothing(self, node: ast.Constant) -> None:
        """A gradient where None is."""
        arrays = {t: v for t, v in self.scope.arrays.items() if v.dtype.kind == "f" and v.ndim}
        few = dict(itertools.islice(arrays.items(), 12))
        for a in few:
            self.offer(node, a, 1.3)
        for (a, v), (b, w) in itertools.permutations(few.items(), 2):
            if together(v.shape, w.shape):
                self.offer(node, f"{a} * {b}", 1.5)
            if v.ndim == w.ndim == 2:
                for form in ("{a}.T @ {b}", "{a} @ {b}.T", "{a} @ {b}"):
                    self.offer(node, form.format(a=a, b=b), 1.6)
        for a, v in few.items():
            for dim in dims(v.ndim, "sum"):
                self.offer(node, f"{a}.sum({'' if dim is None else dim})", 1.6)

    def variable(self, node: ast.expr) -> None:
        """Another variable; of another shape too, where a name stands for it."""
        super().variable(node)
        value = self.value(node)
        if self.broken:
            for text, other in itertools.islice(self.scope.readable.items(), 2 * MOST_NAMES):
                if isinstance(other, np.ndarray) and other.ndim:
                    self.offer(node, text, 1.05)
                    if isinstance(value, int | float) and other.dtype.kind == "f":
                        self.offer(node, f"{text} * {self.text(node)}", 1.4)
            for text in (*self.scope.counters(), *self.scope.sizes()):
                self.offer(node, text, 1.2)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            for text, other in self.scope.arrays.items():
                if isinstance(node, ast.Name) and text.isidentifier() and other.ndim:
                    self.offer(node, text, 1.2)
            for sign in "-+":
                self.offer(node, f"({self.text(node)} {sign} 1)", 1.2)
        elif isinstance(node, ast.Name) and isinstance(value, np.ndarray):
            for text, other in self.scope.arrays.items():
                if text.isidentifier() and other.shape != value.shape and other.dtype.kind == "f":
                    self.offer(node, text, 1.15)
        if isinstance(node, ast.Name) and isinstance(value, np.ndarray | list | tuple):
            for name, held in self.scope.locals.items():
                if type(held) in (list, tuple) and not name.startswith("_mlp_"):
                    self.offer(node, name, 1.2)
        if isinstance(value, np.ndarray) and value.ndim and not isinstance(node, ast.Attribute):
            self.offer(node, f"{self.text(node)}.unsqueeze(-1)", 1.3)

    def operation(self, node: ast.BinOp) -> None:
        super().operation(node)
        if (
            isinstance(node.op, ast.MatMult)
            and isinstance(node.left, ast.Attribute)
            and node.left.attr == "T"
        ):
            left, right = self.text(node.left.value), self.wrapped(node.right)
            self.offer(node, f"{right}.T @ {left}", 1.3)

    def transposed(self, node: ast.expr) -> None:
        if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
            self.offer(node, self.text(node.value), 1.0)
            return
        value = self.value(node)
        if isinstance(value, np.ndarray) and value.ndim == 2:
            self.offer(node, f"{self.wrapped(node)}.{self._turned()}", 1.0)
        elif isinstance(value, np.ndarray) and value.ndim > 2:
            self.offer(node, f"{self.wrapped(node)}.transpose(-1, -2)", 1.1)

    def _returned(self, node: ast.expr) -> bool:
        line = self.lines[node.lineno - 1]
        before, after = line[: node.col_offset], line[node.end_col_offset or 0 :].strip()
        return (
            line.lstrip().startswith("return")
            and before.endswith((" ", "("))
            and (before.rstrip().endswith((",", "return", "(")) and after[:1] in (",", ")", ""))
        )

    def _turned(self) -> str:
        """T, or t() where the author writes that."""
        text = "\n".join(self.lines)
        return "t()" if text.count(".t()") > text.count(".T") else "T"

    def call(self, node: ast.Call) -> None:
        func = node.func
        name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
        head = self.text(func)
        for other in OTHERS.get(name, ()):
            self.offer(func, head[: -len(name)] + other, 1.1)
        if name in REDUCTIONS:
            self._reduction(node, name, head)
        elif name not in ("where", "einsum", "clamp", "sum", "mean"):
            super().call(node)
        if name in ("where", "lerp", "addcmul") and len(node.args) == 3:
            a, b, c = map(self.text, node.args)
            self.offer(node, f"{head}({a}, {c}, {b})", 1.0)
        if name in ("mm", "bmm", "mv") and len(node.args) == 2:
            a, b = map(self.wrapped, node.args)
            turned = ".transpose(-1, -2)" if name == "bmm" else "." + self._turned()
            for x, y in ((b, a), (a + turned, b), (a, b + turned), (b + turned, a), (b, a + turned)):
                self.offer(node, f"{head}({x}, {y})", 1.4)
        if isinstance(func, ast.Attribute) and self.text(func.value) not in SPACES:
            self.offer(node, self.text(func.value), 1.1 if name in LAYOUTS else 1.6)  # the call is too much
        if name in ("transpose", "swapaxes", "movedim", "permute"):
            self._axes(node, head)

    def _axes(self, node: ast.Call, head: str) -> None:
        """Other axes, in the author's count of them."""
        given = list(map(self.text, node.args))
        for order in itertools.permutations(given) if len(given) <= 4 else ():
            self.offer(node, f"{head}({', '.join(order)})", 1.1)

    def _reduction(self, node: ast.Call, name: str, head: str) -> None:
        """Another dim, or several; kept or not."""
        func = node.func
        space = isinstance(func, ast.Attribute) and self.text(func.value) in SPACES
        alone = space or isinstance(func, ast.Name)
        first = [self.text(node.args[0])] if alone and node.args else []
        rest = node.args[1:] if alone else node.args
        keys = {k.arg: k for k in node.keywords if k.arg}
        others = [self.text(k) for k in node.keywords if k.arg not in ("dim", "axis", "keepdim", "keepdims")]
        others += [self.text(a) for a in rest[1:] if not isinstance(a, ast.Constant | ast.UnaryOp)]
        owner = node.args[0] if alone and node.args else getattr(func, "value", node)
        value = self.value(owner)
        ndim = value.ndim if isinstance(value, np.ndarray) else 3
        said = "keepdim" in self.text(node) or "keepdims" in self.text(node) or len(rest) > 1
        for dim, keep in itertools.product(dims(ndim, name), (False, True)):
            if keep and (name not in KEEP or dim is None):
                continue
            given = [] if dim is None else [f"dim={dim}" if "dim" in keys else str(dim)]
            kept = ["keepdim=True"] if keep else []
            text = f"{head}({', '.join([*first, *given, *kept, *others])})"
            self.offer(node, text, 1.1 + 0.2 * (keep != said))
        if name not in ("cumsum", "cumprod", "flip") and first:
            self.offer(node, first[0], 1.6)

    def assignment(self, statement: ast.AugAssign | ast.Assign) -> None:
        super().assignment(statement)
        if isinstance(statement, ast.AugAssign):
            return
        target = statement.targets[0]
        if isinstance(target, ast.Tuple):  # what is handed over in another order
            names = list(map(self.text, target.elts))
            for i, j in itertools.combinations(range(len(names)), 2):
                other = list(names)
                other[i], other[j] = names[j], names[i]
                self.offer(target, ", ".join(other), 1.1)
        elif len(statement.targets) == 1:
            for sign in ("*=", "/="):
                text = f"{self.text(target)} {sign} {self.text(statement.value)}"
                self.offer(statement, text, 1.05)
