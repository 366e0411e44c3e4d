"""The factor that kills a gradient: by how much each one shrinks what arrives, and why the least does.

gain = ‖g · f′‖ / ‖g‖        one number a unit: of what arrives, weighted as it arrives
gain = ‖W[:,c]‖ / √c         a matrix, cut to c columns: what a unit below is given (of Jacobians, the mean)
gain = max |v|               the ends: the loss's own derivative, the input of the weight
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from manual.numbers import Array
from mlp_torch.explanation.factors import EACH, LAST

if TYPE_CHECKING:  # it is the other way round that the chain imports this
    from manual.structure.trace import Trace
    from mlp_torch.explanation.chain import Explanation, Factor

SMALL = 0.05  # sigmoid's f′ from |z| = 2.9 on; its largest is 0.25

SATURATE = (
    "sigmoid",
    "tanh",
    "hardtanh",
    "softmax",
)  # flat on both sides; the others on one, where they are off


@dataclass(frozen=True)
class Killer:
    """The smallest factor, where it is below `SMALL`: its stage, what is left behind it, and why."""

    stage: str
    gain: float
    why: str

    @property
    def mark(self) -> str:
        """What is written beside it."""
        return f"this factor {'kills' if self.gain == 0 else 'all but kills'} it: {self.why}"


def gains(factors: tuple["Factor", ...]) -> list[float]:
    """How much each factor leaves of what arrives from above, from the loss down."""
    found: list[float] = []
    above: Array | None = None
    for factor in factors:
        values = np.abs(np.asarray(factor.values, dtype=np.float64))
        gain = float(values.max(initial=0.0))
        if factor.rule == EACH and above is not None and np.any(above):
            above = np.abs(above) / np.abs(above).max()
            gain = float(np.linalg.norm(above * values) / np.linalg.norm(above))
        elif above is not None and factor.rule not in (EACH, LAST):
            units = values.shape[-1] * (values.shape[0] if values.ndim == 3 else 1)
            gain = float(np.linalg.norm(values) / np.sqrt(units))
        found.append(gain)
        above = np.asarray(factor.manual, dtype=np.float64)
    return found


def killer(explanation: "Explanation") -> Killer | None:
    """The smallest factor, the first of equals; None where every factor lets something through."""
    found = gains(explanation.factors)
    least = int(np.argmin(found))
    if not found[least] < SMALL:
        return None
    factor = explanation.factors[least]
    return Killer(factor.stage, found[least], _why(factor, explanation))


def elsewhere(trace: "Trace") -> tuple[str, str]:
    """Where other entries of this pass die: the layer of most such units, in words, and an entry to look at.

    A hidden unit counts where its f′ leaves less than `SMALL` of a gradient that arrives; "" if none does.
    """
    most, found = 0, ("", "")
    for stage in trace:
        if stage.kind != "activation_backward" or stage.reads[0] == "dloss":
            continue
        arrives, left = (np.linalg.norm(trace[name], axis=0) for name in (stage.reads[0], stage.name))
        dead = np.flatnonzero(left < SMALL * arrives)
        if len(dead) > most:
            weight, unit = f"layers.{stage.layer - 1}.weight", int(dead[np.argmax(arrives[dead])])
            entry = int(np.argmax(np.abs(trace.gradients[weight][unit])))
            state = "saturated" if stage.row in SATURATE else "off"
            where = f"{stage.row} is {state} in {len(dead)} of {len(arrives)} units of layer {stage.layer}"
            most, found = len(dead), (where, f"{weight}[{unit},{entry}]")
    return found


def _why(factor: "Factor", explanation: "Explanation") -> str:
    nearly = "0" if not np.any(factor.values) else "nearly 0"
    if factor.kind == "activation_backward":
        name = factor.denominator
        z = explanation.traces[0][name][:, list(factor.units)]
        state = "saturated" if factor.row in SATURATE else "off"
        if z.size == 1:
            whole = explanation.traces[0][name].shape[1] == 1
            unit = name if whole else f"{name}[:,{factor.units[0]}]"
            return f"{factor.row} is {state} at {unit} = {z.item():.4g}"
        return f"{factor.row} is {state} wherever something arrives, in {name} ({z.size} numbers)"
    by_kind = {
        "loss_gradient": "the prediction is right already, and the loss hardly asks for more",
        "dropout_backward": "dropout has set the unit to 0",
        "linear_backward_input": f"the weights {factor.label} are {nearly}",
        "linear_backward_weight": f"the input of this weight, {factor.label}, is {nearly}",
        "slope_gradient": "no z is below 0, where the slope acts",
        "jacobian_product": f"{factor.row} is saturated: one probability is nearly 1",
    }
    return by_kind.get(factor.kind, f"{factor.label} is {nearly}")
