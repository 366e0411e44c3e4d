"""What a hypothesis claims, what it is measured with, and what places are called in its sentences."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network
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


@dataclass(frozen=True)
class Names:
    """`weights` of the layers as the author calls them, `marks` their numbers, empty where they have none.

    Layers are counted from 1 in reports; an author who counts from 0 reads "the layer of W0" and dz0.
    """

    weights: tuple[str, ...]
    marks: tuple[str, ...]

    def weight(self, number: int) -> str:
        return self.weights[number - 1]

    def mark(self, number: int) -> str:
        """What stands behind z, a, dz and da of a layer."""
        return self.marks[number - 1]

    def a(self, number: int) -> str:
        """The output of a layer; x below the first."""
        if not number:
            return "x"
        return f"a{self.mark(number)}" if self.mark(number) else f"the output of {self.place(number)}"

    def dz(self, number: int) -> str:
        return f"dz{self.mark(number)}" if self.mark(number) else f"dz of {self.place(number)}"

    def place(self, number: int) -> str:
        counted = self.mark(number) == str(number)
        return f"layer {number}" if counted else f"the layer of {self.weight(number)}"

    def delta(self, number: int) -> str:
        """dz of a layer by the chain rule."""
        m = self.mark(number)
        return f"dz{m} = da{m} · f′(z{m})"

    def down(self, number: int) -> str:
        """da below a layer by the chain rule."""
        return (
            f"da{self.mark(number - 1) if number > 1 else ''} = dz{self.mark(number)} {self.weight(number)}ᵀ"
        )


def names_of(problem: Network) -> Names:
    """The names of a described network; a position in a list is no number of the author's."""
    own = [next(p.name for p in layer.parts if p.role == "W") for layer in problem.layers]
    found = [re.findall(r"\d+", name) for name in own if not name.isdigit()]
    numbers = [int(digits[-1]) for digits in found if digits]
    counted = len(numbers) == len(own) and numbers == list(range(numbers[0], numbers[0] + len(own)))
    return Names(
        tuple(f"parameters[{name}]" if name.isdigit() else name for name in own),
        tuple(str(n) for n in numbers) if counted else ("",) * len(own),
    )
