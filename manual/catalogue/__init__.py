"""What is not on the slides, in the same form; and the whole tables, the lecture's rows first.

A name finds its row in `ACTIVATIONS`, `LOSSES`, `OPTIMIZERS` and `SCHEDULES`, wherever the row stands; a loss
with options is named by a call, `huber(delta=0.5)`.
"""

from manual import activations as lecture_activations
from manual import losses as lecture_losses
from manual import optimizers as lecture_optimizers
from manual.activations import Activation
from manual.catalogue import activations, losses, optimizers
from manual.catalogue.schedules import SCHEDULES
from manual.losses import Loss
from manual.optimizers import Optimizer
from manual.structure.table import Table

__all__ = ["ACTIVATIONS", "LOSSES", "OPTIMIZERS", "SCHEDULES"]

ACTIVATIONS: dict[str, Activation] = {row.name: row for row in (*lecture_activations.ROWS, *activations.ROWS)}
LOSSES: Table[Loss] = Table({row.name: row for row in (*lecture_losses.ROWS, *losses.ROWS)})
OPTIMIZERS: dict[str, type[Optimizer]] = {**lecture_optimizers.ROWS, **optimizers.ROWS}
