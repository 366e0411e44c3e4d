"""How far from the truth rounding alone may be, in every dtype.

allowed = 4 √(nudge² + cancelling² + low²) + c u ‖t‖

t is the reference's gradient in float64, u the unit of the dtype judged, `nudge` what t moves by when the
inputs move by u, `cancelling` what it moves by when every operation on the way is rounded, `low` the
reference's own error in that dtype. In short dtypes there are two floors: within the one without `nudge` a
gradient is right; between that and the other it is, if the other is not too coarse to tell. Entries that
jump, where the move does not shrink with the nudge, are no rounding: they lie on a kink and are left out.

A traced NumPy program has its rounding put into it (`functions/floors.py`); a kernel is seen from outside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.operations.calls import RaisedError, Side
from mlp_torch.check.operations.tensors import to_numpy
from mlp_torch.check.report import length

if TYPE_CHECKING:  # it imports the floor
    from mlp_torch.check.operations.standard import Standard


U = 2.0**-52
# what underflows is 0, by unit: a few of float64's least numbers, the least normal number of the others
UNDERFLOW = ((1e-12, 2.0**-1070), (5e-4, 2.0**-126), (2e-3, 2.0**-14), (1.0, 2.0**-126))
# multiples of u for the roundings of another way to write the same formula: few where u is coarse, because
# a fault of 5 % must show in bfloat16
ROUNDINGS = ((1e-12, 64.0), (1e-5, 16.0), (1.0, 2.0))
# … and of one entry, before it is looked at elsewhere
DOUBT = ((1e-12, 64.0), (1e-5, 16.0), (1.0, 4.0))
# what an entry may be off by, against the largest, and still be rounding
JUMP = ((1e-12, 1e-3), (1e-5, 1e-3), (1.0, 0.25))


# the part of a gradient that rounding may move before nothing is said about it; where the gradient is 0,
# the part of the other gradients and the upstream
TOO_COARSE = ((1e-12, 1e-3), (1e-5, 1e-2), (1.0, 0.1))
TOO_FAR_FROM_ZERO = ((1e-12, 1e-6), (1e-5, 1e-2), (1.0, 0.1))


def of(table: tuple[tuple[float, float], ...], unit: float) -> float:
    return next(value for limit, value in table if unit <= limit)


@dataclass(frozen=True)
class Floor:
    """By array: the noise under the random upstream, without nudges and with, and the entries on a kink."""

    unit: float
    tight: Mapping[str, float]
    noise: Mapping[str, float]
    kinked: Mapping[str, Array]
    # the noise by entry: a norm over thousands of entries hides one that has the wrong sign
    entries: Mapping[str, Array] = field(default_factory=dict)

    def allowed(self, name: str, true: Array, weight: float = 1.0, tight: bool = False) -> float:
        """‖h − t‖ that is rounding; `weight` is ‖upstream‖ against the random one's."""
        noise = (self.tight if tight else self.noise)[name]
        least = of(UNDERFLOW, self.unit) * max(true.size, 1) ** 0.5
        return 4 * weight * noise + of(ROUNDINGS, self.unit) * self.unit * length(true) + least

    def off(self, name: str, h: Array, t: Array) -> Array:
        """The entries that are wrong, whatever they are elsewhere, in a dtype of 16 bits: alone or in a row.

        32 units of the entry, and 8 times what rounding does to it, or to its row where that is more; a row
        by 4 times of that, and 4 units.
        """
        noise = self.entries.get(name) if self.unit > 1e-5 else None
        if noise is None or not noise.ndim or noise.shape != h.shape or noise.shape != t.shape:
            return np.zeros(t.shape, dtype=bool)
        smooth = ~self.kinked[name] if name in self.kinked else np.ones(t.shape, dtype=bool)
        count = np.maximum(smooth.sum(axis=-1, keepdims=True), 1)

        def by_row(v: Array) -> Array:
            return np.sqrt((np.where(smooth, v, 0) ** 2).sum(axis=-1, keepdims=True) / count)

        with np.errstate(all="ignore"):
            gap, row, size = np.where(smooth, np.abs(h - t), 0), by_row(noise), by_row(t)
            whole = length(np.where(smooth, noise, 0)) / max(int(smooth.sum()), 1) ** 0.5
            row = np.maximum(row, whole if noise.shape[-1] < 8 else row)
            least = of(UNDERFLOW, self.unit)
            limit = 32 * self.unit * np.abs(t) + 8 * np.maximum(noise, row) + 4 * self.unit * size + least
            far = by_row(gap) > 4 * np.maximum(row, whole) + 4 * self.unit * size + least
        single = smooth & (gap > limit)
        return single | (smooth & far & ~single.any(axis=-1, keepdims=True))

    def doubtful(self, name: str, h: Array, t: Array) -> tuple[Array, Array]:
        """(entries off by more than their rounding as measured, those among them that another way may cost).

        c u |t| + noise is the entry's own; another way to write the formula may round what cancels in it, of
        the size of the array's other entries: c u rms(t) more, and 0 where all that is left is lost.
        """
        noise, gap = self.entries.get(name), np.abs(h - t) if h.shape == t.shape else None
        if noise is None or gap is None or not t.size or noise.shape != t.shape:
            return np.zeros(t.shape, dtype=bool), np.zeros(t.shape, dtype=bool)
        smooth = ~self.kinked[name] if name in self.kinked else np.ones(t.shape, dtype=bool)
        share, rms = of(DOUBT, self.unit) * self.unit, length(t) / t.size**0.5
        slight = share * np.abs(t) + noise + self.unit**2 * rms + of(UNDERFLOW, self.unit)
        large = self.limit(name, t)
        if self.unit <= U:  # the truth has roundings of its own
            slight = large
        apart = smooth & (gap > slight) & ((gap > large) | (h != 0))
        return np.asarray(apart), np.asarray(apart & ~(gap > large))

    def limit(self, name: str, t: Array) -> Array:
        """What an entry may be off by without being looked at elsewhere."""
        rms = length(t) / max(t.size, 1) ** 0.5
        share, times = of(DOUBT, self.unit) * self.unit, 4 if self.unit <= U else 1
        noise = times * self.entries[name] + of(UNDERFLOW, self.unit)
        return np.asarray(share * (np.abs(t) + rms) + noise)

    def clean(self, name: str, entries: Array) -> Array:
        """The entries away from kinks."""
        mask = self.kinked.get(name)
        return entries if mask is None or not mask.any() or mask.shape != entries.shape else entries[~mask]


def nudged(v: Tensor, amplitude: float, generator: torch.Generator) -> Tensor:
    """v moved by up to `amplitude` of each entry; an entry that is 0 by as much of the largest."""
    size = v.abs()
    top = size.max() if size.numel() else size.new_ones(())
    random = torch.rand(v.shape, generator=generator, dtype=torch.float64).to(v.device)
    sign = torch.rand(v.shape, generator=generator, dtype=torch.float64).to(v.device).sub(0.5).sign()
    step = amplitude * sign * (0.5 + 0.5 * random)
    return v + step * torch.where(size > 0, size, torch.where(top > 0, top, torch.ones_like(top)))


MOST = ((1e-12, 1e-10), (1.0, 1e-3))
PAIRS = 4


@dataclass(frozen=True)
class Own:
    """What rounding does to the author's own function: ‖move‖ of each gradient and output.

    Asked for where the formula is known to be right.

    A one-pass variance E[x²] − E[x]² is right, and loses digits that the reference keeps: its inputs moved by
    one unit show how many. Nothing beyond a thousandth of an array's size is put down to that in float32,
    where float64 has been right; nothing beyond 1e-10 in float64.
    """

    gradients: Mapping[str, float]
    outputs: Sequence[float]

    def widened(self, floor: Floor, true: Mapping[str, Array]) -> Floor:
        def wide(noise: Mapping[str, float]) -> dict[str, float]:
            return {
                n: v + min(self.gradients.get(n, 0.0), of(MOST, floor.unit) / 4 * length(true[n]))
                for n, v in noise.items()
            }

        return replace(floor, tight=wide(floor.tight), noise=wide(floor.noise))


def own(side: Side, values: Sequence[Any], truth: "Standard") -> Own | None:
    """None where the function raises at a nudged point."""
    gradients: dict[str, list[Array]] = {}
    outputs: list[list[Array]] = []
    unit = max([U, *(torch.finfo(values[i].dtype).eps for i in truth.wanted)])
    try:
        for number in range(2 * PAIRS + 1):
            generator = torch.Generator().manual_seed(1 + number // 2)
            amplitude = unit * (2 * (number % 2) - 1) * (number < 2 * PAIRS)
            given = [
                nudged(v.double(), amplitude, generator).to(v.dtype)
                if i in truth.wanted and v.is_floating_point()
                else v
                for i, v in enumerate(values)
            ]
            graph = side.forward(given, truth.wanted)
            outputs.append([to_numpy(o) for o in graph.out])
            for name, g in side.gradients(graph, truth.upstream(graph)).items():
                gradients.setdefault(name, []).append(g)
    except RaisedError:
        return None
    columns = [[run[i] for run in outputs] for i in range(len(outputs[0]))]
    return Own({n: _move(some) for n, some in gradients.items()}, [_move(some) for some in columns])


def _move(runs: list[Array]) -> float:
    """The last run is where nothing is nudged."""
    if any(r.shape != runs[-1].shape for r in runs):
        return 0.0
    with np.errstate(all="ignore"):
        gap = np.max([np.abs(r - runs[-1]) for r in runs[:-1]], axis=0)
    return length(np.nan_to_num(gap, nan=0.0, posinf=0.0))
