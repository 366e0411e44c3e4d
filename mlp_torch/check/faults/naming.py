"""What places are called in sentences: the author's own names and count, where they have one."""

import re
from dataclasses import dataclass

from mlp_torch.check.describe.forward import Network


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
