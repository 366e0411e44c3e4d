"""Which rows each fast step has kernels for: what lacks one is said, and runs by the plain formula."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from manual.catalogue import ACTIVATIONS, LOSSES, OPTIMIZERS
from manual.structure.architecture import Architecture

# Of each step the activations and the losses by name, and the rules by class.
Rows = tuple[Container[object], Container[object], Container[object]]


@dataclass(frozen=True)
class Kernels:
    """The names of a table that have a kernel: `find(row)` raises ValueError where a row has none."""

    table: Mapping[str, Any]
    find: Callable[[Any], Any]

    def __contains__(self, name: object) -> bool:
        if name not in self.table:
            return False
        try:
            self.find(self.table[str(name)])
        except ValueError:
            return False
        return True


def _of(activation: Callable[[Any], Any], loss: Callable[[Any], Any]) -> tuple[Kernels, Kernels]:
    return Kernels(ACTIVATIONS, activation), Kernels(LOSSES, loss)


def _buffered() -> Rows:
    from manual.buffered import activations, losses, optimizers

    return *_of(activations.kernel, losses.kernel), optimizers.UPDATE_RULES


def _compiled() -> Rows:
    from manual.compiled import optimizers
    from manual.recorded.compiled import kernel

    return *_of(kernel, kernel), optimizers.ROWS


def _torch() -> Rows:
    from mlp_torch.buffered import activations, losses, optimizers

    return *_of(activations.kernel, losses.kernel), optimizers.OPTIMIZERS


STEPS: dict[str, Callable[[], Rows]] = {"buffered": _buffered, "compiled": _compiled, "torch": _torch}


def lacking(step: str, architecture: Architecture, loss: str, optimizer: str | None = None) -> str | None:
    """The row that the step has no kernel for, with the remedy, in one line, or None."""
    if step not in STEPS:
        return None
    activations, losses, rules = STEPS[step]()
    layers = (architecture.activation_of(layer) for layer in range(1, architecture.depth + 1))
    missing = [name for name in dict.fromkeys(layers) if name not in activations]
    if loss not in losses:
        missing.append(loss)
    plain = optimizer is None or step == "buffered"  # which runs a rule without calls as it stands
    if not plain and OPTIMIZERS[str(optimizer)] not in rules:
        missing.append(str(optimizer))
    if not missing:
        return None
    return f"it has no kernel for {' and '.join(missing)}; use --engine manual"
