"""The moments that each update rule keeps, by torch's names."""

from manual.catalogue.optimizers import Adagrad, Adam, AdamW, RMSprop
from manual.optimizers import SGD, Optimizer

# First a running mean of gradients or steps, then one of their squares; momentum's only where there is
# momentum.
MOMENTS: dict[type[Optimizer], tuple[str | None, str | None]] = {
    SGD: ("momentum_buffer", None),
    RMSprop: ("momentum_buffer", "square_avg"),
    Adagrad: (None, "sum"),
    Adam: ("exp_avg", "exp_avg_sq"),
    AdamW: ("exp_avg", "exp_avg_sq"),
}


def kept(optimizer: Optimizer) -> tuple[str | None, str | None]:
    """The names of this optimizer's two moments, None for one that it does not keep."""
    first, second = MOMENTS[type(optimizer)]
    unused = first == "momentum_buffer" and not getattr(optimizer, "momentum", 0.0)
    return (None if unused else first), second
