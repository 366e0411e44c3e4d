"""The network behind a function that nobody described: layers whose loss and gradients are the function's."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import layout
from mlp_torch.check.describe.layers import Penalty
from mlp_torch.check.describe.shapes import MisfitError
from mlp_torch.check.functions.reading import CLOSE, SIBLINGS, Gradient, Reading
from mlp_torch.check.gradients import prepare
from mlp_torch.check.search.diagnosis import Case, diagnose
from mlp_torch.errors import UserError

HIDDEN = ("relu", "tanh", "sigmoid", "leaky_relu", "softplus", "elu", "selu", "identity")
OUTPUT = ("identity", "softmax", "sigmoid", "tanh", "relu", "softplus")
MIXED = 3  # hidden layers whose activations may differ from one another


def describe(
    own: Sequence[Reading], values: Mapping[str, Array], data: Sequence[Array], loss: float, true: Gradient
) -> dict[str, Any] | None:
    """Options of `check_gradients` under which `true` and `loss` come out, or None.

    `own`: readings of the function's loss as a standard one. It is the same function of the parameters only
    where the loss and every gradient agree.
    """
    if not own or own[0].broadcast or own[0].factor or len(data) < 2:
        return None
    names = {loss: other for other, loss in SIBLINGS.items()}
    for reading in own:
        for name in dict.fromkeys((reading.loss, SIBLINGS.get(reading.loss), names.get(reading.loss))):
            for activations in _activations(values) if name else ():
                options: dict[str, Any] = {"loss": name, "reduction": reading.reduction}
                if reading.penalty:
                    options["l2"] = Penalty(None, half=True, on_biases=True, per_array=reading.penalty)
                found = _fitting(values, data, activations, options, loss, true)
                if found is not None:
                    return found
    return None


def _activations(values: Mapping[str, Array]) -> Iterator[list[str]]:
    """Activations of as many layers as there are matrices, the likeliest first."""
    matrices = sum(v.ndim == 2 and min(v.shape) > 1 for v in values.values())
    for depth in dict.fromkeys((len(values) // 2, len(values), matrices)):
        if not 0 < depth <= 8:
            continue
        one = [(name,) * (depth - 1) for name in (HIDDEN if depth > 1 else HIDDEN[:1])]
        mixed = itertools.product(HIDDEN, repeat=depth - 1) if 1 < depth - 1 <= MIXED else ()
        for hidden in dict.fromkeys((*one, *mixed)):
            for last in OUTPUT:
                yield [*hidden, last]


def _fitting(
    values: Mapping[str, Array], data: Sequence[Array], activations: list[str], options: dict[str, Any],
    loss: float, true: Gradient,
) -> dict[str, Any] | None:  # fmt: skip
    try:
        problems = layout.readings(prepare(dict(values), data[0], data[1], None, activations, **options))
    except (MisfitError, UserError):
        return None
    for p in problems:
        if not abs(p.loss_value() - loss) <= CLOSE * abs(loss):
            continue
        report = diagnose(p, Case({n: np.asarray(v) for n, v in true.items()}), loss, search=False)
        if report is not None and report.verdict == "right":
            settled = {k: p.choices[k] for k in ("samples", "output_samples", "weight_layout")}
            return {"activations": activations, **options, **settled}
    return None
