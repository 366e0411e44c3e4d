"""One standard loss over one array of somebody's forward pass, and when two of them are one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.losses import LOSSES

CLOSE = 1e-6  # an ε inside a log or a division leaves that much
# a loss over probabilities and its sibling over logits are one function of the parameters
SIBLINGS = {"bce_with_logits": "bce", "cross_entropy_from_logits": "cross_entropy"}

Gradient = Mapping[str, Array]


@dataclass(frozen=True)
class Reading:
    """A standard loss over one array: its value and, where the forward pass was traced, its gradient."""

    loss: str
    reduction: str
    over: str
    value: float
    gradient: Gradient | None
    penalty: Mapping[str, float] = field(default_factory=dict)  # λ of ½·λ·Σθ² beside it, by name
    factor: float = 0.0  # where the author's loss is this one times a constant
    broadcast: int = 0  # N where every output meets every target
    rank: tuple[bool, ...] = ()  # the lower, the likelier to be meant by the author

    @property
    def family(self) -> str:
        return SIBLINGS.get(self.loss, self.loss)

    @property
    def extra(self) -> str:
        """What the author's loss holds beside this one."""
        if self.factor:
            return f", times {self.factor:.6g}"
        groups: dict[str, list[str]] = {}
        for n, v in self.penalty.items():
            groups.setdefault(f"{v:.6g}", []).append(n)
        return "".join(f", plus ½·{v}·Σθ² of {' and '.join(names)}" for v, names in groups.items())

    def __str__(self) -> str:
        square = f" broadcast to ({self.broadcast}, {self.broadcast})" if self.broadcast else ""
        return f"{self.loss} over {self.over}{square}, reduction {self.reduction}{self.extra}"


def distinct(found: list[Reading]) -> list[Reading]:
    """One reading of each loss and reduction: over a named array, and the first that gives it."""
    kept: dict[tuple[str, str, int], Reading] = {}
    for r in reversed(found):
        key = (r.family, r.reduction, r.broadcast)
        if key not in kept or r.rank < kept[key].rank:
            kept[key] = r
    ordered = sorted(kept.values(), key=lambda r: (r.broadcast, r.rank, list(LOSSES).index(r.loss)))
    return [r for r in ordered if not r.broadcast or r is ordered[0]][:4]


def near(g: Gradient | None, wanted: Gradient, close: float) -> bool:
    if g is None:
        return True
    gap = np.sqrt(sum(float(np.sum((g[n] - w) ** 2)) for n, w in wanted.items()))
    return bool(gap <= 10 * close * np.sqrt(sum(float(np.sum(w**2)) for w in wanted.values())))
