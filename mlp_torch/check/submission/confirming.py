"""Whether gradients are the derivative of a loss, from values alone, at points that nobody else knew of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from manual.numbers import Array
from mlp_torch.check.submission.slopes import slope

Arrays = Mapping[str, Array]
# (loss, gradients by name) at parameters; (NaN, {}) where the code fails there.
Ask = Callable[[Arrays, bool], tuple[float, Arrays]]

WAYS = 3  # random directions: an error e along one is |e| times a normal number, and none hides from three
CLOSE = 1e-5  # of the gradient's length along a direction: what both are allowed beside the slope's error
SEEN = 1e-4  # a slope whose error is above this share of it tells nothing
COARSE = 3e-2  # the same where the gradients themselves are that coarse, in half precision
BELOW = 1e6 * 2.0**-52  # of the loss: what a way as long as the parameters changes, and rounding hides
JOINT = 1e-4  # arrays whose shares of a slope part by no more are tried along one direction
MOVES = 3  # other parameters that are tried where the loss has no slope at those handed over


@dataclass
class Found:
    """What became of each array: confirmed, contradicted (the slope, and the gradient's), or too small for
    the loss's rounding to show it; in none of them: unseen.
    """

    confirmed: set[str] = field(default_factory=set)
    contradicted: dict[str, tuple[float, float]] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)

    def left(self, names: Mapping[str, Array]) -> list[str]:
        return [n for n in names if n not in (self.confirmed | self.small | set(self.contradicted))]


@np.errstate(all="ignore")  # the author's numbers may be of any size
def confirm(ask: Ask, start: Arrays) -> Found:
    """Hold the gradients at `start` against slopes of the loss, along directions drawn after they were given.

    At a kink there is no slope: arrays that it hides are judged at parameters moved by 2 to 6 %.
    """
    generator = np.random.default_rng()
    found = _at(ask, start, list(start), generator)
    for _ in range(MOVES):
        left = found.left(start) or ([] if found.confirmed or found.contradicted else list(found.small))
        if not left:
            break
        there = _at(ask, _moved(start, generator), left, generator)
        found.confirmed |= there.confirmed
        found.small -= there.confirmed
    return found


def _moved(start: Arrays, generator: np.random.Generator) -> dict[str, Array]:
    moved = {}
    for n, v in start.items():
        way = generator.choice([-1, 1], size=v.shape) * generator.uniform(0.02, 0.06, size=v.shape)
        moved[n] = v * (1 + way) + way * _size(v) * (v == 0)
    return moved


def _size(v: Array) -> float:
    return float(np.sqrt(np.mean(v * v))) or 1.0


def _at(ask: Ask, start: Arrays, names: list[str], generator: np.random.Generator) -> Found:
    found = Found()
    loss, gradients = ask(start, True)
    hand = {n: h for n in names if (h := _fitting(gradients.get(n), start[n])) is not None}
    if not np.isfinite(loss):
        return found
    line = _Line(ask, start, loss, hand, generator)
    sizes = {n: float(np.linalg.norm(h * (np.abs(start[n]) + _size(start[n])))) for n, h in hand.items()}
    top = max(sizes.values(), default=0.0)
    together = {n: s for n, s in sizes.items() if s > JOINT * top}
    if len(together) > 1:
        least = min(together.values())
        if line.agrees({n: least / s for n, s in together.items()}) == "confirmed":
            found.confirmed |= set(together)
    for n in hand:
        if n in found.confirmed:
            continue
        said = line.agrees({n: 1.0})
        if said == "contradicted":
            found.contradicted[n] = line.last
        elif said == "confirmed":
            found.confirmed.add(n)
        elif said == "small":
            found.small.add(n)
    return found


def _fitting(given: Array | None, value: Array) -> Array | None:
    """The gradient in the parameter's shape; None where it has none."""
    if given is None or given.squeeze().shape != value.squeeze().shape:
        return None
    real = np.real(given) if given.dtype.kind == "c" and not np.imag(given).any() else given
    if real.dtype.kind not in "fiub" or not np.isfinite(real).all():
        return None
    return real.astype(np.float64).reshape(value.shape)


@dataclass
class _Line:
    """The loss along directions of some arrays, beside what the gradients say of it."""

    ask: Ask
    start: Arrays
    loss: float
    hand: Arrays
    generator: np.random.Generator
    last: tuple[float, float] = (0.0, 0.0)

    def agrees(self, weights: Mapping[str, float]) -> str:
        """confirmed, contradicted, small (below the rounding of the loss), or unseen."""
        said = [self._one(weights) for _ in range(WAYS)]
        for word in ("contradicted", "unseen", "small"):
            if word in said:
                return word
        return "confirmed"

    def _one(self, weights: Mapping[str, float]) -> str:
        way = {
            n: w * self.generator.normal(size=self.start[n].shape)
            * (np.abs(self.start[n]) + _size(self.start[n]))
            for n, w in weights.items()
        }  # fmt: skip
        shares = [self.hand[n] * d for n, d in way.items()]
        told = float(sum(s.sum() for s in shares))
        length = float(np.sqrt(sum((s * s).sum() for s in shares)))

        def along(t: float) -> float:
            return self.ask({**self.start, **{n: self.start[n] + t * d for n, d in way.items()}}, False)[0]

        seen = slope(along, self.loss, 0.1 * CLOSE * length)
        if not np.isfinite(seen.error):
            return "unseen"
        gap, allowed = abs(seen.value - told), 3 * seen.error + CLOSE * length
        known = seen.error <= SEEN * length
        if (gap > allowed or not known) and (own := self._rounding(way)) > CLOSE * length:
            allowed += 10 * own
            known = allowed <= COARSE * length
        if gap <= allowed:
            if length > 0 and known:
                return "confirmed"
            below = BELOW * abs(self.loss)
            return "small" if length <= below and allowed <= 100 * below else "unseen"
        if 3 * seen.error > SEEN * max(length, abs(seen.value)):
            return "unseen"  # a kink, or a loss rounded coarsely: there is no slope to be held against
        self.last = (seen.value, told)
        return "contradicted"

    def _rounding(self, way: Arrays) -> float:
        """The gradients' own rounding along a direction: what a second difference has that is no curve.

        A curve's is a hundredth for a tenth of the step, and rounding's is not.
        """
        short, middle, long = (self._second(way, t) for t in (3e-4, 2e-3, 2e-2))
        return max(short, middle - 1.5e-2 * long)

    def _second(self, way: Arrays, step: float) -> float:
        """‖(g(t) − 2g(0) + g(−t))·d‖; infinite where the gradients fail there."""
        second = {n: -2 * self.hand[n] for n in way}
        for t in (step, -step):
            _, beside = self.ask({**self.start, **{n: self.start[n] + t * d for n, d in way.items()}}, True)
            for n in way:
                near = _fitting(beside.get(n), self.start[n])
                second[n] = second[n] + (np.inf if near is None else near)
        return float(np.sqrt(sum(np.sum((second[n] * d) ** 2) for n, d in way.items())))
