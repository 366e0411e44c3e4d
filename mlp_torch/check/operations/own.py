"""What rounding does to the author's own function, once its formula is known to be right.

A one-pass variance E[x²] − E[x]² is right, and loses digits that the reference keeps: its inputs moved by one
unit show how many. Nothing beyond a thousandth of an array's size is put down to that in float32, where
float64 has been right; nothing beyond 1e-10 in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations.calls import RaisedError, Side
from mlp_torch.check.operations.floor import Floor, U, of
from mlp_torch.check.operations.standard import Standard, nudged
from mlp_torch.check.operations.tensors import norm, to_numpy

MOST = ((1e-12, 1e-10), (1.0, 1e-3))
PAIRS = 4


@dataclass(frozen=True)
class Own:
    """‖move‖ of each gradient and of each output."""

    gradients: Mapping[str, float]
    outputs: Sequence[float]

    def widened(self, floor: Floor, true: Mapping[str, Array]) -> Floor:
        def wide(noise: Mapping[str, float]) -> dict[str, float]:
            return {
                n: v + min(self.gradients.get(n, 0.0), of(MOST, floor.unit) / 4 * norm(true[n]))
                for n, v in noise.items()
            }

        return replace(floor, tight=wide(floor.tight), noise=wide(floor.noise))


def own(side: Side, values: Sequence[Any], truth: Standard) -> Own | None:
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
    return norm(np.nan_to_num(gap, nan=0.0, posinf=0.0))
