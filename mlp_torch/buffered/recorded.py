"""Kernels made from the rows of `manual`: the record of a formula as torch's calls, one an operation.

What torch has no kernel of its own for in one pass over memory, a new row above all, is computed so.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from manual.recorded.calls import write
from manual.recorded.formula import Formula
from manual.recorded.kept import kept
from manual.recorded.record import UFUNCS, Recorded
from mlp_torch.buffered.buffers import Buffers, Op

NAMES = {"min": "minimum", "max": "maximum", "not": "logical_not", "or": "logical_or", "and": "logical_and"}
OPAQUE = ("sigmoid", "sign")  # what is one operation here
FUNCTIONS: dict[str, Any] = {
    op: getattr(torch, NAMES.get(op, op)) for op in (*UFUNCS.values(), "erf", *OPAQUE)
}


class TorchWriter:
    """torch's calls on buffers shaped like `like`, which all layers of that shape share."""

    apart: frozenset[str] = frozenset()

    def __init__(self, buffers: Buffers, like: Tensor) -> None:
        self.buffers, self.like, self.made = buffers, like, 0
        self.ops: list[Op] = []

    def new(self, condition: bool) -> Tensor:
        self.made += 1
        shape, dtype = tuple(self.like.shape), torch.bool if condition else None
        return self.buffers(f"recorded {shape} {condition} {self.made}", *shape, dtype=dtype)

    def constant(self, value: float) -> Tensor:
        return self.buffers.constant(value)

    def copy(self, source: Tensor, out: Tensor) -> None:
        self.ops.append(partial(out.copy_, source))

    def apply(self, op: str, args: list[Any], out: Tensor) -> None:
        self.ops.append(partial(FUNCTIONS[op], *args, out=out))

    def select(self, c: Tensor, x: Tensor, y: Tensor, out: Tensor, spare: bool) -> None:
        self.ops.append(partial(torch.where, c, x, y, out=out))


def calls(
    buffers: Buffers, outputs: dict[Recorded, Tensor], given: dict[Recorded, Tensor], like: Tensor
) -> list[Op]:
    """The kernels that put each value into its tensor."""
    to = TorchWriter(buffers, like)
    write(to, outputs, given)
    return to.ops


class RecordedActivation:
    """a = f(z), and dz = da · f′(z), from a row's record; f leaves values for f′."""

    def __init__(self, formula: Formula) -> None:
        self.formula, self.kept = formula, kept(formula)
        self.da = formula.record.input("da")
        self.dz = self.da
        if not formula.derivative.is_(1):
            self.dz = formula.record.node("mul", (self.da, formula.derivative))

    def forward(self, unit: Any) -> list[Op]:
        outputs = {**self._saved(unit), self.formula.value: unit.a}
        return calls(unit.buffers, outputs, {self.formula.inputs["z"]: unit.z}, unit.z)

    def backward(self, unit: Any) -> list[Op]:
        given = {self.formula.value: unit.a, self.formula.inputs["z"]: unit.z, self.da: unit.da}
        return calls(unit.buffers, {self.dz: unit.dz}, {**given, **self._saved(unit)}, unit.z)

    def _saved(self, unit: Any) -> dict[Recorded, Tensor]:
        return {node: unit.scratch(f"kept {i} of ") for i, node in enumerate(self.kept)}


class RecordedLoss:
    """The terms of an elementwise loss and its gradient, from a row's record."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula

    def __call__(self, ends: Any) -> tuple[list[Op], list[Op]]:
        f, terms = self.formula, ends.scratch("terms")
        given = {f.inputs["output"]: ends.output, f.inputs["y"]: ends.y}
        value = calls(ends.buffers, {f.value: terms}, given, ends.output)
        gradient = calls(ends.buffers, {f.derivative: ends.d}, given, ends.output)
        return [*value, *ends.value(terms)], [*gradient, *ends.gradient()]
