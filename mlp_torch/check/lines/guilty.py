"""From a wrong program to the lines that are to blame: two draws of the data, then one fault at a time."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.draws import Draw, anew, drawn
from mlp_torch.check.lines.finding import find_lines
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.program import Program, Sources, UnavailableError
from mlp_torch.check.lines.sites import Site

TIMEOUT = 10.0  # seconds for everything, unless told otherwise
SHARE = 0.3  # of it for the truth of one draw, where it is found by differences
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
        first = drawn(program, values, data, floors, seconds * SHARE)
    except UnavailableError as error:
        return [], f"no line is named: {error}"
    except Exception as error:  # whatever the author's code raises where it is rewritten
        return [], f"no line is named: the rewritten code raised {type(error).__name__}: {error}"
    if not program.sources.sites:
        return [], "no line is named: there is no source to read"
    if not first.wrong:
        return [], ""
    draws = [first, *second(program, first, seconds * SHARE)]
    lines = find_lines(program, draws, deadline - time.monotonic())
    why = f"the search for lines ended after {seconds:g} s (timeout=)" if time.monotonic() > deadline else ""
    if any(d.resolution for d in draws):
        lines, less = proven_by_differences(lines, draws, program.sources.sites)
        why = "; ".join(filter(None, (less, why)))
    return lines, why


def proven_by_differences(
    lines: list[GuiltyLine], draws: Sequence[Draw], sites: Sequence[Site]
) -> tuple[list[GuiltyLine], str]:
    """The lines that differences can prove: those that make every gradient right, on two draws."""
    if not lines:
        return [], ""
    if len(draws) < 2:
        return [], "no line is named: differences on one draw of the data are no proof"
    if {a for line in lines for a in line.arrays} != set(draws[0].wrong):
        return [], "no line is named: no repair made every gradient right"
    slow = sum(sites[number].assigned for d in draws for number, _ in d.forward)
    if slow and len(lines) > 1:  # one line may do, of a value that is not known
        return [], f"no line is named: differences are too slow for {slow} values that the loss depends on"
    coarsest = max(d.resolution for d in draws)
    words = f"differences were too slow for {slow} values: the line may only repeat an earlier fault"
    return [line.by_differences(coarsest) for line in lines], words if slow else ""


def second(program: Program, first: Draw, seconds: float) -> list[Draw]:
    """The same shapes drawn anew, where the function takes them; else other parameters alone."""
    for data in (anew(first.data, np.random.default_rng(2), integers=True), first.data):
        parameters = anew(first.parameters, np.random.default_rng(1))
        with contextlib.suppress(Exception):  # labels in another order, say, which the author refuses
            found = drawn(program, parameters, data, seconds=seconds)
            if np.isfinite(found.loss) and found.wrong:
                return [found]
    return []
