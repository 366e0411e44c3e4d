"""The global bound: how far each value of a whole pass may lie from the true one, in float64 alone.

Where the certificate asks of one stage whether it is right, this carries every stage's rounding on to all
that read it: e_out = what the inputs' errors may change, second order included, plus the stage's own
rounding. Two engines that start from the same leaves may differ by the sum of their bounds. A unit
whose z lies within its error of a kink could fall on either side: it is reported, and the jump of f′
there is counted in. Behind a stage whose truth is not known no bound is known. One step a kind of
stage, in its room (`kinds/`).
"""

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage, Trace
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.kinds import STEPS
from mlp_torch.verify.local import UnknownError
from mlp_torch.verify.rounding import Rounding


def propagate(trace: Trace, jumps: bool = True) -> Bounds:
    """The bounds of every stage of a trace, in its order; without `jumps`, as if no unit changed sides."""
    values = {name: np.asarray(v).astype(np.float64, copy=False) for name, v in trace.values.items()}
    bounds = Bounds(Rounding.of(trace["z1"].dtype), values, jumps)
    with np.errstate(all="ignore"):
        for stage in trace:
            bounds.errors[stage.name] = _error(stage, bounds)
    return bounds


def _error(stage: Stage, bounds: Bounds) -> Array:
    """What the stage's step says; NaN where a truth is missing there or before."""
    if not bounds.unknown.intersection(stage.reads):
        try:
            return STEPS[stage.kind](stage, bounds)
        except UnknownError:
            pass  # as behind a stage without a truth
    bounds.unknown.add(stage.name)
    return np.full(bounds.values[stage.name].shape, np.nan)
