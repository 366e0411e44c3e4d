"""Writes the compiled engine's elementwise kernels from the rows of `manual.activations` and `manual.losses`.

    python -m manual.recorded.compiled

writes manual/compiled/activations.py and manual/compiled/elementwise.py anew. They are committed, because the
compiler keeps its code under the hash of these files; a test holds them to what is written here.
"""

from collections.abc import Mapping
from pathlib import Path

import manual
from manual.activations import Activation
from manual.catalogue import ACTIVATIONS, LOSSES
from manual.losses import Loss
from manual.recorded.formula import Formula
from manual.recorded.kept import kept
from manual.recorded.loops import UnwritableError, body
from manual.recorded.record import Recorded
from manual.recorded.simplify import simplified

ROOM = Path(manual.__file__).parent / "compiled"
COMMAND = "python -m manual.recorded.compiled"
COUPLED = ("softmax",)  # activations whose loops are written by hand, in manual/compiled/coupled.py
BY_HAND = (*COUPLED, "multi_margin", "cross_entropy")  # the losses in manual/compiled/losses.py
MOST_OPTIONS = 4
GIVEN = ("negative_slope",)  # options that a network may choose; others are constants of the kernel
NAMES = {"negative_slope": "slope", "z": "z[i]", "output": "o[i]", "y": "y[i]"}

ACTIVATIONS_HEAD = '''"""The activations and their derivatives as compiled loops, written by `{command}`.

z, a and the gradients are (features, n) in one flat buffer, so an elementwise row is one loop. What the
forward pass leaves for the backward pass lies from `kept`, KEPT[row] times the size of z. Not by hand: the
rows are in `manual`, and a test holds this text to what that command writes.
"""
# ruff: noqa: SIM114  # each row has a branch of its own, and two may be alike

from typing import Any

from manual.compiled.coupled import jacobian_product, softmax
from manual.compiled.elementary import {functions}
from manual.compiled.memory import at, loops

ROWS = (
{rows})
(
{codes}) = range(len(ROWS))
KEPT = ({counts})


@loops
def activate(
    row: int, w: Any, z_at: int, a_at: int, features: int, n: int, slope: Any, scratch: int, kept: int
) -> None:
    """a = f(z); `slope` is that of leaky_relu and prelu, `scratch` the place of 2 n numbers."""
    T, size = w.dtype.type, features * n
    z, a = at(w, z_at, size), at(w, a_at, size)
    if row == SOFTMAX:
        softmax(w, z_at, a_at, features, n, scratch)
'''
DIFFERENTIATE = '''

@loops
def differentiate(
    row: int,
    w: Any,
    da_at: int,
    z_at: int,
    a_at: int,
    dz_at: int,
    features: int,
    n: int,
    slope: Any,
    scratch: int,
    kept: int,
) -> None:
    """dz = da · f′(z), where the forward line was a = f(z)."""
    T, size = w.dtype.type, features * n
    da, z, a, dz = at(w, da_at, size), at(w, z_at, size), at(w, a_at, size), at(w, dz_at, size)
    if row == SOFTMAX:
        jacobian_product(w, da_at, a_at, dz_at, features, n, scratch)
'''
LOSSES_HEAD = '''"""The elementwise losses as compiled loops, written by `{command}`: not by hand."""

from typing import Any

from manual.compiled.elementary import {functions}
from manual.compiled.memory import at, loops

ROWS = (
{rows})
(
{codes}) = range(len(ROWS))


@loops
def elementwise(
    row: int, w: Any, o_at: int, y_at: int, d_at: int, size: int, count: Any, options: Any
) -> None:
    """d = ∂ℓ(ŷ, y)/∂ŷ over `count`, and ℓ in the place of y, at `size` places; a loss has its `options`."""
    T = w.dtype.type
    o, y, d = at(w, o_at, size), at(w, y_at, size), at(w, d_at, size)
'''


def formula_of(row: Activation | Loss) -> Formula:
    """The record that its kernel is written from. Raises TypeError where there is none."""
    return Formula.of(row, simplified, given=row.options if isinstance(row, Loss) else GIVEN)


Branch = tuple[list[str], list[str]]  # the lines before a loop and in it


def activation(row: Activation) -> tuple[Branch, Branch, int]:
    """The loops of f and of da · f′, and how many values are kept."""
    f = formula_of(row)
    saved = kept(f)
    places: dict[Recorded, str] = {node: f"k{i}[i]" for i, node in enumerate(saved)}
    offsets = ["kept", "kept + size", *(f"kept + {i} * size" for i in range(2, len(saved)))]
    arrays = [f"k{i} = at(w, {offsets[i]}, size)" for i in range(len(saved))]
    given = {node: NAMES.get(name, name) for name, node in f.inputs.items()}
    da = f.record.input("da")
    dz = da if f.derivative.is_(1) else f.record.node("mul", (da, f.derivative))
    forward = body({**places, f.value: "a[i]"}, given)
    backward = body({dz: "dz[i]"}, {f.value: "a[i]", **given, **places, da: "da[i]"})
    return (arrays, forward), (arrays, backward), len(saved)


def loss(row: Loss) -> Branch:
    """The loop of ℓ and ∂ℓ/∂ŷ."""
    f = formula_of(row)
    if len(row.options) > MOST_OPTIONS:
        raise UnwritableError(f"a compiled loss takes {MOST_OPTIONS} options at most")
    count = f.record.input("count")
    given: Mapping[Recorded, str] = {node: NAMES.get(name, name) for name, node in f.inputs.items()}
    options = [f"{name} = T(options[{i}])" for i, name in enumerate(row.options)]
    outputs = {f.record.node("div", (f.derivative, count)): "d[i]", f.value: "y[i]"}
    return options, body(outputs, {**given, count: "count"})


def _branch(name: str, branch: Branch, word: str = "elif") -> str:
    lines = [f"    {word} row == {name.upper()}:"]
    lines += [f"        {line}" for line in [*branch[0], "for i in range(size):"]]
    return "\n".join([*lines, *(f"            {line}" for line in branch[1])]) + "\n"


def _head(head: str, names: list[str], written: str, **more: str) -> str:
    functions = [f for f in ("erf", "exp", "expm1", "log", "log1p", "tanh") if f"{f}(" in written]
    rows = "".join(f'    "{name}",\n' for name in names)
    codes = "".join(f"    {name.upper()},\n" for name in names)
    return head.format(command=COMMAND, functions=", ".join(functions), rows=rows, codes=codes, **more)


def activations_text() -> str:
    """The whole of manual/compiled/activations.py."""
    found = {name: activation(row) for name, row in ACTIVATIONS.items() if lacks(row) is None}
    forward = "".join(_branch(name, loops[0]) for name, loops in found.items())
    backward = "".join(_branch(name, loops[1]) for name, loops in found.items())
    counts = ", ".join(str(many) for _, _, many in found.values()) + ", 0" * len(COUPLED)
    head = _head(ACTIVATIONS_HEAD, [*found, *COUPLED], forward + backward, counts=counts)
    return head + forward + DIFFERENTIATE + backward


def losses_text() -> str:
    """The whole of manual/compiled/elementwise.py."""
    found = {name: loss(row) for name, row in LOSSES.items() if lacks(row) is None}
    words = ["if", *["elif"] * len(found)]
    written = "".join(_branch(*item, word) for item, word in zip(found.items(), words, strict=False))
    return _head(LOSSES_HEAD, list(found), written) + written


FILES = {ROOM / "activations.py": activations_text, ROOM / "elementwise.py": losses_text}


def lacks(row: Activation | Loss) -> str | None:
    """Why no kernel can be written from the row, or None."""
    try:
        activation(row) if isinstance(row, Activation) else loss(row)
    except (TypeError, AttributeError, UnwritableError) as error:
        return str(error)
    return None


_answers: dict[int, tuple[Activation | Loss, str | None]] = {}  # by the row's id; the row, so that it stays


def missing(row: Activation | Loss) -> str | None:
    """Why the compiled engine cannot compute a row, with the remedy, or None.

    Either it has no kernel, or one that is not written from the row's formula as it is now.
    """
    if id(row) not in _answers:
        _answers[id(row)] = row, _missing(row)
    return _answers[id(row)][1]


def _missing(row: Activation | Loss) -> str | None:
    if row.name in BY_HAND:
        return None
    reason = lacks(row)
    if reason is not None:
        return f"it has no kernel for {row.name} and none can be written: {reason}; use --engine manual"
    if isinstance(row, Activation):
        *branches, _ = activation(row)
    else:
        branches = [loss(row)]
    file = "activations" if isinstance(row, Activation) else "elementwise"
    text = (ROOM / f"{file}.py").read_text(encoding="utf-8")
    if all(_branch(row.name, branch, "if") in text.replace("elif", "if") for branch in branches):
        return None
    return f"it has no kernel for {row.name} as its formula is now: run {COMMAND}"


def kernel(row: Activation | Loss) -> None:
    """Raises ValueError where the compiled engine cannot compute a row."""
    reason = missing(row)
    if reason is not None:
        raise ValueError(reason)


if __name__ == "__main__":
    for path, text in FILES.items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if (new := text()) != old:
            path.write_text(new, encoding="utf-8")
            print(f"{path.parent.parent.name}/{path.parent.name}/{path.name}: written anew, to be committed")
    rows: list[Activation | Loss] = [*ACTIVATIONS.values(), *LOSSES.values()]
    for row in rows:
        if row.name not in BY_HAND and (reason := lacks(row)):
            print(f"{row.name}: no kernel is written, {reason}")
