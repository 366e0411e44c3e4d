"""A weight that several layers use: its gradient is the sum of their terms."""

from collections.abc import Mapping

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults import arrays
from mlp_torch.check.faults.claims import Claim, Claims
from mlp_torch.check.faults.evidence import Evidence


def ways(
    c: Evidence, part: Part, da: Array, dz: Array, left: int, shared: dict[str, Array],
    lowest: Mapping[str, int],
) -> list[Claims]:  # fmt: skip
    """A weight used in several layers is judged at the lowest; `shared` carries the sum of its paths."""
    D = c.problem.leaf(part, dz)
    own = D if part.layout == "in,out" else D.T
    shared[f"{part.name} {part.layer}"] = own
    total = np.sum([v for key, v in shared.items() if key.rpartition(" ")[0] == part.name], axis=0)
    if part.layer > lowest[part.name]:
        return [()]
    h = c.h[part]
    whole = total if part.layout == "in,out" else total.T
    found = arrays.explain(c, part, dz, da, left, whole)
    if left and h is not None and not any(len(w) == 0 for w in found):
        R = c.regulariser(part)
        above = whole - D
        for kind, words, value in (
            ("overwritten_gradient", "holds the lower layer's term alone: = for +=", D),
            (
                "missing_accumulation",
                "holds the upper layer's term alone: the lower one is not added",
                above,
            ),
            ("missing_accumulation", "holds the lower layer's term alone: the upper one is not added", D),
            ("overwritten_gradient", "holds the upper layer's term alone: = for +=", above),
        ):
            if c.same(h, value + R, part):
                found.append(
                    (Claim(kind, "path", words, part.layer, part.name, "dW = Σ over its uses of aᵀ dz"),)
                )
    return found
