"""What a room says of one kind of stage: the rule of its local certificate, its global step, its bits."""

from dataclasses import dataclass

from mlp_torch.verify.bits import Entry
from mlp_torch.verify.bounds import Step
from mlp_torch.verify.local import Rule


@dataclass(frozen=True)
class Kind:
    """One row of a room; without `bits` no twin of such a stage is proven to round nowhere."""

    rule: Rule
    step: Step
    bits: Entry | None = None
