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
    with a, it holds that very value. Of a loss they are output and y. `options` holds the row's options:
    inputs where they were asked to be, else constants.
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

        Raises TypeError where it cannot be recorded, as where it couples the entries of a row.
        """
        record = Record(simplify, opaque)
        options = dict(getattr(row, "options", {}))
        inputs: dict[str, Any] = {name: record.input(name) for name in options if name in set(given)}
        options |= inputs
        if isinstance(row, Activation):
            if row.derivative is None:
                raise TypeError(f"{row.name} couples the entries of a row")
            inputs["z"] = record.input("z")
            if row.slope is not None:
                inputs["slope"] = record.input("slope")
            places = [inputs[name] for name in ("z", "slope") if name in inputs]
            value: Any = unwrap(row.function)(*places, **options)  # its own name says nothing
            derivative: Any = row.derivative(places[0], value, *places[1:], **options)
        else:
            if row.per_sample:
                raise TypeError(f"{row.name} couples the entries of a row")
            inputs |= {name: record.input(name) for name in ("output", "y")}
            value = row.terms(inputs["output"], inputs["y"], **options)
            derivative = row.derivative(inputs["output"], inputs["y"], **options)
        return cls(record, inputs, record.constant(value), record.constant(derivative))


def recorded(row: Activation | Loss, **how: Any) -> Formula | None:
    """The row's formula, or None where it cannot be recorded."""
    try:
        return Formula.of(row, **how)
    except (TypeError, AttributeError):  # an array has methods that a recording number lacks
        return None
