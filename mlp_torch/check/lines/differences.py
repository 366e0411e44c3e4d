"""True gradients where no graph follows the author's code: the loss of their own run, a value moved in it.

One of the author's own backward values (or a multiple) that has the slopes of three random directions is the
gradient. Else ∂loss/∂v[j] is Im L(v + ih e_j)/h where the code is analytic, and a fourth-order central
difference where it is not; both are checked along a random direction.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.program import Gradients, Program, Truth, UnavailableError
from mlp_torch.check.lines.recording import At, Event
from mlp_torch.check.lines.sites import Site

Loss = Callable[[Array], complex]  # the loss with another array in the place of a value
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # in terms of the entry's size, the widest that is exact enough
ENOUGH = 1e-9  # of an entry: no smaller step is tried
SAME = 1e-10  # what two slopes may hide of an array that has both
WORST = 1e-7  # of an array: with a larger error it is not known
ULP = 2.0**-52


@dataclass(frozen=True)
class Slope:
    """dL/dt along a way, and what it may be off by. `moves`: whether the loss depends on it at all."""

    way: Array
    value: float
    error: float
    moves: bool

    def scaled(self, gradient: Array) -> Array:
        """The multiple of an array that has this slope; 0 where none has."""
        own = float((gradient * self.way).sum())
        known = abs(own) > 1e-3 * float(np.abs(gradient * self.way).sum())
        return gradient * (self.value / own if known else 0.0)


def slope(loss: Loss, value: Array, way: Array, scale: float = 0.0) -> Slope:
    """(8 (L₊₁ − L₋₁) − (L₊₂ − L₋₂)) / 12h; `scale` is the size of a slope that counts."""
    found = Slope(way, np.nan, np.inf, True)
    for h in STEPS:
        ends = [float(np.real(loss(value + k * h * way))) for k in (1, -1, 2, -2)]
        if ends.count(ends[0]) == 4:
            return Slope(way, 0.0, 0.0, h != STEPS[0])
        near, far = (ends[0] - ends[1]) / (2 * h), (ends[2] - ends[3]) / (4 * h)
        size = max(abs(near), abs(far), scale)
        # h² f‴/2 lies between the two, and its square is about what the fourth order leaves
        error = (near - far) ** 2 / size + ULP * max(map(abs, ends)) / h if size else 0.0
        if np.isfinite(error) and error < found.error:
            found = Slope(way, (4 * near - far) / 3, error, True)
        if found.error <= ENOUGH * size:
            break
    return found


def sizes(value: Array) -> Array:
    """What an entry's steps are measured by."""
    typical = float(np.sqrt(np.mean(value * value))) if value.size else 0.0
    return np.maximum(np.abs(value), typical or 1.0)


def direction(value: Array, seed: int) -> Array:
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=value.shape)
    return np.asarray(signs * sizes(value))


def entries(value: Array) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Each index, and the array that is 1 there and 0 elsewhere."""
    for index in np.ndindex(value.shape):
        one = np.zeros(value.shape)
        one[index] = 1.0
        yield index, one


def by_complex_step(loss: Loss, value: Array, along: Slope) -> tuple[Array, float] | None:
    """(gradient, error), or None where the code is not analytic in this value."""
    tiny = 1e-30j
    if not abs(loss(value + tiny * along.way).imag / 1e-30 - along.value) <= _tolerance(along):
        return None
    gradient = np.zeros(value.shape)
    for index, one in entries(value):
        gradient[index] = loss(value + tiny * one).imag / 1e-30
    return gradient, 8 * ULP * float(np.linalg.norm(gradient))


def by_differences(loss: Loss, value: Array, along: Slope) -> tuple[Array, float]:
    gradient, error, size = np.zeros(value.shape), np.zeros(value.shape), sizes(value)
    scale = abs(along.value) / np.sqrt(max(value.size, 1))
    for index, one in entries(value):
        found = slope(loss, value, one * size[index], scale)
        gradient[index], error[index] = found.value / size[index], found.error / size[index]
    return gradient, float(np.linalg.norm(error))


def _tolerance(along: Slope) -> float:
    return 10 * along.error + 1e-8 * abs(along.value)


def agrees(gradient: Array, along: Slope) -> bool:
    """Whether a gradient has the slope of a direction, as far as that is known."""
    reach = float(np.abs(gradient * along.way).sum())
    gap = abs(float((gradient * along.way).sum()) - along.value)
    return gap <= 10 * along.error + 1e-8 * reach and along.error <= 1e-5 * reach


@dataclass
class Differences:
    """One draw of parameters and data, `events` the values that may be moved. `known`: gradients of a graph
    that numbers have left; as the author's own values, they are taken where three slopes say so.
    """

    program: Program
    parameters: Gradients
    data: Sequence[Any]
    loss: float
    hand: Gradients
    events: Sequence[Event]
    known: Mapping[At, Array | None]
    guess: Mapping[str, Array]
    deadline: float
    found: dict[At, Array | None] = field(default_factory=dict)
    errors: dict[At, float] = field(default_factory=dict)
    seconds: float = 0.0  # of one run

    def __post_init__(self) -> None:
        start = time.monotonic()
        for _ in range(3):
            self._run(self.parameters, {})
        self.seconds = (time.monotonic() - start) / 3

    def _run(self, parameters: Gradients, replacements: Mapping[At, Array]) -> complex:
        try:
            return self.program.loss_at(parameters, self.data, replacements)
        except Exception:  # whatever the author's code raises when a value is moved
            return complex(np.nan, np.nan)

    def _at(self, at: At) -> Loss:
        return lambda value: self._run(self.parameters, {at: value})

    def _of(self, name: str) -> Loss:
        return lambda value: self._run({**self.parameters, name: value}, {})

    def affordable(self, runs: int) -> bool:
        return time.monotonic() + runs * self.seconds <= self.deadline

    def one_of(self, loss: Loss, value: Array, along: Slope, guesses: Sequence[Array]) -> Array | None:
        """The guess, or the constant times a guess, that has the slopes of three directions."""
        near = [g for g in guesses if g.shape == value.shape]
        near = [g for g in near if agrees(g, along)] or [g for g in map(along.scaled, near) if g.any()]
        for seed in (2, 3):
            if near:
                again = slope(loss, value, direction(value, seed))
                near = [g for g in near if agrees(g, again)]
        return near[0] if near else None

    def entry_by_entry(self, loss: Loss, value: Array, along: Slope) -> tuple[Array, float] | None:
        """(∂loss/∂value, ‖error‖); None where it takes too long, or comes out too coarse."""
        if not self.affordable(value.size):
            return None
        exact = by_complex_step(loss, value, along)
        if exact is None and self.affordable(4 * value.size):
            exact = by_differences(loss, value, along)
        if exact is None or not agrees(exact[0], along):
            return None
        return exact if exact[1] <= WORST * float(np.linalg.norm(exact[0])) else None

    def of_parameters(self) -> tuple[Gradients, dict[str, float]]:
        gradients, errors = {}, {}
        for name, value in self.parameters.items():
            loss = self._of(name)
            along = slope(loss, value, direction(value, 0))
            guesses = [g[name] for g in (self.guess, self.hand) if name in g]
            one = self.one_of(loss, value, along, guesses)
            if not along.moves:
                gradients[name], errors[name] = np.zeros(value.shape), 0.0
            elif one is not None:
                gradients[name], errors[name] = one, SAME * float(np.linalg.norm(one))
            elif (exact := self.entry_by_entry(loss, value, along)) is not None:
                gradients[name], errors[name] = exact
            else:
                raise UnavailableError(f"the derivative of {name} by differences is too slow or too coarse")
        return gradients, errors

    def of_events(self) -> frozenset[At]:
        """Fills `found` with what the loss does not depend on (None) and gradients; gives those not known."""
        sites: dict[int, list[Event]] = {}
        for e in self.events:
            sites.setdefault(e.site, []).append(e)
        left: list[Event] = []
        for events in sites.values():
            moved = {(e.site, e.count): e.value + 1e-3 * direction(e.value, 1) for e in events}
            if self._run(self.parameters, moved).real == self.loss:
                self.found |= dict.fromkeys(moved)
            else:
                left += events
        left.sort(key=lambda e: (not self.program.sources.sites[e.site].assigned, e.value.size))
        slopes: dict[At, Slope] = {}
        for e in left:
            at = e.site, e.count
            if self.affordable(4):
                slopes[at] = slope(self._at(at), e.value, direction(e.value, 0))
                if not slopes[at].moves:
                    self.found[at] = None
        own: dict[tuple[int, ...], list[Array]] = {}
        for e in self.events:
            if self.found.get((e.site, e.count), e.value) is None and e.value.any():
                own.setdefault(e.value.shape, []).append(e.value)
        left = [e for e in left if (e.site, e.count) in slopes and (e.site, e.count) not in self.found]
        for search in (True, False):
            for e in left:
                at = e.site, e.count
                if at not in self.found:
                    torch_s = self.known.get(at)
                    guesses = [*([] if torch_s is None else [torch_s]), *own.get(e.value.shape, ())]
                    self._one(e, slopes[at], guesses if search else None)
        return frozenset((e.site, e.count) for e in self.events if (e.site, e.count) not in self.found)

    def _one(self, e: Event, along: Slope, guesses: Sequence[Array] | None) -> None:
        at = e.site, e.count
        if guesses is None:
            exact = self.entry_by_entry(self._at(at), e.value, along)
            if exact is not None:
                self.found[at], self.errors[at] = exact
        else:
            one = self.one_of(self._at(at), e.value, along, guesses) if self.affordable(4) else None
            if one is not None:
                self.found[at], self.errors[at] = one, SAME * float(np.linalg.norm(one))


def by_moving(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float, hand: Gradients,
    events: Sequence[Event], known: Mapping[At, Array | None], guess: Mapping[str, Array], seconds: float,
) -> Truth:  # fmt: skip
    """The truth of parameters, of the values of statements and of what these are made from.

    Raises UnavailableError where a parameter has none.
    """
    sites = program.sources.sites
    whole = [e for e in events if sites[e.site].kind != "argument" and whole_value(sites[e.site])]
    whole = _own_place(program, parameters, data, loss, whole)
    now = time.monotonic()
    found = Differences(program, parameters, data, loss, hand, whole, known, guess, now + seconds / 2)
    gradients, errors = found.of_parameters()
    found.deadline = now + seconds
    forward = found.of_events()
    pairs = [(gradients[n], e) for n, e in errors.items()]
    pairs += [(g, found.errors[at]) for at, g in found.found.items() if g is not None]
    shares = [e / float(np.linalg.norm(g)) for g, e in pairs if e]
    resolution = max([1e-12, *shares])
    return Truth(found.found, gradients, whole, forward, errors, resolution)


def whole_value(site: Site) -> bool:
    """What a statement gives, or what is calculated inside it; no single use of a variable."""
    return site.assigned or site.kind == "calc"


def _own_place(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float, events: Sequence[Event]
) -> list[Event]:
    """The events whose value may be exchanged for its equal: no other name of it is written into."""

    def same(some: Sequence[Event]) -> bool:
        try:
            return program.loss_at(parameters, data, {(e.site, e.count): e.value for e in some}).real == loss
        except Exception:  # whatever the author's code raises where an array is another one
            return False

    if same(events):
        return list(events)
    sites = sorted({e.site for e in events})
    return [
        e for site in sites if same([e for e in events if e.site == site]) for e in events if e.site == site
    ]
