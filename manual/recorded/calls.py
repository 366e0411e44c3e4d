"""A record as calls that write into arrays: which value lies in which array, made once and used again.

An array is free for another value as soon as nobody needs the one in it; the result's own array serves until
the result comes. What a call is and where arrays come from is the affair of a `Writer`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from manual.recorded.constants import nearest
from manual.recorded.record import Recorded, walk


class Writer(Protocol):
    """Calls of one library. `apart` names the operations that read on after they have begun to write."""

    apart: frozenset[str]

    def new(self, condition: bool) -> Any:
        """An array for numbers, or for conditions."""

    def constant(self, value: float) -> Any:
        """A constant to calculate with."""

    def copy(self, source: Any, out: Any) -> None:
        """out ← source, which may be a constant."""

    def apply(self, op: str, args: list[Any], out: Any) -> None:
        """out ← op(args)."""

    def select(self, c: Any, x: Any, y: Any, out: Any, spare: bool) -> None:
        """out ← x where c, else y; out may be x or y, and c may be changed if it is `spare`."""


def write(to: Writer, outputs: Mapping[Recorded, Any], given: Mapping[Recorded, Any]) -> None:
    """The calls that put each of `outputs` into its array; the last one is found last.

    The arrays of `given` are read only; that of the last output may be one of them. Raises KeyError for an
    operation that the writer lacks.
    """
    *_, root = outputs
    target = outputs[root]
    if root.constant or root in given:
        to.copy(to.constant(nearest(root)) if root.constant else given[root], target)
        return
    places = dict(given)
    order = [n for n in walk(outputs, given) if not n.constant]
    last = {a: node for node in order for a in node.args}
    free: dict[bool, list[Any]] = {True: [], False: []}
    ours: set[int] = set()  # arrays that a value may die in
    if not any(target is array for array in given.values()):
        free[False].append(target)
        ours.add(id(target))
    for node in order:
        args = [to.constant(nearest(a)) if a.constant else places[a] for a in node.args]
        dying = [a for a in dict.fromkeys(node.args) if last[a] is node and id(places.get(a)) in ours]
        out = outputs.get(node)
        if out is None:  # a choice likes to be written over its last argument: one copy less
            over = [places[a] for a in dying if a.condition == node.condition and node.op not in to.apart]
            pool = free[node.condition]
            out = over[-1] if over else pool.pop() if pool else to.new(node.condition)
            ours.add(id(out))
        free[node.condition] = [array for array in free[node.condition] if array is not out]
        if node.op == "select":
            to.select(args[0], args[1], args[2], out, node.args[0] in set(dying))
        else:
            to.apply(node.op, args, out)
        places[node] = out
        for a in dying:
            if places[a] is not out:
                free[a.condition].append(places[a])
