"""A number by the names of a scope: what a term may be scaled by."""

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.scopes import Scope


def said_as(scope: Scope, factor: float) -> Iterator[str]:
    """The texts that are this number: n, 1 / n, 2 * reg, a * b."""
    numbers, texts = _numbers(scope)
    near = np.flatnonzero(np.abs(numbers - factor) <= 1e-6 * abs(factor))
    yield from (texts[i] for i in near)


def _numbers(scope: Scope) -> tuple[Array, list[str]]:
    if scope.said is None:
        known: dict[str, float] = {"2": 2.0, "0.5": 0.5}
        for text in (*scope.sizes(), *scope.scalars()):
            with contextlib.suppress(Exception, SystemExit):  # no number here
                known[text] = float(scope.read(text))
        found = [(x, text) for text, x in known.items()]
        found += [(1 / x, f"1 / {text}") for text, x in known.items() if x]
        found += [part for x, text in found for part in ((x, text), (-x, f"-{text}"))]
        pairs = itertools.combinations(known.items(), 2)
        found += [(x * y, f"{s} * {t}") for (s, x), (t, y) in pairs]
        once = {text: x for x, text in found}
        scope.said = np.array(list(once.values())), list(once)
    return scope.said
