"""What the forward pass should leave for the backward pass: the cheapest choice among common values."""

from collections.abc import Iterable

from manual.recorded.formula import Formula
from manual.recorded.record import Recorded, walk

# What an operation costs beside an addition, in one pass over memory; and what keeping a value does.
COSTS = {"div": 3, "sqrt": 3, "exp": 8, "expm1": 8, "log": 10, "log1p": 10, "tanh": 12, "sigmoid": 12}
COSTS["erf"] = 25
KEEPING = 3
MOST = 6  # values that are tried, the dearest: every set of them


def cost(formula: Formula, saved: list[Recorded]) -> int:
    """Of the backward pass, where z and a are at hand and so are the saved values."""
    free = [*formula.inputs.values(), formula.value, *saved]
    return KEEPING * len(saved) + _cost(formula.derivative, free)


def _cost(root: Recorded, free: Iterable[Recorded]) -> int:
    return sum(COSTS.get(n.op, 1) for n in walk(root, free) if n.args and not n.constant)


def kept(formula: Formula) -> list[Recorded]:
    """The values of f that f′ should find again; z and a are there anyway."""
    free = {*formula.inputs.values(), formula.value}
    common = set(walk(formula.value)) & set(walk(formula.derivative, free)) - free
    prices = {n: _cost(n, free) for n in common if n.args and not n.constant and not n.condition}
    able = sorted((n for n in prices if prices[n] > KEEPING), key=lambda n: (-prices[n], n.index))[:MOST]
    sets = ([n for i, n in enumerate(able) if bits >> i & 1] for bits in range(2 ** len(able)))
    return min(sets, key=lambda saved: cost(formula, saved))
