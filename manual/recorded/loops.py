"""A record as the text of a compiled loop's body: one assignment a value that is used more than once."""

import math
from collections.abc import Iterable, Mapping

from manual.recorded.constants import nearest
from manual.recorded.domains import interval
from manual.recorded.record import COMPARISONS, Recorded, walk

# The functions of manual.compiled.elementary, and where they hold.
DOMAINS: dict[str, tuple[float, float]] = {
    "exp": (-math.inf, 88.0),
    "expm1": (-math.inf, 88.0),
    "log1p": (0.0, 1.0),
    "log": (2.0**-126, math.inf),
    "sqrt": (0.0, math.inf),
    "tanh": (-math.inf, math.inf),
    "erf": (-math.inf, math.inf),
}
NAMES = {"sqrt": "root"}
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "or": "|", "and": "&"}
SIGNS |= dict(zip(COMPARISONS, (">", ">=", "<", "<=", "==", "!="), strict=True))
POWERS = {"select": 0, "min": 0, "max": 0, "not": 1, **dict.fromkeys(COMPARISONS, 2), "or": 3, "and": 4}
POWERS |= {"add": 5, "sub": 5, "mul": 6, "div": 6, "neg": 7}
ATOM = 9
ARRAYS = ("z", "da", "output", "y", "slope")  # inputs that may hold NaN
WIDTH = 60  # of an expression that has no name


class UnwritableError(ValueError):
    """The record asks for what compiled loops do not have."""


def body(outputs: Mapping[Recorded, str], given: Mapping[Recorded, str]) -> list[str]:
    """The lines that give each output its value, in that order, from values whose names are given.

    What is used twice has a name, and so has what would be long. Raises `UnwritableError`.
    """
    order = [n for n in walk(outputs, given) if n.args and not n.constant]
    uses = _uses(order, outputs)
    names, lines = dict(given), list[str]()
    for node in order:
        _check(node)
        text, _ = _text(node, names)
        if node in outputs and uses[node] == 0:
            continue
        if uses[node] > 1 or (node in outputs and uses[node]) or len(text) > WIDTH:
            names[node] = f"t{sum(name.startswith('t') for name in names.values()) + 1}"
            lines.append(f"{names[node]} = {text}")
    return [*lines, *(f"{place} = {_text(node, names)[0]}" for node, place in outputs.items())]


def _uses(order: Iterable[Recorded], outputs: Mapping[Recorded, str]) -> dict[Recorded, int]:
    """How often each value stands in the text of another."""
    found = dict.fromkeys([*order, *outputs], 0)
    for node in order:
        for a in node.args:
            found[a] = found.get(a, 0) + (2 if node.op in ("min", "max") else 1)
    return found


def _check(node: Recorded) -> None:
    known = node.op in SIGNS or node.op in DOMAINS or node.op in POWERS or node.op == "abs"
    if not known:
        raise UnwritableError(f"no {node.op} in manual/compiled/elementary.py")
    if node.op in DOMAINS:
        (low, high), (least, most) = interval(node.args[0]), DOMAINS[node.op]
        if not least <= low <= high <= most:
            raise UnwritableError(
                f"an argument of {node.op} can lie from {low:g} to {high:g}, and it holds from {least:g} to "
                f"{most:g}: bound it with np.minimum and np.maximum"
            )


def _settled(node: Recorded) -> bool:
    """Whether a value is a finite number before the loop begins: made of constants and options alone."""
    if node.op == "input":
        return node.value not in ARRAYS
    return node.constant or (bool(node.args) and all(_settled(a) for a in node.args))


def _text(node: Recorded, names: Mapping[Recorded, str]) -> tuple[str, float]:
    """The expression and how strongly it binds."""
    if node in names:
        return names[node], ATOM
    if node.constant:
        return f"T({nearest(node)!r})".replace(".0)", ")"), ATOM
    if node.op == "input":
        raise UnwritableError(f"nobody gives {node.value}")
    power = POWERS.get(node.op, ATOM)

    def inside(argument: Recorded, above: float) -> str:
        text, own = _text(argument, names)
        return text if own > above else f"({text})"

    a = node.args
    if node.op in ("max", "min"):  # NaN passes: the first's, and the second's where it can be NaN
        first, second = (inside(x, POWERS["gt"]) for x in a)
        sign = "<=" if node.op == "max" else ">="
        chosen = f"{first} {sign} {second}"
        if not _settled(a[1]):
            chosen = f"({chosen}) | ({second} != {second})"
        return f"{second} if {chosen} else {first}", power
    if node.op == "select":
        c, x, y = (inside(part, power) for part in a)
        return f"{x} if {c} else {y}", power
    if node.op in SIGNS:  # what stands to the right binds more strongly, so that sums keep their order
        left = inside(a[0], power - 0.5 if node.op not in COMPARISONS else power)
        return f"{left} {SIGNS[node.op]} {inside(a[1], power)}", power
    if node.op in ("neg", "not"):
        return f"{'-' if node.op == 'neg' else 'not '}{inside(a[0], power)}", power
    return f"{NAMES.get(node.op, node.op)}({_text(a[0], names)[0]})", ATOM
