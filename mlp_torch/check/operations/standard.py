"""The truth that a gradient is held against: the reference in float64, nudged and rounded to see it move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations.calls import Graph, RaisedError, Side
from mlp_torch.check.operations.floor import JUMP, ROUNDINGS, UNDERFLOW, Floor, U, nudged, of
from mlp_torch.check.operations.rounding import Rounding
from mlp_torch.check.operations.tensors import differentiable, raised, to_numpy
from mlp_torch.check.report import length

# wide enough that two entries which tie do not move alike; LARGER moves what is smooth 4096 times as far
NUDGE, LARGER, PAIRS = 2.0**-44, 2.0**-32, 2
# beyond, entries are not nudged one by one to see which of them one kink ties together
FEW = 256

Place = tuple[str, int]
Moves = dict[str, Array]


@dataclass
class Standard:
    """The reference in float64 at one point; `inexact`: in the dtype judged, where it draws random numbers.

    A random number of another dtype is another number, under the same seed too.
    """

    side: Side
    values: list[Any]
    wanted: list[int]
    graph: Graph
    up: list[Tensor | None]
    true: dict[str, Array]
    moved: dict[float, list[dict[str, Array]]] = field(default_factory=dict)
    outputs: dict[float, list[list[Array]]] = field(default_factory=dict)
    cancelling: dict[str, Array] | None = None
    fixed: set[int] | None = None
    inexact: bool = False
    pairs: int = PAIRS

    def upstream(self, graph: Graph) -> list[Tensor | None]:
        """A copy of the upstream for the outputs of `graph`, each in its dtype."""
        return [
            None if u is None or not differentiable(o) else u.to(o.dtype, copy=True)
            for u, o in zip(self.up, graph.out, strict=True)
        ]

    @property
    def scale(self) -> float:
        """The largest of the gradients and the upstream."""
        return max(
            [length(t) for t in self.true.values()] + [length(to_numpy(g)) for g in self.up if g is not None]
        )

    def settle(self) -> None:
        """Find the arrays that are compared with ==, such as labels: any nudge makes the same other gradient.

        The outputs jump with it. At a kink they do not, and the gradient has two sides.
        """
        self.fixed = set()
        if not any(self._kinks(n).any() for n in self.true):
            return
        self.pairs = 4 * PAIRS  # two kinks that move one entry cancel in half of the nudges
        largest = max(map(self.top, self.true))
        for i in self.wanted:
            some = []
            for k in range(4):
                generator = torch.Generator().manual_seed(100 + k // 2)
                values = list(self.values)
                values[i] = nudged(values[i], (1 - 2 * (k % 2)) * NUDGE, generator)
                some.append(np.concatenate([d.ravel() for d in self._difference(values, 1.0).values()]))
            top = np.abs(some[0]).max(initial=0.0)
            alike = all(np.abs(d - some[0]).max(initial=0.0) <= 1e-6 * top for d in some)
            if alike and top > 1e-3 * largest and self._outputs_jump(1.0):
                self.fixed.add(i)
            self.outputs.pop(1.0, None)
        if self.fixed:
            self.moved.clear()
            self.outputs.clear()

    def _outputs_jump(self, amplitude: float) -> bool:
        before = [to_numpy(o) for o in self.graph.out]
        return any(
            length(a - b) > 1e-6 * length(b) + 1e3 * NUDGE
            for run in self.outputs.get(amplitude, [])
            for a, b in zip(run, before, strict=True)
            if a.shape == b.shape
        )

    def _kinks(self, name: str) -> Array:
        first, second = self.jumps(NUDGE)[name], self.jumps(LARGER)[name]
        top = max(self.top(name), float(first.max(initial=0.0)))
        # what is 0 up to rounding does not grow with the nudge either
        rounding = 1e3 * float(self.rounded()[name].max(initial=0.0))
        return (first > 1e-3 * top) & (second < 64 * first) & (first > rounding)

    def differences(self, amplitude: float, pairs: int = 1) -> list[dict[str, Array]]:
        """t(x + δ) − t(x) at nudged inputs, +δ and −δ in turn: one of the two crosses a kink that x is on."""
        found = self.moved.setdefault(amplitude, [])
        while len(found) < 2 * pairs:
            generator = torch.Generator().manual_seed(1 + len(found) // 2)
            sign = 1 - 2 * (len(found) % 2)
            values = list(self.values)
            for i in self.wanted:
                if self.fixed and i in self.fixed:
                    continue
                values[i] = nudged(values[i], sign * amplitude, generator)
            found.append(self._difference(values, amplitude))
        return found

    def one_by_one(self, amplitude: float, places: Mapping[str, Sequence[int]]) -> dict[Place, list[Moves]]:
        """t(x + δ) − t(x) where one entry alone is nudged, up and down, by (array, index in it)."""
        found: dict[Place, list[Moves]] = {}
        names = self.side.arguments.names
        for i in self.wanted:
            if self.fixed and i in self.fixed:
                continue
            v = self.values[i].contiguous()
            top = float(v.abs().max()) if v.numel() else 1.0
            for at in places.get(names[i], ()):
                moves = []
                for sign in (1, -1):
                    values = list(self.values)
                    values[i] = v.clone()
                    entry = values[i].view(-1)
                    size = float(entry[at].abs()) or top or 1.0
                    entry[at] += sign * amplitude * size
                    moves.append(self._difference(values, -1.0))
                found[names[i], at] = moves
        self.outputs.pop(-1.0, None)
        return found

    def with_ties(self, floor: Floor, hand: Mapping[str, Array]) -> Floor:
        """More kinks among entries where `hand` is another: those no random nudge made the largest."""
        places: dict[str, list[int]] = {}
        for name, t in self.true.items():
            value = self.values[self.side.arguments.names.index(name)]
            if hand[name].shape == t.shape == tuple(value.shape) and t.size:
                apart = np.abs(hand[name] - t) > 1e-3 * self.top(name)
                places[name] = [int(k) for k in np.flatnonzero(apart & ~floor.kinked[name])]
        if not 0 < sum(map(len, places.values())) <= FEW:
            return floor
        kinked = {n: m.copy() for n, m in floor.kinked.items()}
        small, large = (self.one_by_one(a, places) for a in (NUDGE, LARGER))
        for (name, at), moves in small.items():
            for near, far in zip(moves, large[name, at], strict=True):
                step, wide = (abs(float(d[name].flat[at])) for d in (near, far))
                if step > 1e-3 * self.top(name) and wide < 64 * step:
                    kinked[name].flat[at] = True
        return replace(floor, kinked=kinked)

    def _difference(self, values: list[Any], amplitude: float) -> dict[str, Array]:
        try:
            graph = self.side.forward(values, self.wanted)
            other = self.side.gradients(graph, self.up)
        except RaisedError:  # the nudge left the domain
            return {name: np.zeros_like(t) for name, t in self.true.items()}
        self.outputs.setdefault(amplitude, []).append([to_numpy(o) for o in graph.out])
        return {
            name: np.nan_to_num(other[name] - t, nan=0.0, posinf=0.0, neginf=0.0)
            if other[name].shape == t.shape else np.zeros_like(t)
            for name, t in self.true.items()
        }  # fmt: skip

    def jumps(self, amplitude: float) -> dict[str, Array]:
        some = self.differences(amplitude, 1 if amplitude == LARGER else self.pairs)
        return {name: np.max([np.abs(d[name]) for d in some], axis=0) for name in self.true}

    def rounded(self) -> dict[str, Array]:
        """What cancels, entry by entry, for u = 2⁻⁵²: two runs with every operation rounded."""
        if self.cancelling is None:
            runs = []
            for number, unit in enumerate((4 * U, LARGER)):
                try:
                    with Rounding(unit, number):
                        runs.append(self._difference(self.values, 0.0))
                except Exception:  # an operation that takes no dispatch mode: nudges have to do
                    runs.append({name: np.zeros_like(t) for name, t in self.true.items()})
            self.cancelling = {}
            for name in self.true:
                small, large = (np.abs(run[name]) for run in runs)
                small, smooth = small / 4, large * (U / LARGER)
                # a move that does not follow the unit comes from a comparison or a change of rank
                jumped = small > 64 * smooth + 64 * U * self.top(name)
                steep = length(smooth) > 64 * length(small) + 64 * U * self.top(name)
                self.cancelling[name] = (
                    small if steep else np.where(jumped, smooth, np.maximum(small, smooth))
                )
        return self.cancelling

    def top(self, name: str) -> float:
        return float(np.abs(self.true[name]).max(initial=0.0))

    def outputs_allowed(self, unit: float, low: Sequence[Array] | None = None) -> list[tuple[float, Array]]:
        """By output: (‖a − o‖ that is rounding, the entries where the output itself does not jump)."""
        least = of(UNDERFLOW, unit)
        if self.inexact:
            entries = [to_numpy(o) for o in self.graph.out]
            return [(8 * unit * length(o[np.isfinite(o)]) + least, np.isfinite(o)) for o in entries]
        amplitude = unit if unit > LARGER else NUDGE
        self.differences(amplitude)
        runs = [*self.outputs.get(amplitude, []), *self.outputs.get(0.0, [])[:1]]
        found = []
        for i, o in enumerate(to_numpy(o) for o in self.graph.out):
            with np.errstate(all="ignore"):
                move = np.max([np.abs(r[i] - o) for r in runs if r[i].shape == o.shape] or [0 * o], axis=0)
                if low is not None and low[i].shape == o.shape:
                    move = np.maximum(move, np.abs(low[i] - o))
            there = np.isfinite(o) & np.isfinite(move)
            smooth = there & (move <= of(JUMP, unit) * np.abs(o[there]).max(initial=0.0) + least)
            size = length(o[smooth])
            found.append((4 * length(move[smooth]) + of(ROUNDINGS, unit) * unit * size + least, smooth))
        return found

    def floor(
        self, unit: float, low: Mapping[str, Array] | None = None, relative: Mapping[str, float] | None = None
    ) -> Floor:
        """The floor for a dtype of unit `unit`, whose own gradient of the reference is `low`.

        `relative` is the reference's own error at other points, relative, for arrays of few entries.
        """
        if self.inexact:  # the truth has roundings of its own
            noise = {n: unit * length(t) for n, t in self.true.items()}
            return Floor(unit, noise, noise, {})
        if self.fixed is None:
            self.settle()
        first, second, rounded = self.jumps(NUDGE), self.jumps(LARGER), self.rounded()
        coarse = self.jumps(unit) if unit > LARGER else None
        tight, noise, kinked, entries = {}, {}, {}, {}
        for name, t in self.true.items():
            kink, move = self._kinks(name), first[name] * (4 * U / NUDGE)
            cancelling = rounded[name] * (unit / U) * (1.0 if unit <= U else 0.5)
            limit = of(JUMP, unit) * max(self.top(name), float(first[name].max(initial=0.0)))
            if coarse is not None:
                move = coarse[name]
                kink |= (move > limit) & (move > 16 * unit / LARGER * second[name])
            error = np.zeros_like(t)
            if low is not None and low[name].shape == t.shape:
                error = np.abs(low[name] - t)
                # where t is 0, what is left of larger terms is no jump
                left = max(64 * float(cancelling.max(initial=0.0)), min(64 * unit, 0.25) * self.scale)
                kink |= ~(error <= np.maximum(np.maximum(limit, left), 16 * move)) & np.isfinite(t)
            kinked[name] = kink
            parts = [length(v[~kink]) for v in (cancelling, error)]
            parts.append((relative or {}).get(name, 0.0) * length(t))
            noise[name] = length(np.array([*parts, length(move[~kink])]))
            if coarse is None or (low is not None and low[name].shape == t.shape):
                entries[name] = np.sqrt(cancelling**2 + error**2 + move**2)
            tight[name] = noise[name] if coarse is None else length(np.array(parts))
        return Floor(unit, tight, noise, kinked, entries)


def standard(
    side: Side, values: Sequence[Any], wanted: list[int], inexact: bool = False, seed: int = 0
) -> Standard:
    """Raises RaisedError where the reference does not take `values`."""
    given = list(values) if inexact else [raised(v) for v in values]
    graph = side.forward(given, wanted)
    up = upstreams(graph.out, seed)
    cast = [None if u is None else u.to(o.dtype) for u, o in zip(up, graph.out, strict=True)]
    true = side.gradients(graph, cast, retain=True)
    return Standard(side, given, wanted, graph, cast, true, inexact=inexact)


def upstreams(out: Sequence[Tensor], seed: int = 0, steps: int = 16) -> list[Tensor | None]:
    """Random multiples of 1/16 up to 4 in size: every dtype holds them; None where nothing comes back."""
    # a seed of nobody's inputs: an upstream that is the input itself goes to 0 in a normalization
    generator = torch.Generator().manual_seed(6_700_417 + seed)

    def draw(shape: Any) -> Tensor:
        v = torch.randn(shape, generator=generator, dtype=torch.float64).clamp(-4, 4)
        v = (steps * v).round() / steps
        return torch.where(v == 0, 1 / 16, v)

    return [
        None if not differentiable(o)
        else torch.complex(draw(o.shape), draw(o.shape)).to(o.device) if o.is_complex()
        else draw(o.shape).to(o.device)
        for o in out
    ]  # fmt: skip
