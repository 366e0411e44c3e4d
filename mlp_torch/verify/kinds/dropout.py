"""Dropout, h = a · mask forward and da = dh · mask backward: one product an entry."""

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify import bits
from mlp_torch.verify.bits import Values
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.enclosure import exact
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.rounding import up


def _rule(stage: Stage, c: Context) -> Local:
    a, mask = c.read(stage)
    size = np.abs(a * mask)
    return Local(exact(a) * mask, up(c.r.gamma(1) * size + c.r.tiny), size)


def _step(stage: Stage, b: Bounds) -> Array:
    a, mask = b.read(stage)
    return up((b.error(stage.reads[0]) + b.r.gamma(1) * np.abs(a)) * mask + b.r.tiny)


def _bits(stage: Stage, v: Values) -> int:
    return bits.entrywise(*(v[name] for name in stage.reads))


KINDS: dict[str, Kind] = {
    "dropout": Kind(_rule, _step, _bits),
    "dropout_backward": Kind(_rule, _step, _bits),
}
