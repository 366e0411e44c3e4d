"""Which rows each fast step has kernels for: what lacks one is said, and runs by the plain formula."""

from collections.abc import Callable

from manual.catalogue import OPTIMIZERS
from manual.steps import support
from manual.steps.support import Rows
from manual.structure.architecture import Architecture


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
    """The rows that the step has no kernel for, with the remedy, in one line; None where it has all."""
    if step not in STEPS:
        return None
    plain = optimizer is None or step == "buffered"  # which runs a rule without calls as it stands
    rule = None if plain else OPTIMIZERS[str(optimizer)]
    missing = support.lacking(STEPS[step](), architecture, loss, rule)
    return f"it has no kernel for {missing}; use --engine manual" if missing else None
