"""Which rows each fast step has kernels for: what lacks one is said, and runs by the plain formula."""

from collections.abc import Callable, Container

from manual.catalogue import OPTIMIZERS
from manual.structure.architecture import Architecture

# Of each step the activations and the losses by name, and the rules by name or class.
Rows = tuple[Container[object], Container[object], Container[object]]


def _buffered() -> Rows:
    from manual.buffered import activations, losses, optimizers

    return activations.KERNELS, losses.KERNELS, optimizers.UPDATE_RULES


def _compiled() -> Rows:
    from manual.compiled import activations, losses, optimizers

    return activations.ROWS, losses.ROWS, optimizers.ROWS


def _torch() -> Rows:
    from mlp_torch.buffered import activations, losses, optimizers

    return activations.ACTIVATIONS, losses.LOSSES, optimizers.OPTIMIZERS


STEPS: dict[str, Callable[[], Rows]] = {"buffered": _buffered, "compiled": _compiled, "torch": _torch}


def lacking(step: str, architecture: Architecture, loss: str, optimizer: str | None = None) -> str | None:
    """The row that the step has no kernel for, with the remedy, in one line; None where it has all of them.

    A loss whose options are not the row's own has a kernel where the step knows it by that whole name.
    """
    if step not in STEPS:
        return None
    activations, losses, rules = STEPS[step]()
    layers = (architecture.activation_of(layer) for layer in range(1, architecture.depth + 1))
    missing = [name for name in dict.fromkeys(layers) if name not in activations]
    if loss not in losses:
        missing.append(loss)
    if optimizer is not None and optimizer not in rules and OPTIMIZERS[optimizer] not in rules:
        missing.append(optimizer)
    if not missing:
        return None
    return f"it has no kernel for {' and '.join(missing)}; use --engine manual"
