"""The spellings of a row's formulas that an engine may use, and the bound that holds for all of them.

One record bounds one order of evaluation. Engines use others: the row as it is written, the same with its
constants taken together (generated kernels), f′ as the row has it or as an algebra of derivatives makes it
of f (autograd through a composition). The bound is the largest of these; a library's own kernel, which
nobody sees, may take a few operations more, so it is doubled. Measured on every row, two dtypes and five
engines: the largest error is .68 of the bound (.77 where results are flushed to 0), and the bounds are 1.0
to 2.8 times those by hand in the median (`test_derived.py`).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.activations import Activation
from manual.losses import Loss
from manual.numbers import Array
from manual.recorded import Recorded, recorded
from manual.recorded.record import Record
from manual.recorded.simplify import simplified
from mlp_torch.verify.derived.running import errors
from mlp_torch.verify.local import NO_BOUND, UnknownError
from mlp_torch.verify.rounding import Rounding

UNSEEN = 2.0  # for a kernel of torch's, whose spelling is not known

# One row an operation: the derivative by its first argument, and by its second; m makes operations.
Slopes = Callable[..., tuple[Any, ...]]
SLOPES: dict[str, Slopes] = {
    "add": lambda m, f, x, y: (1, 1),
    "sub": lambda m, f, x, y: (1, -1),
    "mul": lambda m, f, x, y: (y, x),
    "div": lambda m, f, x, y: (m("div", 1, y), m("neg", m("div", f, y))),
    "neg": lambda m, f, x: (-1,),
    "abs": lambda m, f, x: (m("select", m("lt", x, 0), -1, 1),),
    "min": lambda m, f, x, y: (m("select", m("lt", x, y), 1, 0), m("select", m("lt", x, y), 0, 1)),
    "max": lambda m, f, x, y: (m("select", m("gt", x, y), 1, 0), m("select", m("gt", x, y), 0, 1)),
    "exp": lambda m, f, x: (f,),
    "expm1": lambda m, f, x: (m("exp", x),),
    "log": lambda m, f, x: (m("div", 1, x),),
    "log1p": lambda m, f, x: (m("div", 1, m("add", 1, x)),),
    "tanh": lambda m, f, x: (m("sub", 1, m("mul", f, f)),),
    "sqrt": lambda m, f, x: (m("div", 1, m("mul", 2, f)),),
    "erf": lambda m, f, x: (
        m("mul", m("div", 2, m("sqrt", math.pi)), m("exp", m("sub", 0, m("mul", x, x)))),
    ),
}


def differentiated(root: Recorded, by: Recorded) -> Recorded | None:
    """d root / d by, by the chain rule over the record; None where an operation has no row here."""
    record, found = root.record, {by: root.record.constant(1)}

    def of(node: Recorded) -> Recorded:
        if node not in found:
            found[node] = record.constant(0) if node.constant or not node.args else made(node)
        return found[node]

    def made(node: Recorded) -> Recorded:
        if node.op == "select":
            return record.make("select", node.args[0], of(node.args[1]), of(node.args[2]))
        slopes = SLOPES[node.op](record.make, node, *node.args)
        parts = [(of(x), slope) for x, slope in zip(node.args, slopes, strict=True)]
        parts = [(inner, record.constant(slope)) for inner, slope in parts if not inner.is_(0)]
        terms = [_product(record, inner, slope) for inner, slope in parts]
        total = terms[0] if terms else record.constant(0)
        for term in terms[1:]:
            total = record.make("add", total, term)
        return total

    try:
        return of(root)
    except KeyError:
        return None


def _product(record: Record, x: Recorded, y: Recorded) -> Recorded:
    if x.is_(1) or y.is_(1):
        return y if x.is_(1) else x
    return record.make("mul", x, y)


Errors = Callable[[Mapping[str, Array], Rounding], tuple[Array, Array]]


def errors_of(row: Activation | Loss) -> Errors:
    """How far value and derivative of a row may be off, given its inputs by name (see `Formula`).

    Raises UnknownError where the row's formulas cannot be recorded.
    """
    records = [recorded(row, simplify=simplify) for simplify in (None, simplified)]
    formulas = [f for f in records if f is not None]
    if len(formulas) < len(records):
        raise UnknownError(row.name, NO_BOUND)
    by = next(iter(formulas[0].inputs))
    algebra = [differentiated(f.value, f.inputs[by]) for f in formulas]

    def found(given: Mapping[str, Array], r: Rounding) -> tuple[Array, Array]:
        value = derivative = np.zeros(())
        for f, other in zip(formulas, algebra, strict=True):
            roots = [f.value, f.derivative, *([] if other is None else [other])]
            v, d, *more = errors(roots, {f.inputs[name]: array for name, array in given.items()}, r)
            value, derivative = np.maximum(value, v), np.maximum(derivative, d)
            for bound in more:  # an algebra's 0 · ∞ is nobody's derivative
                derivative = np.maximum(derivative, np.where(np.isfinite(bound), bound, 0))
        return UNSEEN * value, UNSEEN * derivative

    return found
