"""What a hypothesis claims, what it is measured with, and which constants have a name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.kinds import FAULTS


@dataclass(frozen=True)
class Claim:
    """One hypothesis at one place. Claims with the same `key` are one mistake made in several places.

    `name` is the array that a claim about one array concerns, empty for a step of the chain.
    `odd` orders sets that fit equally: the higher, the rarer in real code.
    `nameless`: a factor that nobody has a word for; it counts as two mistakes, so that two named ones
    are looked for before it is said.
    """

    kind: str
    variant: str
    detail: str
    layer: int
    name: str = ""
    line: str = ""
    odd: float = 1.0
    nameless: bool = False
    value: float = field(
        default=1.0, compare=False
    )  # what is left of an array that was cut; an update's rate

    @property
    def key(self) -> tuple[str, str]:
        return (self.kind, self.variant)


Claims = tuple[Claim, ...]
Make = partial[Claim]  # a Claim of one array, its place filled in


def cost(claims: Sequence[Claim]) -> int:
    """How many different mistakes; a nameless factor counts twice."""
    if len(claims) < 2:
        return 1 + claims[0].nameless if claims else 0
    return len({claim.key for claim in claims}) + strange(claims)


def strange(claims: Sequence[Claim]) -> int:
    """How many different nameless factors."""
    return len({claim.key for claim in claims if claim.nameless})


def norm(array: Array) -> float:
    """‖array‖; NumPy's own is slow for small arrays."""
    return math.sqrt(float(np.vdot(array, array)))


# Variants of slips of the chain that an array may make by itself.
OF_AN_ARRAY = frozenset({"array", "input"})


def of_the_chain(claims: Sequence[Claim]) -> bool:
    """Whether none of them could be made again, at no cost, in an array alone."""
    return all(FAULTS[claim.kind].of_chain and claim.variant not in OF_AN_ARRAY for claim in claims)
