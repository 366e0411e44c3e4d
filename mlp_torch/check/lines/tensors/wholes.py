"""What is missing around a whole expression, in torch's words: a mask, a sum, a factor, a term."""

import ast
import itertools
from typing import Any

import numpy as np

from mlp_torch.check.lines.by_repair.maker import Maker
from mlp_torch.check.lines.scopes import MOST_NAMES
from mlp_torch.check.lines.tensors.words import dims, together


class WholeMaker(Maker):
    """Edits of a whole right side."""

    def whole(self, root: ast.expr) -> None:
        super().whole(root)
        value = self.value(root)
        self._numbers(root, value)
        if isinstance(value, np.ndarray) and value.ndim > 0:
            text = self.wrapped(root)
            for half in ("tril", "triu") if value.ndim > 1 else ():
                self.offer(root, f"torch.{half}({self.text(root)})", 1.65)
            for dim in dims(value.ndim, "sum"):
                if dim is not None:
                    self.offer(root, f"{text}.sum({dim})", 1.7)
                    self.offer(root, f"{text}.sum({dim}, keepdim=True)", 1.75)
            for shape in {v.shape for v in self.scope.arrays.values() if v.size == value.size}:
                owner = next(t for t, v in self.scope.arrays.items() if v.shape == shape)
                if shape != value.shape:
                    self.offer(root, f"{text}.view_as({owner})", 1.8)
            self._wider(root)
            self._products(root, value.shape)
            for name, v in self.scope.readable.items():
                if isinstance(v, np.ndarray) and v.dtype.kind == "b" and v.shape == value.shape:
                    self.offer(root, f"{text} * ~{name}", 1.9)
                    self.offer(root, f"{text}.masked_fill(~{name}, 0)", 1.95)
                    self.offer(root, f"{text}.masked_fill({name}, 0)", 1.95)

    def _numbers(self, root: ast.expr, value: Any) -> None:
        """A number beside an array, or an array beside a number."""
        text = self.wrapped(root)
        if isinstance(root, ast.Compare) and isinstance(value, np.ndarray):
            for other in self.scope.like(value.shape):
                self.offer(root, f"{text} * {other}", 1.6)
        single = isinstance(value, int | float) and not isinstance(value, bool)
        if not single and not (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
            return
        for other, v in itertools.islice(self.scope.readable.items(), MOST_NAMES):
            if isinstance(v, np.ndarray) == single and not isinstance(v, int):
                for sign in "+-":
                    self.offer(root, f"{text} {sign} {other}", 1.65)
                self.offer(root, f"{other} - {text}", 1.7)
                if single:
                    self.offer(root, f"{text} * {other}", 1.6)

    def _products(self, root: ast.expr, shape: tuple[int, ...]) -> None:
        """A product that is added or taken away; dear, as only a value that is known tells which."""
        text = self.wrapped(root)
        arrays = {t: v for t, v in self.scope.arrays.items() if v.dtype.kind == "f"}
        for (a, v), (b, w) in itertools.permutations(itertools.islice(arrays.items(), 20), 2):
            if together(v.shape, w.shape) and np.broadcast_shapes(v.shape, w.shape) == shape:
                for sign, times in itertools.product("+-", "*/"):
                    self.offer(root, f"{text} {sign} {a} {times} {b}", 2.4)

    def _wider(self, root: ast.expr) -> None:
        """A factor that makes it larger, and a term with a quotient in it, anywhere in it."""
        for node in ast.walk(root):
            if not isinstance(node, ast.BinOp | ast.Name | ast.Subscript | ast.Call):
                continue
            if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
                continue
            value = self.value(node)
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
                continue
            text, far = self.wrapped(node), 0.0 if node is root else 0.2
            self.offer(node, f"2 * {text}" if far == 0 else f"(2 * {text})", 1.7)
            for form in ("(1 - {})", "({} - 1)", "(1 + {})"):
                self.offer(node, form.format(text), 1.6)
            for other, v in self.scope.arrays.items():
                if v.ndim and v.shape == value.shape[:-1]:
                    column = f"{other}[:, None]" if v.ndim == 1 else f"{other}.unsqueeze(-1)"
                    self.offer(node, f"{text} * {column}", 1.75 + far)
                    for sign in "+-":
                        self.offer(node, f"({text} {sign} {column})", 1.85 + far)
            for other, v in self.scope.arrays.items():
                if v.dtype.kind != "f" or not together(value.shape, v.shape):
                    continue
                if v.shape != value.shape:
                    self.offer(node, f"{text} * {other}", 1.75 + far)
                    self.offer(node, f"{text} / {other}", 2.05 + far)
                if len(v.shape) == len(value.shape):
                    inside = "({} {} {})" if far else "{} {} {}"
                    for sign in "+-":
                        if v.shape != value.shape:
                            self.offer(node, inside.format(text, sign, other), 1.9 + far)
                        for size in self.scope.sizes()[:6]:
                            self.offer(node, inside.format(text, sign, f"{other} / {size}"), 2.0 + far)
