"""What the instrument knows of each activation beside its truth: one row a function, for all tiers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlp_torch.verify.bounds import Shape
from mlp_torch.verify.kinds.activation import errors, whole
from mlp_torch.verify.kinds.activation.errors import Errors
from mlp_torch.verify.kinds.activation.whole import Whole, ordinary, piecewise, squarable
from mlp_torch.verify.rounding import ELEMENTARY


@dataclass(frozen=True)
class Known:
    """One row.

    `errors` of f and of f′ by rounding, the `shape` of f, which carries its argument's error on (None: it
    is found in the truth); `whole`
    evaluates arrays at once, where there is such a way. `dyadic` is what a unit of a twin whose z is in
    {0, ±1024} gives on: None where that is no dyadic number. With `lattice` f is linear between its
    kinks, and z may be any dyadic number.
    """

    errors: Errors
    shape: Shape | None
    whole: Whole | None = None
    dyadic: Callable[[float], float] | None = None
    lattice: bool = False


def _sign(z: float) -> float:
    return float(np.sign(z))


def _positive(z: float) -> float:
    return max(z, 0.0)


SLOPE = 0.25  # of prelu and leaky_relu in a twin


def _sloped(z: float) -> float:
    return z if z > 0 else SLOPE * z


ROWS: dict[str, Known] = {
    "identity": Known(
        errors.none, Shape(), (lambda z: piecewise(z, 1), squarable), lambda z: z, lattice=True
    ),
    "sigmoid": Known(
        errors.sigmoid, Shape(0.25, 0.0963), (whole.sigmoid, ordinary), lambda z: (1 + _sign(z)) / 2
    ),
    "tanh": Known(errors.tanh, Shape(1.0, 0.7699), (whole.tanh, ordinary), _sign),
    "relu": Known(
        errors.none,
        Shape(1.0, 0.0, 1.0),
        (lambda z: piecewise(z, 0), squarable),
        _positive,
        lattice=True,
    ),
    # the slope's decimal is rounded, then a product; the shapes follow from the slope: see `stages.py`
    "leaky_relu": Known(errors.relative(2, 1), Shape(), (piecewise, squarable), _sloped, lattice=True),
    "prelu": Known(errors.relative(1, 0), Shape(), (piecewise, squarable), _sloped, lattice=True),
    "elu": Known(
        errors.relative(ELEMENTARY + 2, ELEMENTARY + 2),
        Shape(1.0, 1.0),
        dyadic=lambda z: z if z > 0 else _sign(z),
    ),
    "selu": Known(errors.relative(ELEMENTARY + 6, ELEMENTARY + 6), Shape(1.7581, 1.7581, 0.7075)),
    "gelu": Known(errors.gelu, Shape(1.129, 0.798), dyadic=_positive),
    "gelu_tanh": Known(errors.gelu_tanh, Shape(1.13, 0.81), dyadic=_positive),
    "silu": Known(errors.silu, Shape(1.1, 0.5), (whole.silu, ordinary), _positive),
    "softplus": Known(
        errors.relative(2 * ELEMENTARY + 4, 2 * ELEMENTARY + 4), Shape(1.0, 0.25, 2.07e-9, 2.07e-9)
    ),
    "hardtanh": Known(
        errors.none, Shape(1.0, 0.0, 1.0), dyadic=lambda z: min(max(z, -1.0), 1.0), lattice=True
    ),
}

# The rows that a twin can have: what a sentinel becomes; and those that may have any dyadic z.
DYADIC = {name: row.dyadic for name, row in ROWS.items() if row.dyadic is not None}
LATTICE = tuple(name for name, row in ROWS.items() if row.lattice)
