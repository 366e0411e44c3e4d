"""An expression of the author's functions as a site: where it stands, and what its value is there."""

import ast
from dataclasses import dataclass

RECORD, ENTER = "_mlp_value_", "_mlp_call_"  # names in the rewritten globals
HANDED = "(argument)"  # the target of what is calculated in a call's brackets
CHANGING_METHODS = frozenset({"fill", "sort", "put", "itemset", "resize", "partition", "append", "extend"})


@dataclass
class Site:
    """One expression. `kind`: calc, use (a variable is read), bind (a target of an unpacking), post (an array
    after it was changed in place), sum (the right side of +=), argument, alias (a bare name handed on),
    output (one of several that a call gives).
    """

    number: int
    file: str
    line: int
    column: int
    end: int
    text: str
    kind: str
    function: str
    target: str = ""
    statement: int = 0  # the line on which its statement starts
    index: int = 0  # of an output: which one

    @property
    def assigned(self) -> bool:
        """Whether its value is what a name, an array or a caller gets."""
        return bool(self.target) or self.kind in ("bind", "post", "sum")


def array_of(target: ast.expr) -> ast.expr:
    """The array behind x[i], self.d["W"][i]: a constant key belongs to a dict, and is part of its name."""
    while isinstance(target, ast.Subscript):
        key = target.slice
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            break
        target = target.value
    return target
