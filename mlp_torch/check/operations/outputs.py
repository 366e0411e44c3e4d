"""Before any gradient: whether there is a truth, and whether both forward passes are the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_torch.check.operations.calls import ANOTHER, Graph, Side, is_random
from mlp_torch.check.operations.floor import MOST, U, of
from mlp_torch.check.operations.judging import Finding
from mlp_torch.check.operations.standard import Standard
from mlp_torch.check.operations.tensors import to_numpy
from mlp_torch.check.report import Fault, length
from mlp_torch.errors import UserError

DRAWS = (
    "it draws random numbers: give the mask or the noise as an input, or draw it from torch's generator as "
    "the reference does; both are called under one seed"
)


def blocked(truth: Standard) -> str:
    """Why nothing can be held against this reference, "" where it can."""
    for name, t in truth.true.items():
        if not np.isfinite(t).all():
            at = np.argwhere(~np.isfinite(t))[0]
            place = name + (f"[{', '.join(str(int(i)) for i in at)}]" if len(at) else "")
            value = "NaN" if np.isnan(t[tuple(at)]) else "infinite"
            return f"the reference's own gradient is {value} at {place}: give other inputs"
    if not truth.graph.roots:
        return "nothing was judged: no output of the reference can be differentiated by an input"
    if not any(t.size for t in truth.true.values()) and not any(o.numel() for o in truth.graph.out):
        return "nothing was judged: all inputs and outputs are empty"
    side = truth.side
    again = side.gradients(side.forward(truth.values, truth.wanted), truth.up, seed=ANOTHER)
    if any(not np.array_equal(again[n], t) for n, t in truth.true.items()):
        floor = truth.floor(U)
        for name, t in truth.true.items():
            if again[name].shape != t.shape or length(again[name] - t) > floor.allowed(name, t):
                return f"the reference's gradient of {name} changes from run to run under one seed: {DRAWS}"
    return ""


def same_shapes(mine: Graph, truth: Standard) -> None:
    """Raises UserError where an output has another shape, or is complex where the reference's is not."""
    theirs = truth.graph
    shapes = [[tuple(o.shape) for o in graph.out] for graph in (mine, theirs)]
    if shapes[0] != shapes[1]:
        raise UserError(f"the outputs have shapes {shapes[0]}, the reference's {shapes[1]}")
    for name, a, b in zip(theirs.names, mine.out, theirs.out, strict=True):
        if a.is_complex() != b.is_complex():
            raise UserError(f"{name} is {a.dtype}, the reference's {b.dtype}")


def gap(mine: Graph, truth: Standard, unit: float, low: Any, more: Sequence[float] = ()) -> float:
    """The worst ‖yours − reference's‖ of an output over what rounding allows: above 1 is a mismatch.

    `more`: what the author's own rounding moves each output by.
    """
    worst = 0.0
    allowances = truth.outputs_allowed(unit, low)
    for i, (allowed, smooth) in enumerate(allowances):
        a, b = to_numpy(mine.out[i]), to_numpy(truth.graph.out[i])
        if i < len(more):
            allowed += min(4 * more[i], of(MOST, unit) * length(b[smooth]))
        odd = ~np.isfinite(b)
        if not np.array_equal(a[odd], b[odd], equal_nan=True):
            return np.inf
        away = length((a - b)[smooth])
        worst = max(worst, away / allowed if away == away else np.inf)
    return worst


def mismatch(found: Finding, author: Side, mine: Graph, truth: Standard) -> None:
    """Say which output differs, and whether random numbers are why."""
    names, theirs = truth.graph.names, truth.graph.out
    with np.errstate(all="ignore"):
        pairs = zip(mine.out, theirs, strict=True)
        gaps = [length(np.nan_to_num(to_numpy(a) - to_numpy(b))) for a, b in pairs]
    k = int(np.argmax(gaps))
    text = f"the forward pass differs from the reference's by {gaps[k]:.3g} in {names[k]}"
    if is_random(truth.side, truth.values) or is_random(author, truth.values):
        text += f"; {DRAWS}"
    found.verdict, found.message = "not_comparable", text
    found.faults.append(Fault("forward_mismatch", None, ("output",), text, f"{found.tag}: entry by entry"))
