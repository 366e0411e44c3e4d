"""What is known of an activation, by hand or, where it has no row, from its formulas and its truth."""

from collections.abc import Callable, Mapping
from typing import Any

from manual.catalogue import ACTIVATIONS
from mlp_torch.verify.derived.rows import bounds_of, truth_with
from mlp_torch.verify.kinds.activation.errors import Pair, Point
from mlp_torch.verify.kinds.activation.rows import ROWS, Known
from mlp_torch.verify.local import NO_BOUND, UnknownError
from mlp_torch.verify.truth import FUNCTIONS


def known(row: str, constants: Mapping[str, Any]) -> Known:
    """What is known of a row with these constants.

    Raises UnknownError where `truth.py` does not know the row, or its formulas cannot be recorded.
    """
    if row not in FUNCTIONS:
        raise UnknownError(row)
    if row in ROWS:
        return ROWS[row]
    if ACTIVATIONS[row].slope is not None:  # what is learned is no constant of a formula
        raise UnknownError(row, NO_BOUND)
    found = bounds_of(ACTIVATIONS[row], constants)

    def errors(p: Point) -> Pair:
        return found({"z": p.z}, p.r)

    return Known(errors, None)


def truth_of(row: str, constants: Mapping[str, Any]) -> Callable[..., Any]:
    """f and f′ of one ball. Raises UnknownError where `truth.py` does not know the row."""
    if row not in FUNCTIONS:
        raise UnknownError(row)
    return truth_with(FUNCTIONS[row], constants)
