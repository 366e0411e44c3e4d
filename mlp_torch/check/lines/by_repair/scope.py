"""What an expression of the author's can read where its search is by repair."""

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlp_torch.check.lines import scopes

Offer = Callable[[ast.AST, str, float], None]  # (node, what stands in its place, cost)


class Scope(scopes.Scope):
    """The variables at a statement; `maker` gives the edits of an expression there."""

    def maker(self, lines: Sequence[str], offer: Offer) -> Any:
        """Who makes the edits. A scope of tensors has its own."""
        from mlp_torch.check.lines.by_repair.maker import Maker  # which reads scopes

        return Maker(lines, self, offer)

    def read(self, text: str) -> Any:
        """The value of an expression here, anew each time; raises what it raises."""
        with np.errstate(all="ignore"):
            return self.plain(eval(compile(text, "<edit>", "eval"), self.globals, dict(self.locals)))
