"""One room a kind of stage: its true value and rounding bound, what it carries on, the bits it needs."""

from mlp_torch.verify.bits import Entry
from mlp_torch.verify.bounds import Step
from mlp_torch.verify.kinds import dropout, linear, penalty, softmax
from mlp_torch.verify.kinds.activation import stages as activation
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.kinds.loss import stages as loss
from mlp_torch.verify.kinds.normalization import evaluation, training
from mlp_torch.verify.local import Rule

ROOMS = (linear, activation, softmax, dropout, training, evaluation, loss, penalty)
KINDS: dict[str, Kind] = {name: kind for room in ROOMS for name, kind in room.KINDS.items()}

RULES: dict[str, Rule] = {name: kind.rule for name, kind in KINDS.items()}
STEPS: dict[str, Step] = {name: kind.step for name, kind in KINDS.items()}
ENTRIES: dict[str, Entry] = {name: kind.bits for name, kind in KINDS.items() if kind.bits is not None}
