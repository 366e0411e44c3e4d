"""From a wrong program to the lines that are to blame: two draws of the data, then one fault at a time."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.draws import Draw, anew, drawn
from mlp_torch.check.lines.finding import find_lines
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.program import Program, Sources, UnavailableError

TIMEOUT = 10.0  # seconds for everything, unless told otherwise
NAMED = 2.0  # seconds for the line of a fault that has a name already


def guilty_lines(
    function: Callable[..., Any], loss: Callable[..., Any], parameters: Mapping[str, Array],
    data: tuple[Any, ...], floors: Mapping[str, float], seconds: float = TIMEOUT,
) -> tuple[list[GuiltyLine], str]:  # fmt: skip
    """(lines, why there are none or not all). `function(parameters, *data)` gives (loss, gradients, …) and
    runs many times on copies of everything; `loss` is its forward pass, traceable; `floors` as ‖h − t‖.
    """
    deadline = time.monotonic() + seconds
    program = Program(function, loss, Sources())
    values = {n: np.asarray(v, dtype=np.float64) for n, v in parameters.items()}
    try:
        first = drawn(program, values, data, floors)
    except UnavailableError as error:
        return [], f"no line is named: {error}"
    except Exception as error:  # whatever the author's code raises where it is rewritten
        return [], f"no line is named: the rewritten code raised {type(error).__name__}: {error}"
    if not program.sources.sites:
        return [], "no line is named: there is no source to read"
    if not first.wrong:
        return [], ""
    draws = [first, *second(program, first)]
    lines = find_lines(program, draws, deadline - time.monotonic())
    if time.monotonic() > deadline:
        return lines, f"the search for lines ended after {seconds:g} s (timeout=)"
    return lines, ""


def second(program: Program, first: Draw) -> list[Draw]:
    """The same shapes drawn anew, where the function takes them; else other parameters alone."""
    for data in (anew(first.data, np.random.default_rng(2), integers=True), first.data):
        parameters = anew(first.parameters, np.random.default_rng(1))
        with contextlib.suppress(Exception):  # labels in another order, say, which the author refuses
            found = drawn(program, parameters, data)
            if np.isfinite(found.loss) and found.wrong:
                return [found]
    return []
