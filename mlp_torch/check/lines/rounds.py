"""What expressions give at a statement, every time it ran, as one row each."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.places import base
from mlp_torch.check.lines.statements import Root
from mlp_torch.check.lines.syntax import block_of

LARGEST = 2_000_000  # entries of all rows of a shape
Shape = tuple[int, ...]


@dataclass
class Rounds:
    """The rows of expressions, of one block after another: what was read before one statement need not be
    read before a later one, unless what is stored between them is in it.
    """

    block: Sequence[ast.stmt] = ()
    at: int = 0
    count: int = 0
    known: dict[str, Array | None] = field(default_factory=dict)

    def enter(self, root: Root, end: bool) -> None:
        block = block_of(root.source.tree, root.statement)
        at = block.index(root.statement) + end
        if block is not self.block or len(root.scopes) != self.count or at < self.at:
            self.known = {}
        else:
            stored = {word for s in block[self.at : at] for word in _stored(s)}
            self.known = {text: row for text, row in self.known.items() if not words(text) & stored}
        self.block, self.at, self.count = block, at, len(root.scopes)

    def rows(self, root: Root, texts: Sequence[str], shapes: Sequence[Shape]) -> tuple[list[str], Array]:
        """The expressions that have these shapes, round by round, and their rows."""
        size = sum(int(np.prod(shape, dtype=int)) for shape in shapes)
        most = max(1, LARGEST // max(1, size))
        for text in texts[:most]:
            if text not in self.known:
                self.known[text] = _row(root, text, shapes)
        found = {t: self.known[t] for t in texts[:most]}
        kept = {t: row for t, row in found.items() if row is not None and len(row) == size}
        return list(kept), np.array(list(kept.values())).reshape(len(kept), size)


def _row(root: Root, text: str, shapes: Sequence[Shape]) -> Array | None:
    code = compile(text, "<added>", "eval")
    values = []
    for scope, shape in zip(root.scopes, shapes, strict=True):
        try:
            value = np.asarray(eval(code, scope.names), dtype=float)
        except (Exception, SystemExit):  # not so in this round
            return None
        if value.shape != shape:
            return None
        values.append(value.ravel())
    row = np.concatenate(values)
    return row if np.isfinite(row).all() else None


@lru_cache(maxsize=65536)
def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


@lru_cache(maxsize=4096)
def _stored(statement: ast.stmt) -> frozenset[str]:
    stores = (n for n in ast.walk(statement) if isinstance(getattr(n, "ctx", None), ast.Store))
    return frozenset(word for n in stores for word in re.findall(r"\w+", base(n)))
