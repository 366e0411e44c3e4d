"""Which of the edits that mend looks most like what the author meant."""

import ast
import re
from difflib import SequenceMatcher
from functools import cached_property

import numpy as np

from mlp_torch.check.lines.mender import Mender
from mlp_torch.check.lines.syntax import ADDED, enclosing
from mlp_torch.check.lines.trials import Mended

LENGTH = 0.002  # of a letter: what is longer is less likely


class Suspicion:
    """Calling it gives the cost of an edit, and what its value says for it or against it."""

    def __init__(self, mender: Mender) -> None:
        self.mender, self.names, self.draw = mender, mender.names, mender.draws[0]

    def __call__(self, way: Mended) -> float:
        """The cost of an edit; more where the value that it changes is the gradient that it is named after,
        or comes after one that is not; less where it becomes that gradient.
        """
        draw, score = self.draw, way.cost + LENGTH * max(0, len(way.after) - len(way.before))
        before = [self.names.by_name((s, k), draw.values[s][k]) for s, k in way.values]
        after = [self.names.by_name(at, v) for at, v in way.values.items()]
        if before and all(before):
            score += 0.8
        elif any(v is not None for v in after):
            score += -0.3 if all(v in (True, None) for v in after) else 0.3
        if way.values:
            time = min(draw.order[at] for at in way.values)
            score += 0.4 * (time > self.first_misnamed) + 0.3 * (time < self.last_named)
        return score - self.likeness(way)

    def likeness(self, way: Mended) -> float:
        """What speaks for an edit: it reads what nothing else does, or makes its line like another one."""
        source = self.mender.program.sources.of(way.file)
        function = enclosing(source.tree, way.line)[1] if source is not None else None
        if function is None:
            return 0.0
        names = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
        idle = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        idle |= {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
        idle -= {n.id for n in names if isinstance(n.ctx, ast.Load)} | {"_", "self"}
        found = 0.25 * bool(idle & set(re.findall(r"\w+", way.edit.text)))
        others = [
            ast.unparse(s) for s in ast.walk(function)
            if isinstance(s, ast.Assign | ast.AugAssign) and s.lineno != way.line
        ]  # fmt: skip
        before, after = (
            max((SequenceMatcher(None, t.strip(), o).ratio() for o in others), default=0.0)
            for t in (way.before, way.after)
        )
        missing = ADDED in way.edit.text  # a statement, beside which those stand that are like it
        return found + 0.1 * (after > before + 0.02 and not missing)

    @cached_property
    def first_misnamed(self) -> float:
        """The time of the first value that is not the gradient which it is named after."""
        return min(self.named(False), default=np.inf)

    @cached_property
    def last_named(self) -> float:
        """The time of the last value before it that is one: up to there nothing is wrong."""
        return max((t for t in self.named(True) if t < self.first_misnamed), default=-np.inf)

    def named(self, right: bool) -> list[int]:
        """When there were values that are the gradients of their names, or are not."""
        draw, sites = self.draw, self.mender.program.sources.sites
        return [
            draw.order[s, k]
            for s in draw.values
            if sites[s].assigned and sites[s].kind != "argument"
            for k in draw.backward(s)
            if draw.values[s][k].any() and self.names.by_name((s, k), draw.values[s][k]) is right
        ]
