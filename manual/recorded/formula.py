"""A row of `manual.activations` or an elementwise row of `manual.losses` as a record of f and of f′."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import unwrap
from typing import Any

from manual.activations import Activation
from manual.losses import Loss
from manual.recorded.record import Record, Recorded


@dataclass(frozen=True)
class Formula:
    """What a row computes: `value` = f and `derivative` = f′ from the `inputs` by their names.

    Of an activation the inputs are z, and slope where it is learned; value is a, and where f′ is written
    with a, it holds that very value. Of a loss they are output and y. The row's options are constants, or
    further inputs where they were asked to be.
    """

    record: Record
    inputs: Mapping[str, Recorded]
    value: Recorded
    derivative: Recorded

    @classmethod
    def of(
        cls,
        row: Activation | Loss,
        simplify: Callable[..., Recorded | None] | None = None,
        opaque: Iterable[str] = (),
        given: Iterable[str] = (),
    ) -> "Formula":
        """The row's formula; the options named in `given` are inputs.

        Raises TypeError or AttributeError where it cannot be recorded, as where it couples the entries of
        a row.
        """
        names = inputs_of(row)
        record, options, wanted = Record(simplify, opaque), dict(row.options), set(given)
        places: list[Any] = [record.input(name) for name in names]
        chosen = {name: record.input(name) for name in options if name in wanted}
        inputs, options = dict(zip(names, places, strict=True)) | chosen, options | chosen
        if isinstance(row, Activation):
            value: Any = unwrap(row.function)(*places, **options)  # its own name would say nothing
            places.insert(1, value)
        else:
            value = row.terms(*places, **options)
        assert row.derivative is not None
        derivative: Any = row.derivative(*places, **options)
        return cls(record, inputs, record.constant(value), record.constant(derivative))


def inputs_of(row: Activation | Loss) -> tuple[str, ...]:
    """The arrays that an elementwise row is a function of. Raises TypeError for any other."""
    if row.derivative is None or (isinstance(row, Loss) and row.per_sample):
        raise TypeError(f"{row.name} couples the entries of a row")
    if isinstance(row, Loss):
        return ("output", "y")
    return ("z",) if row.slope is None else ("z", "slope")


def recorded(row: Activation | Loss, **how: Any) -> Formula | None:
    """The row's formula, or None where it cannot be recorded."""
    try:
        return Formula.of(row, **how)
    except (TypeError, AttributeError):  # an array has methods that a recording number lacks
        return None
