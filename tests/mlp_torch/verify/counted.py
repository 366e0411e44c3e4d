"""What the rules of products and sums are held to: the same formulas, counted anew in fractions."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import proven
from mlp_torch.verify.kinds import ENTRIES, RULES, STEPS
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import Rounding


def exact(array: Any) -> Array:
    """The entries as fractions."""
    found: Array = np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(array)
    return found


# kind: the number of terms, their sum (or, of absolute values, its size), and what the errors e change
Counted = tuple[Callable[..., int], Callable[..., Any], Callable[..., Any]]
COUNTED: dict[str, Counted] = {
    "linear": (
        lambda a, W, b: W.shape[1] + 1,
        lambda a, W, b: a @ W.T + b,
        lambda e, a, W, b: e[0] @ W.T,
    ),
    "linear_backward_input": (lambda dz, W: len(W), lambda dz, W: dz @ W, lambda e, dz, W: e[0] @ W),
    "linear_backward_weight": (
        lambda dz, a: len(a),
        lambda dz, a: dz.T @ a,
        lambda e, dz, a: dz.T @ e[1] + e[0].T @ (a + e[1]),
    ),
    # n terms are n − 1 additions
    "backward_bias": (lambda dz: len(dz) - 1, lambda dz: dz.sum(axis=0), lambda e, dz: e[0].sum(axis=0)),
    "dropout": (lambda a, mask: 1, lambda a, mask: a * mask, lambda e, a, mask: e[0] * mask),
    "dropout_backward": (lambda a, mask: 1, lambda a, mask: a * mask, lambda e, a, mask: e[0] * mask),
}
# What each kind reads, by its sizes: N rows, `i` inputs and `o` outputs.
SHAPES: dict[str, str] = {
    "linear": "Ni oi o",
    "linear_backward_input": "No oi",
    "linear_backward_weight": "No Ni",
    "backward_bias": "No",
    "dropout": "Ni Ni",
    "dropout_backward": "Ni Ni",
}
SIZES = {"N": 5, "i": 3, "o": 7}
SUMMED = {"linear": "i", "linear_backward_input": "o"}  # over what a kind sums, if not over the rows


def own(kind: str, inputs: list[Array], r: Rounding) -> Any:
    """How far rounding may carry one stage: γ of its terms, and the smallest normal number for each."""
    n, u, tiny = COUNTED[kind][0](*inputs), Fraction(r.u), Fraction(r.tiny)
    return n * u / (1 - n * u) * COUNTED[kind][1](*inputs) + (n + (kind == "backward_bias")) * tiny


class Lone:
    """One stage of a kind on these arrays, as its rule, its step and the bit ledger see it."""

    def __init__(self, kind: str, *arrays: Array) -> None:
        names = tuple(f"v{i}" for i in range(len(arrays)))
        self.stage = Stage("s", 1, kind, "", names, lambda *_: None)
        self.values = dict(zip(names, arrays, strict=True))

    def local(self, r: Rounding) -> Local:
        with proven():
            return RULES[self.stage.kind](self.stage, Context(self.values, r))

    def step(self, r: Rounding, *errors: Array) -> Array:
        known = dict(zip(self.values, errors, strict=True))
        return STEPS[self.stage.kind](self.stage, Bounds(r, self.values, errors=known))

    def bits(self) -> int:
        return ENTRIES[self.stage.kind](self.stage, self.values)
