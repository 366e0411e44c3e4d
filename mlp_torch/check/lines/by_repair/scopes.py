"""The variables before every line of the author's, from one run of it that is watched."""

import copy
import math
import sys
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any

from mlp_torch.check.functions.copies import written
from mlp_torch.check.lines.by_repair.edits import Scope
from mlp_torch.check.lines.by_repair.program import Repairable
from mlp_torch.check.lines.draws import Draw

Place = tuple[str, int]
LARGE = 1_000_000  # entries of an array that is not copied


class Scopes:
    """`at(file, line)`: the variables when a line is reached first; `again` the second time."""

    def __init__(self, program: Repairable, draw: Draw) -> None:
        self.scope = program.scope
        self.found: dict[Place, Scope] = {}
        self.again: dict[Place, Scope] = {}
        self.passes: dict[Place, int] = {}

        def plain(code: CodeType) -> CodeType:
            return code

        before = sys.gettrace()
        sys.settrace(self._entered)
        try:
            program.run(draw.parameters, draw.data, code=plain)
        finally:
            sys.settrace(before)

    def _entered(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if written(frame.f_code.co_filename) else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            place = frame.f_code.co_filename, frame.f_lineno
            self.passes[place] = self.passes.get(place, 0) + 1
            if self.passes[place] <= 2:
                held = self.found if self.passes[place] == 1 else self.again
                held[place] = self.scope(frame.f_globals, kept(frame.f_locals))
        return self._line

    def at(self, file: str, line: int) -> Scope | None:
        return self.found.get((file, line))


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as they are now: arrays copied, what cannot be copied as it is."""
    found = {}
    memo: dict[int, Any] = {}
    for name, value in values.items():
        if isinstance(shape := getattr(value, "shape", ()), tuple) and math.prod(shape) > LARGE:
            found[name] = value
            continue
        try:
            found[name] = copy.deepcopy(value, memo)
        except Exception:  # whatever an object of the author's raises when it is copied
            found[name] = value
    return found
