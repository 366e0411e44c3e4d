"""Both sides at one point and the author's gradients there: what hypotheses are held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.operations.calls import Side
from mlp_torch.check.operations.floor import Floor
from mlp_torch.check.operations.standard import Standard
from mlp_torch.check.operations.tensors import differentiable, norm

Named = tuple[str, str]


@dataclass(frozen=True)
class Scene:
    """Both sides at one point, and the author's gradients there."""

    side: Side
    standard: Standard
    floor: Floor
    values: list[Any]
    hand: dict[str, Array]

    def fits(self, name: str, value: Array) -> bool:
        h = self.hand[name]
        if value.shape != h.shape or not np.isfinite(value).all():
            return False
        near = max(1e-9, 16 * self.floor.unit) * norm(h) + self.floor.allowed(name, self.standard.true[name])
        t = self.standard.true[name]
        # nearer than the truth, which lies within the same few units where the slip is small
        if t.shape == h.shape and norm(h - value) > 0.5 * norm(h - t):
            return False
        if self.floor.off(name, h, value).any():
            return False
        # what is 0, or as small as the floor, would be anything
        return norm(h) > 4 * near and norm(h - value) <= near

    def hand_at(self, values: Sequence[Any], factor: float = 1.0) -> dict[str, Array]:
        graph = self.side.forward(values, self.standard.wanted)
        up = [
            None if u is None or not differentiable(o) else (u * factor).to(o.dtype)
            for u, o in zip(self.standard.up, graph.out, strict=True)
        ]
        return self.side.gradients(graph, up)
