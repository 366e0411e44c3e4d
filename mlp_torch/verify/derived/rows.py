"""A row of `manual` and its truth with the constants at hand: the bound that follows, the truth to ask."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from inspect import signature
from typing import Any

from flint import arb

from manual.activations import Activation
from manual.losses import Loss
from mlp_torch.verify.derived.spellings import Errors, errors_of

_found: dict[Any, Errors] = {}


def bounds_of(row: Activation | Loss, constants: Mapping[str, Any]) -> Errors:
    """`errors_of` the row with these constants, once for each. Raises UnknownError where none follow."""
    function = row.function if isinstance(row, Activation) else row.terms
    key = (function, row.derivative, tuple(constants.items()))
    if key not in _found:
        given: dict[str, Any] = {"options": dict(constants)} if constants else {}
        _found[key] = errors_of(replace(row, **given))
    return _found[key]


def truth_with(truth: Callable[..., Any], constants: Mapping[str, Any]) -> Callable[..., Any]:
    """The truth with those of the constants that it takes; the same object for the same ones."""
    taken = signature(truth).parameters
    return _with(truth, tuple((name, v) for name, v in constants.items() if name in taken))


@cache
def _with(truth: Callable[..., Any], constants: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    if not constants:
        return truth
    return lambda *given: truth(*given, **{name: arb(value) for name, value in constants})
