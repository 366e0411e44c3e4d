"""The global bound: how far each value of a whole pass may lie from the true one, in float64 alone.

Where `local.py` asks of one stage whether it is right, this carries every stage's rounding on to all
that read it: e_out = what the inputs' errors may change, second order included, plus the stage's own
rounding. Two engines that start from the same leaves may differ by the sum of their bounds. A unit
whose z lies within its error of a kink could fall on either side: it is reported, and the jump of f′
there is counted in. One row of `STEPS` a kind of stage, written in the rooms beside this one.
"""

import numpy as np

from manual.structure.trace import Trace
from mlp_torch.verify import penalties, propagation_layers, propagation_losses, propagation_normalization
from mlp_torch.verify.propagation_layers import Bounds, Step
from mlp_torch.verify.rounding import Rounding

STEPS: dict[str, Step] = {
    **propagation_layers.STEPS,
    **propagation_normalization.STEPS,
    **propagation_losses.STEPS,
    **penalties.STEPS,
}


def propagate(trace: Trace, jumps: bool = True) -> Bounds:
    """The bounds of every stage of a trace, in its order; without `jumps`, as if no unit changed sides."""
    values = {name: np.asarray(v).astype(np.float64, copy=False) for name, v in trace.values.items()}
    bounds = Bounds(Rounding.of(trace["z1"].dtype), values, jumps)
    with np.errstate(all="ignore"):
        for stage in trace:
            bounds.errors[stage.name] = STEPS[stage.kind](stage, bounds)
    return bounds
