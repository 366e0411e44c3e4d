"""What the instrument lacks of the rows that `manual` has: where it belongs, and what is done without it."""

from collections.abc import Iterable

from manual.catalogue import ACTIVATIONS, LOSSES
from manual.structure.trace import Stage
from mlp_torch.verify.kinds.activation.rows import ROWS as ACTIVATION_ROWS
from mlp_torch.verify.kinds.loss.entries import ROWS as LOSS_ROWS
from mlp_torch.verify.kinds.loss.stages import FAMILIES
from mlp_torch.verify.truth import FUNCTIONS, TERMS

OWN = {"softmax", *FAMILIES}  # rows that have rooms of their own, truth and all


def without_truth(stages: Iterable[Stage]) -> list[str]:
    """The rows that these stages apply and `truth.py` does not know, each once."""
    rows = [stage.row for stage in stages if stage.kind.startswith(("activation", "loss"))]
    return [row for row in dict.fromkeys(rows) if row not in OWN | {*FUNCTIONS, *TERMS}]


def missing_rows() -> list[str]:
    """One line for each row that could be added, all of them optional: what is missing, where, and so what.

    A row of `manual` is required by nothing in here: without a truth its stages are undecided, without
    the instrument's own row its bounds are derived, wider, and there is no dyadic twin.
    """
    found = []
    for kind, names, truths, table, known, room in (
        ("activation", ACTIVATIONS, FUNCTIONS, "FUNCTIONS", ACTIVATION_ROWS, "activation/rows.py"),
        ("loss", LOSSES, TERMS, "TERMS", LOSS_ROWS, "loss/entries.py"),
    ):
        for name in (name for name in names if name not in OWN):
            if name not in truths:
                where = f"{table} of mlp_torch/verify/truth.py"
                found.append(f"{kind} {name}: no row in {where} (optional: its stages are undecided)")
            if name not in known:
                where = f"ROWS of mlp_torch/verify/kinds/{room}"
                without = "its bounds are derived from its formulas, and it has no dyadic twin"
                found.append(f"{kind} {name}: no row in {where} (optional: {without})")
    return found
