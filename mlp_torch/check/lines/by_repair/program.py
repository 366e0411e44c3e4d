"""What the search by repair asks of a program beyond running it."""

from typing import Any

from mlp_torch.check.lines.by_repair.scope import Scope
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.program import Program


class Repairable(Program):
    """A program whose expressions are read in a `scope` of its own kind."""

    scope: type[Scope] = Scope

    def may_slip(self, file: str, line: int) -> bool:
        """Whether an edit of this line is worth a word beside one that mends."""
        return True

    def may_lack(self, file: str, line: int) -> bool:
        """Whether a line gives nothing where a gradient may be meant."""
        return False

    def hidden(self, hit: Any, mender: Any) -> bool:
        """Whether the blamed value is what a compiled kernel gave: no line of it can be read."""
        return False

    def told(self, line: GuiltyLine, hit: Any, mender: Any) -> GuiltyLine:
        """What is said of a line, from the blamed value `hit` and what tried to mend it."""
        return line
