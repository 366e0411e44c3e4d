"""The bit ledger: a proof that no operation of a whole pass rounds.

If all entries of A are multiples of 2^-p and those of B of 2^-q, then every partial sum of A @ B, in any
order, fused or not, is a multiple of 2^-(p+q) no larger than max(|A| @ |B|); while that is at most 2^53
such units (2^24 in float32), each is a float and nothing rounds. `prove` checks this for every stage of
a trace, on the trace's own values: they are exact once all earlier stages are proven. Elementary
functions are trusted at the sentinels only: exp 0 = 1, exp −1024 = 0, tanh 0 = 0, tanh ±1024 = ±1, erf
likewise. Whatever the ledger cannot prove, it refuses.
"""

from dataclasses import dataclass, field

import numpy as np

from manual.structure.trace import Trace
from mlp_torch.verify.bits import HIGHEST, LOWEST, OutOfRangeError, RefusedError
from mlp_torch.verify.kinds import ENTRIES


@dataclass
class Ledger:
    """Bits that each stage needs of the `precision` at hand; `inexact` stages are not claimed."""

    precision: int
    bits: dict[str, int] = field(default_factory=dict)
    inexact: set[str] = field(default_factory=set)

    @property
    def most(self) -> int:
        return max(self.bits.values())


def prove(trace: Trace) -> Ledger:
    """The ledger of a trace; raises RefusedError at the first stage that may round.

    The loss of bce_with_logits at a logit of 0 is ln 2: the ledger goes on without claiming it.
    """
    precision = 53 if trace["z1"].dtype == np.float64 else 24
    values = {name: np.asarray(v).astype(np.float64) for name, v in trace.values.items()}
    ledger = Ledger(precision)
    for stage in trace:
        if stage.kind not in ENTRIES:
            raise RefusedError(f"{stage.name}: {stage.kind} divides by a square root")
        if not all(np.isfinite(values[name]).all() for name in (*stage.reads, stage.name)):
            raise RefusedError(f"{stage.name}: not all of its numbers are finite")
        if stage.name == "loss" and stage.row == "bce_with_logits" and (values[stage.reads[0]] == 0).any():
            ledger.inexact.add("loss")
            continue
        try:
            bits = ENTRIES[stage.kind](stage, values)
        except OutOfRangeError:
            text = f"{stage.name}: its numbers leave the range from 2^{LOWEST} to 2^{HIGHEST}"
            raise RefusedError(text) from None
        if stage.kind in ("loss", "penalty") and bits > precision:
            ledger.inexact.add(stage.name)  # no gradient follows from the loss's value
            continue
        if bits > precision:
            raise RefusedError(f"{stage.name}: needs {bits} bits of {precision}")
        ledger.bits[stage.name] = bits
    return ledger
