"""True gradients where no graph follows the author's code: the loss of their own run, a value moved in it.

∂loss/∂v[j] is Im L(v + ih e_j)/h where the code is analytic, else a fourth-order central difference; both are
checked along a random direction. What takes too long is searched among the author's own backward values: one
that has the slopes of two random directions is the gradient.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.program import Gradients, Program, Truth, UnavailableError
from mlp_torch.check.lines.recording import At, Event

Loss = Callable[[Array], complex]  # the loss with another array in the place of a value
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # in terms of the entry's size, the widest that is exact enough
ENOUGH = 1e-9  # of an entry: no smaller step is tried
WORST = 1e-7  # of an array: with a larger error it is not known
ULP = 2.0**-52


@dataclass(frozen=True)
class Slope:
    """dL/dt along a way, and what it may be off by. `moves`: whether the loss depends on it at all."""

    way: Array
    value: float
    error: float
    moves: bool


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
    """One draw of parameters and data. `known`: gradients of a graph that numbers have left, each of which is
    taken where the slope along a random direction is its own.
    """

    program: Program
    parameters: Gradients
    data: Sequence[Any]
    loss: float
    events: Sequence[Event]
    known: Mapping[At, Array | None]
    guess: Mapping[str, Array]
    deadline: float
    found: dict[At, Array | None] = field(default_factory=dict)
    errors: dict[At, float] = field(default_factory=dict)
    seconds: float = 0.0  # of one run

    def __post_init__(self) -> None:
        start = time.monotonic()
        self._at({})(np.zeros(0))
        self.seconds = time.monotonic() - start

    def _at(self, replacements: Mapping[At, Array], at: At | None = None) -> Loss:
        """The loss as a function of the value at one event; NaN where the code raises."""

        def loss(value: Array) -> complex:
            given = {**replacements, at: value} if at is not None else replacements
            try:
                return self.program.loss_at(self.parameters, self.data, given)
            except Exception:  # whatever the author's code raises when a value is moved
                return complex(np.nan, np.nan)

        return loss

    def _of_parameter(self, name: str) -> Loss:
        def loss(value: Array) -> complex:
            try:
                return self.program.loss_at({**self.parameters, name: value}, self.data, {})
            except Exception:  # as above
                return complex(np.nan, np.nan)

        return loss

    def affordable(self, size: int, analytic: bool) -> bool:
        runs = size * (1 if analytic else 4)
        return time.monotonic() + runs * self.seconds <= self.deadline

    def gradient(
        self, loss: Loss, value: Array, along: Slope, guess: Array | None
    ) -> tuple[Array, float] | None:
        """(∂loss/∂value, ‖error‖); None where it takes too long, or comes out too coarse."""
        if guess is not None and guess.shape == value.shape and agrees(guess, along):
            return guess, 64 * ULP * float(np.linalg.norm(guess))
        if not self.affordable(value.size, True):
            return None
        exact = by_complex_step(loss, value, along)
        if exact is None and self.affordable(value.size, False):
            exact = by_differences(loss, value, along)
        if exact is None or not agrees(exact[0], along):
            return None
        return exact if exact[1] <= WORST * float(np.linalg.norm(exact[0])) else None

    def of_parameters(self) -> tuple[Gradients, dict[str, float]]:
        gradients, errors = {}, {}
        for name, value in self.parameters.items():
            loss = self._of_parameter(name)
            along = slope(loss, value, direction(value, 0))
            if not along.moves:
                gradients[name], errors[name] = np.zeros(value.shape), 0.0
                continue
            found = self.gradient(loss, value, along, self.guess.get(name))
            if found is None:
                raise UnavailableError(f"the derivative by differences of {name} is too slow or too coarse")
            gradients[name], errors[name] = found
        return gradients, errors

    def of_events(self) -> frozenset[At]:
        """Fills `found` with what the loss does not depend on (None) and gradients; gives those not known."""
        sites: dict[int, list[Event]] = {}
        for e in self.events:
            sites.setdefault(e.site, []).append(e)
        unknown: dict[At, tuple[Event, Slope]] = {}
        left: set[At] = set()
        for events in sorted(sites.values(), key=lambda es: sum(e.value.size for e in es)):
            moved = {(e.site, e.count): e.value + 1e-3 * direction(e.value, 1) for e in events}
            if self._at(moved)(np.zeros(0)).real == self.loss:
                self.found |= dict.fromkeys(moved)
                continue
            for e in events:
                at = e.site, e.count
                if not self.affordable(1, False):
                    left.add(at)
                    continue
                along = slope(self._at({}, at), e.value, direction(e.value, 0))
                if not along.moves:
                    self.found[at] = None
                    continue
                exact = self.gradient(self._at({}, at), e.value, along, self.known.get(at))
                if exact is None:
                    unknown[at] = e, along
                else:
                    self.found[at], self.errors[at] = exact
        self._own(unknown)
        return frozenset(left | {at for at in unknown if at not in self.found})

    def _own(self, unknown: Mapping[At, tuple[Event, Slope]]) -> None:
        """Gradients that the author's own backward values are: to the last digits, and unknown ones."""
        values: dict[tuple[int, ...], list[Array]] = {}
        for e in self.events:
            if self.found.get((e.site, e.count), e.value) is None and e.value.any():
                values.setdefault(e.value.shape, []).append(e.value)
        for at, error in self.errors.items():
            g = self.found[at]
            assert g is not None
            near = [b for b in values.get(g.shape, ()) if float(np.linalg.norm(b - g)) <= 10 * error]
            self.found[at] = near[0] if near else g
        for at, (e, along) in unknown.items():
            near = [b for b in values.get(e.value.shape, ()) if agrees(b, along)]
            if not near:
                continue
            again = slope(self._at({}, at), e.value, direction(e.value, 2))
            near = [b for b in near if agrees(b, again)]
            if near:
                self.found[at] = near[0]
                self.errors[at] = 1e-8 * float(np.linalg.norm(near[0]))


def by_moving(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float, events: Sequence[Event],
    known: Mapping[At, Array | None], guess: Mapping[str, Array], seconds: float,
) -> Truth:  # fmt: skip
    """The truth of parameters and of the values of statements. Raises UnavailableError without it."""
    sites = program.sources.sites
    whole = [e for e in events if sites[e.site].assigned and sites[e.site].kind != "argument"]
    whole = _own_place(program, parameters, data, loss, whole)
    now = time.monotonic()
    found = Differences(program, parameters, data, loss, whole, known, guess, now + seconds / 2)
    gradients, errors = found.of_parameters()
    found.deadline = now + seconds
    forward = found.of_events()
    pairs = [(gradients[n], e) for n, e in errors.items()]
    pairs += [(g, found.errors[at]) for at, g in found.found.items() if g is not None]
    shares = [e / float(np.linalg.norm(g)) for g, e in pairs if e]
    resolution = max([1e-12, *shares])
    return Truth(found.found, gradients, whole, forward, errors, resolution)


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
