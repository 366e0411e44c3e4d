"""From a wrong backward to the lines that are to blame."""

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from mlp_torch.check.lines.by_repair.finding import find_lines
from mlp_torch.check.lines.guilty import TIMEOUT
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.program import UnavailableError
from mlp_torch.check.lines.tensors.draws import TensorDraw, drawn, elsewhere
from mlp_torch.check.lines.tensors.program import TensorProgram
from mlp_torch.check.operations.calls import RaisedError, Side
from mlp_torch.check.operations.tensors import Arguments, raised

FEW = 100_000  # entries that one thread is quickest with


def tensor_lines(
    function: Any, reference: Any, given: Arguments, wrong: Sequence[str], device: str = "cpu",
    seconds: float = TIMEOUT,
) -> tuple[list[GuiltyLine], str]:  # fmt: skip
    """(lines, why there are none or not all) of a callable whose gradients `wrong` are not the truth."""
    values = [raised(v) for v in given.values(None, device)]
    if seconds <= 0:
        return [], ""
    if any(values[i].is_complex() for i in given.judged):
        return [], "no line is named: of complex inputs no values are exchanged"
    before = torch.get_num_threads()
    if sum(v.numel() for v in values if isinstance(v, Tensor)) < FEW:
        torch.set_num_threads(1)  # more would only wait for each other, a thousand times
    try:
        return _lines(function, reference, given, values, wrong, seconds)
    except Exception as error:  # the verdict stands, whatever the search for its line meets
        return [], f"no line is named: the search raised {type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(before)


def _lines(
    function: Any, reference: Any, given: Arguments, values: list[Any], wrong: Sequence[str], seconds: float
) -> tuple[list[GuiltyLine], str]:
    deadline = time.monotonic() + seconds
    names = named(function, given)
    author, truth = Side("your function", function, given), Side("the reference", reference, given)
    program = TensorProgram(author, given.judged, list(names))
    try:
        draws = _draws(program, truth, values, {n for n, public in names.items() if public in wrong})
    except (UnavailableError, RaisedError) as error:
        return [], f"no line is named: {error}"
    if not program.sources.sites:
        return [], "no line is named: there is no source to read"
    if not draws:
        return [], ""
    lines = find_lines(program, draws, deadline - time.monotonic())
    lines = [public(line, names) for line in lines]
    if time.monotonic() > deadline:
        return lines, f"the search for lines ended after {seconds:g} s (timeout=)"
    return lines, ""


def _draws(
    program: TensorProgram, reference: Side, values: Sequence[Any], wrong: set[str]
) -> list[TensorDraw]:  # fmt: skip
    """Two draws, the first at the inputs given, where nothing but what was found wrong is wrong there."""
    first = drawn(program, reference, values, 1)
    finite = all(np.isfinite(t).all() for t in first.true.values())
    more = elsewhere(program, reference, values, 2)
    if first.wrong and finite and set(first.wrong) <= wrong:
        return [first, *more]
    return [*more, *elsewhere(program, reference, values, 3)] if more else []


def named(function: Any, given: Arguments) -> dict[str, str]:
    """The author's names of the judged leaves, with ours: those of forward's parameters."""
    ours = given.judged_names
    owner = getattr(function, "__self__", None)
    if not (isinstance(owner, type) and issubclass(owner, Function)):
        return {n: n for n in ours}
    try:
        parameters = list(inspect.signature(owner.forward).parameters)
    except (TypeError, ValueError):
        return {n: n for n in ours}
    if owner.setup_context is Function.setup_context:
        parameters = parameters[1:]
    theirs = {f"input{i}": p for i, p in enumerate(parameters)}
    found = {theirs.get(n, n): n for n in ours}
    return found if len(found) == len(ours) else {n: n for n in ours}


def public(line: GuiltyLine, names: Mapping[str, str]) -> GuiltyLine:
    """The line with the report's names of the arrays."""
    return replace(
        line,
        mark="grad_",
        arrays=tuple(names[n] for n in line.arrays),
        alternatives=tuple(public(other, names) for other in line.alternatives),
    )
