"""An array taken from the wrong place: the parameter itself, another layer's delta, output or gradient."""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, Make, norm
from mlp_torch.check.faults.evidence import Evidence


def returned(c: Evidence, part: Part, h: Array, T: Array, make: Make) -> Iterator[Claims]:
    """The parameter itself, before or after the step, where its gradient belongs."""
    kind = "parameter_returned"
    gap, itself = _beside_parameter(c, part, h)
    if itself:
        yield (make(kind, "before", "is the parameter itself, not its gradient", line="", odd=0.3),)
        return
    few = c.few(part)
    if gap is None or (h.size < 4 and c.lr is None) or c.ratio(gap[few], T[few]) is None:
        return
    rate = c.lr if c.lr is not None else -(c.ratio(gap, T) or 0.0)
    if rate > 0 and norm(T) > 0 and c.same(gap, -rate * T, part):
        words = f"is the parameter after its step, θ − {rate:.6g}·dθ, not its gradient"
        yield (make(kind, "after", words, line="", odd=0.3),)


def _beside_parameter(c: Evidence, part: Part, h: Array) -> tuple[Array | None, bool]:
    """(h − θ, whether it is 0), asked once; None where θ proves nothing."""
    key = (part, "returned")
    if key not in c.rests:
        theta = -c.problem.theta(part) if c.ascent else c.problem.theta(part)
        proves = bool(theta.any()) and part.role != "slope" and h.shape == theta.shape
        if not proves:
            c.rests[key] = None, False
        else:
            c.rests[key] = h - theta, c.same(h, theta, part)
    found: tuple[Array | None, bool] = c.rests[key]
    return found


def of_other_layers(c: Evidence, part: Part, dz: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    """dW and db with the delta of another layer; dW with another layer's output for the input."""
    p, n = c.problem, c.names
    at, kind = n.mark(part.layer), "wrong_layer"
    for other in p.layers:
        delta = c.true_deltas()[other.index]
        if other.index != part.layer and delta.shape == dz.shape and np.isfinite(delta).all():
            words = f"is made with {n.dz(other.index)}, where dz{at} belongs"
            yield make(kind, f"dz {other.index - part.layer}", words), p.leaf(part, delta), False
    if part.role != "W":
        return
    below = p.a[part.layer - 1]
    for j, a in enumerate(p.a):
        if j != part.layer - 1 and a.shape == below.shape:
            own = ", the layer's own output," if j == part.layer else ""
            words = f"is made with {n.a(j)}{own} where the layer's input {n.a(part.layer - 1)} belongs"
            yield make(kind, f"a {j - part.layer}", words), p.leaf(part, dz, None, a), False
