"""Near misses: rounding is measured at few points; of an array of few entries it may be found too small.

What is off by no more than `MISS` times of what rounding may do is looked at elsewhere: a fault is there too,
and rounding is not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations.bench import Bench
from mlp_torch.check.operations.calls import RaisedError
from mlp_torch.check.operations.floor import Floor, nudged
from mlp_torch.check.operations.judging import near
from mlp_torch.check.operations.standard import standard
from mlp_torch.check.operations.tensors import raised
from mlp_torch.check.report import length

MISS = 4.0
POINTS, AWAY = 16, 0.5


def _elsewhere(bench: Bench) -> Iterator[tuple[Bench, set[str]]]:
    """The same function at other inputs and under other upstreams, and which gradients are off there."""
    moved = set(bench.wanted) - (bench.standard.fixed or set())
    sizes = {n: length(t) for n, t in bench.standard.true.items()}
    relative = {n: bench.floor.noise[n] / size if size else 0.0 for n, size in sizes.items()}
    for seed in range(1, POINTS + 1):
        generator = torch.Generator().manual_seed(seed)
        values = [
            nudged(raised(v), AWAY, generator).to(v.dtype) if i in moved else v
            for i, v in enumerate(bench.values)
        ]
        try:
            truth = standard(bench.standard.side, values, bench.wanted, bench.standard.inexact, seed)
            there = replace(
                bench, standard=truth, floor=truth.floor(bench.floor.unit, relative=relative), values=values
            )
            graph = there.graph()
            hand = there.side.gradients(graph, there.up(graph))
        except (RaisedError, ValueError):  # the latter: outputs of another number
            continue
        if all(np.isfinite(t).all() for t in truth.true.values()):
            yield there, {n for n, h in hand.items() if _off(there, n, h)}


def _off(there: Bench, name: str, h: Array) -> bool:
    t = there.standard.true[name]
    return not near(h, t, there.floor, name) or bool(there.floor.off(name, h, t).any())


def points(bench: Bench) -> Iterator[Bench]:
    """Where the plain run is right."""
    return (there for there, off in _elsewhere(bench) if not off)


def wider(bench: Bench, names: Sequence[str], hand: Mapping[str, Array]) -> Floor | None:
    """The floor where these gradients, off at this point, are off by rounding; None where it is a fault."""
    true = bench.standard.true
    if not all(near(hand[n], true[n], bench.floor, n, times=MISS) for n in names):
        return None
    if not is_rounding(bool(off & set(names)) for _, off in _elsewhere(bench)):
        return None

    def of(noise: Mapping[str, Any]) -> dict[str, Any]:
        return {n: MISS * v if n in names else v for n, v in noise.items()}

    floor = bench.floor
    return replace(floor, tight=of(floor.tight), noise=of(floor.noise), entries=of(floor.entries))


def is_rounding(failing: Iterable[bool]) -> bool:
    """Whether it fails at one point in eight at most; where hardly any can be looked at, it is not said."""
    found = list(failing)
    return len(found) >= POINTS // 2 and 8 * sum(found) <= len(found)
