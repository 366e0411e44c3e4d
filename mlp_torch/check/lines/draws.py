"""One set of parameters and data: what the author's code makes of it, and what is true of every value."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.program import Gradients, Program
from mlp_torch.check.lines.recording import At, Event
from mlp_torch.check.lines.truth import truths

TIGHT = 1e-8  # relative: two gradients that are one


def close(a: Array, b: Array, tight: float = TIGHT) -> bool:
    """Equal up to rounding, norm-wise; equal shapes."""
    if a.shape != b.shape:
        return False
    gap = float(np.linalg.norm(a - b))
    return gap <= tight * max(float(np.linalg.norm(b)), 1e-12)


@dataclass
class Draw:
    """`hand` and `true` by parameter; `values`, `truth`, `calls` and `order` by site and event.

    `truth` is None where the loss does not depend on the value, and has no key where it is not known: at
    `forward` it depends on it. `resolution` is what the truth may be off by, relative; 0: rounding alone.
    """

    parameters: Gradients
    data: tuple[Any, ...]
    loss: float
    hand: Gradients
    true: Gradients
    truth: Mapping[At, Array | None]
    events: Sequence[Event]
    floors: Mapping[str, float] = field(default_factory=dict)
    forward: frozenset[At] = frozenset()
    resolution: float = 0.0
    values: dict[int, list[Array]] = field(default_factory=dict)
    calls: dict[int, list[int]] = field(default_factory=dict)
    order: dict[At, int] = field(default_factory=dict)
    started: int = 0  # how many events there were before the backward pass, where that is known
    fallen: tuple[str, int] | None = None  # the line on which the backward pass raised

    def __post_init__(self) -> None:
        for i, e in enumerate(self.events):
            self.order[e.site, e.count] = i
            self.values.setdefault(e.site, []).append(e.value)
            self.calls.setdefault(e.site, []).append(e.call)

    @property
    def wrong(self) -> list[str]:
        return [n for n in self.true if not self.right(n, self.hand)]

    def right(self, name: str, hand: Gradients) -> bool:
        """Whether one gradient is the true one, up to rounding."""
        h, t = hand[name], self.true[name]
        if h.shape != t.shape:
            if h.size != t.size or h.squeeze().shape != t.squeeze().shape:
                return False
            h = h.reshape(t.shape)
        gap = float(np.linalg.norm(h - t))
        tight = max(TIGHT, 30 * self.resolution)
        return gap <= tight * float(np.linalg.norm(t)) + self.floors.get(name, 1e-13)

    def mends(self, hand: Gradients) -> set[str]:
        """The wrong gradients that are right in `hand`; none where a right one is spoilt."""
        wrong = self.wrong
        if any(not self.right(n, hand) for n in self.true if n not in wrong):
            return set()
        return {n for n in wrong if self.right(n, hand)}

    def gradients(self, site: int) -> list[Array] | None:
        """The true gradients of a site that the loss depends on, one an event that it depends on."""
        if site not in self.values:
            return None
        found = [self.truth.get((site, k)) for k in range(len(self.values[site]))]
        pairs = zip(found, self.values[site], strict=True)
        kept = [g for g, v in pairs if g is not None and g.shape == v.shape]
        return kept or None

    def backward(self, site: int) -> list[int]:
        """The events of a site that the loss does not depend on."""
        count = len(self.values.get(site, ()))
        return [
            k for k in range(count) if self.truth.get((site, k)) is None and (site, k) not in self.forward
        ]


def drawn(
    program: Program, parameters: Gradients, data: Sequence[Any], floors: Mapping[str, float] | None = None,
    seconds: float = 10.0,
) -> Draw:  # fmt: skip
    """The draw of these arrays; `seconds` limit differences, where these are needed. Raises UnavailableError
    without a truth, and what the code raises.
    """
    loss, hand = program.run(parameters, data, recording=True)
    found = truths(program, parameters, data, loss, hand, program.recorder.events, seconds)
    allowed = {n: 10 * e for n, e in found.errors.items()} if found.resolution else floors or {}
    return Draw(
        parameters, tuple(data), loss, hand, found.gradients, found.values, found.events, allowed,
        found.forward, found.resolution,
    )  # fmt: skip


def anew(values: Any, generator: np.random.Generator, integers: bool = False) -> Any:
    """The same nesting of arrays, drawn anew: floats of about the same size; whole numbers stay or change
    places.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        scale = float(np.std(values)) or float(np.abs(values).mean()) or 1.0
        if np.array_equal(values, np.round(values)):  # labels, one-hot rows, masks: change places
            return generator.permutation(values, axis=0) if integers and values.ndim else values.copy()
        moved = values + 0.3 * scale * generator.normal(size=values.shape)
        low, high = float(values.min()), float(values.max())
        if low >= 0:
            moved = np.abs(moved)
        if low >= 0 and high <= 1:
            moved = np.clip(moved, 0.02, 0.98)
        return moved.astype(values.dtype)
    if isinstance(values, np.ndarray):
        return generator.permutation(values, axis=0) if integers and values.ndim else values.copy()
    if isinstance(values, Mapping):
        return {k: anew(v, generator, integers) for k, v in values.items()}
    if type(values) in (list, tuple):
        return type(values)(anew(v, generator, integers) for v in values)
    if type(values) is float:
        return values
    return copy.deepcopy(values)
