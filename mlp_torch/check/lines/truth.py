"""The truth of one draw: by probes on torch, and where the code does not run there by differences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_torch.check.lines.differences import agrees, by_moving, direction, slope
from mlp_torch.check.lines.probes import Probed, probed
from mlp_torch.check.lines.program import Gradients, Program, Truth, UnavailableError
from mlp_torch.check.lines.recording import Event


def truths(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float, hand: Gradients,
    events: Sequence[Event], seconds: float,
) -> Truth:  # fmt: skip
    """What is true of parameters and values. Raises UnavailableError where neither way gives it."""
    found: Probed | None = None
    try:
        found = probed(program, parameters, data, loss, events)
    except UnavailableError as error:
        reason = str(error)
    else:
        if not found.leaks or _whole(program, parameters, data, found):
            return Truth(found.values, found.gradients, events)
        reason = "numbers left torch's graph"
    known, guess = ({}, {}) if found is None else (found.values, found.gradients)
    try:
        return by_moving(program, parameters, data, loss, hand, events, known, guess, seconds)
    except UnavailableError as error:
        raise UnavailableError(f"{reason}; {error}") from None


def _whole(program: Program, parameters: Gradients, data: Sequence[Any], found: Probed) -> bool:
    """Whether a graph that numbers have left has lost no path: the loss has its slope in every parameter."""

    def whole(name: str, value: Any) -> bool:
        along = slope(
            lambda moved: program.loss_at({**parameters, name: moved}, data, {}), value, direction(value, 0)
        )
        return agrees(found.gradients[name], along) or not (along.moves or np.any(found.gradients[name]))

    try:
        return all(whole(name, value) for name, value in parameters.items())
    except Exception:  # whatever the author's code raises when a parameter is moved
        return False
