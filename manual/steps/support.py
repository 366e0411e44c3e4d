"""Which rows a fast step has no kernels for."""

from collections.abc import Container

from manual.optimizers import Optimizer
from manual.structure.architecture import Architecture

# A step's activations and losses by name, and its update rules by class.
Rows = tuple[Container[object], Container[object], Container[object]]


def lacking(
    rows: Rows, architecture: Architecture, loss: str | None = None, rule: type[Optimizer] | None = None
) -> str:
    """What the network, the loss and the rule ask for and a step lacks: "mish and huber", or nothing, "".

    A loss whose options are not the row's own has a kernel where the step knows it by that whole name.
    """
    activations, losses, rules = rows
    layers = (architecture.activation_of(layer) for layer in range(1, architecture.depth + 1))
    missing = [name for name in dict.fromkeys(layers) if name not in activations]
    missing += [loss] if loss is not None and loss not in losses else []
    missing += [rule.__name__] if rule is not None and rule not in rules else []
    return " and ".join(missing)
