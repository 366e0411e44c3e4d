"""Kernels made from the rows themselves: the record of a formula as calls on the arrays of a `Program`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from manual.activations import Activation
from manual.buffered.erf import erf
from manual.buffered.program import Program, borrows
from manual.losses import Loss
from manual.numbers import Array
from manual.recorded.calls import write
from manual.recorded.formula import Formula, recorded
from manual.recorded.kept import kept
from manual.recorded.record import UFUNCS, Recorded
from manual.recorded.simplify import simplified

FUNCTIONS: dict[str, np.ufunc] = {op: function for function, op in reversed(UFUNCS.items())}
FUNCTIONS["sign"] = np.sign


# 1 / (1 + e^−z): e^−z may overflow to ∞, and 1/∞ = 0 is right. The row's choice between e^z and 1 takes 1.9
# to 5.7 times as long (NumPy 2 on an Intel Xeon, 256 to 131,072 entries)
def sigmoid(do: Program, z: Array, a: Array) -> None:
    do(np.negative, z, out=a)
    do(np.exp, a, out=a)
    do(np.add, a, 1, out=a)
    do(np.reciprocal, a, out=a)


WRITTEN: dict[str, Callable[[Program, Array, Array], None]] = {"erf": erf, "sigmoid": sigmoid}
OPAQUE = ("sigmoid", "sign")  # what is one operation here


class NumPyWriter:
    """NumPy's calls in a program, on arrays shaped like `like`; what it lends is free for later calls."""

    apart = frozenset({"erf"})

    def __init__(self, do: Program, like: Array) -> None:
        self.do, self.like = do, like

    def new(self, condition: bool) -> Array:
        self.do.borrowed.append(self.do.workspace.lend(self.like.shape, bool if condition else None))
        return self.do.borrowed[-1]

    def constant(self, value: float) -> Array:
        return self.do.number(value)

    def copy(self, source: Array, out: Array) -> None:
        self.do.copy(source, out)

    def apply(self, op: str, args: list[Any], out: Array) -> None:
        if op not in WRITTEN:
            self.do(FUNCTIONS[op], *args, out=out)
            return
        x = args[0]
        if x is out and op in self.apart:
            x = self.new(False)
            self.copy(out, x)
        WRITTEN[op](self.do, x, out)

    def select(self, c: Array, x: Any, y: Any, out: Array, spare: bool) -> None:
        numbers = x.ndim == y.ndim == 0
        if out is x or (numbers and (x, y) == (0, 1)):
            c, x, y = self.do(np.logical_not, c, out=c if spare else self.new(True)), y, x
        if numbers and (x, y) == (1, 0):
            self.copy(c, out)
            return
        if out is not y:
            self.copy(y, out)
        self.do.copy(x, out, where=c)


class RecordedActivation:
    """f and f′ of a row from its record; with `keep` the values that f leaves for f′ are kept."""

    def __init__(self, formula: Formula, keep: bool = True) -> None:
        self.formula, self.kept = formula, kept(formula) if keep else []

    @borrows
    def forward(self, do: Program, z: Array, a: Array, slope: Array | None) -> list[Array]:
        saved = [do.workspace.new(*z.shape) for _ in self.kept]
        outputs = dict(zip(self.kept, saved, strict=True)) | {self.formula.value: a}
        write(NumPyWriter(do, z), outputs, self._given(z, slope))
        return saved

    @borrows
    def derivative(
        self, do: Program, z: Array, a: Array, f: Array, slope: Array | None, saved: list[Array] | None
    ) -> None:
        known = {self.formula.value: a} | self._given(z, slope)
        known |= dict(zip(self.kept, saved or [], strict=True))
        write(NumPyWriter(do, z), {self.formula.derivative: f}, known)

    def _given(self, z: Array, slope: Array | None) -> dict[Recorded, Any]:
        arrays = {"z": z, "slope": slope}
        return {node: arrays[name] for name, node in self.formula.inputs.items()}


_made: dict[Any, RecordedActivation] = {}


def activation(row: Activation, keep: bool) -> RecordedActivation:
    """The kernel from a row's record, made once. Raises ValueError where it cannot be recorded."""
    key = row.function, row.derivative, tuple(row.options.items()), keep
    if key not in _made:
        formula = recorded(row, simplify=simplified, opaque=OPAQUE)
        if formula is None:
            raise ValueError(f"the buffered step has no kernel for {row.name}")
        _made[key] = RecordedActivation(formula, keep)
    return _made[key]


def loss(row: Loss) -> "RecordedLoss":
    """The kernel from a row's record. Raises ValueError where it cannot be recorded."""
    formula = recorded(row, simplify=simplified, opaque=OPAQUE)
    if formula is None:
        raise ValueError(f"the buffered step has no kernel for {row.name}")
    return RecordedLoss(formula)


class RecordedLoss:
    """ℓ and ∂ℓ/∂ŷ of an elementwise row from its record."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula

    @borrows
    def value(self, do: Program, o: Array, y: Array, t: Array) -> None:
        self._write(do, self.formula.value, o, y, t)

    @borrows
    def gradient(self, do: Program, o: Array, y: Array, d: Array) -> None:
        self._write(do, self.formula.derivative, o, y, d)

    def _write(self, do: Program, what: Recorded, o: Array, y: Array, out: Array) -> None:
        inputs = self.formula.inputs
        write(NumPyWriter(do, o), {what: out}, {inputs["output"]: o, inputs["y"]: y})
