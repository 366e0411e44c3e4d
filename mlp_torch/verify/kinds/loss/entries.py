"""The losses that sum over entries, one term ℓ(ŷ, y) each: one row a loss, for all tiers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bits import RefusedError, Values, unit
from mlp_torch.verify.bounds import Bounds, Shape
from mlp_torch.verify.derived.rows import bounds_of, truth_with
from mlp_torch.verify.derived.shapes import variation
from mlp_torch.verify.enclosure import (
    UNDERFLOW,
    Enclosure,
    balls,
    divided,
    exact,
    from_balls,
    normalized,
    times,
    two_sum,
)
from mlp_torch.verify.kinds.loss.family import Family
from mlp_torch.verify.kinds.loss.logits import logits_units
from mlp_torch.verify.local import Context, Local, UnknownError
from mlp_torch.verify.rounding import Rounding, up
from mlp_torch.verify.truth import TERMS

Pair = tuple[Enclosure, Enclosure]
Errors = Callable[[Array, Array, Array, Rounding], tuple[Array, Array]]
Units = Callable[[Stage, Values], tuple[Array, int]]
SQUARABLE = 2.0**400


@dataclass(frozen=True)
class Edge:
    """Where ℓ′ jumps: how far an entry is from there, and by how much a unit of ŷ moves that.

    `doubt` is the distance within which rounding may misjudge the side of the entries that are not
    `sure`, and `other` what ℓ′ is on the other side, from ℓ′ and y; without it no rounding can.
    """

    distance: Callable[[Array, Array], Array]
    size: Callable[[Array], Array]
    doubt: Callable[[Array, Array, Rounding], Array] = lambda o, y, r: np.zeros_like(o)
    sure: Callable[[Array], Array] = lambda y: np.ones(y.shape, dtype=bool)
    other: Callable[[Array, Array], Array] | None = None


@dataclass(frozen=True)
class Known:
    """One row.

    `errors` are those of term and derivative by rounding, at (ŷ, y, ℓ′); `shape` holds sup |ℓ″| between
    the kinks and the jump of ℓ′ at one (None: the truth is asked, entry by entry), `units` what a twin
    forms. `squares` are the factors of (ŷ − y)² and of ŷ − y in term and derivative, where they are all
    there is to it.
    """

    errors: Errors
    shape: Shape | None
    units: Units
    squares: tuple[float, float] | None = None
    edge: Edge | None = None


def _square_errors(o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
    return r.gamma(5) * (o - y) ** 2, r.gamma(4) * np.abs(d)


def _l1_errors(o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
    return r.gamma(3) * np.abs(o - y), r.gamma(3) * np.abs(d)


def _smooth_l1_errors(o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
    return r.gamma(5) * (np.abs(o - y) + 1) * np.minimum(np.abs(o - y), 1), r.gamma(5) * np.abs(d)


def _hinge_errors(o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
    return r.gamma(4) * (1 + 2 * np.abs(y * o)), r.gamma(3) * np.abs(d)


def _bce_errors(o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
    s = 1 / (1 + np.exp(-np.clip(o, -700, 700)))
    size = 1 + np.abs(y) + np.abs(1 - y)
    value = r.gamma(24) * np.log1p(np.exp(-np.abs(o))) + r.gamma(6) * np.abs(o) * size
    return value, r.gamma(24) * s + r.gamma(30) * size


def _difference_units(stage: Stage, v: Values) -> tuple[Array, int]:
    output, y = (v[name] for name in stage.reads[:2])
    return np.abs(output) + np.abs(y), max(unit(output), unit(y))


def _margin_units(stage: Stage, v: Values) -> tuple[Array, int]:
    output, y = (v[name] for name in stage.reads[:2])
    return 1 + np.abs(y * output), max(unit(output) + unit(y), 0)


def _no_units(stage: Stage, v: Values) -> tuple[Array, int]:
    raise RefusedError(f"{stage.name}: {stage.row} has no dyadic values")


ROWS: dict[str, Known] = {
    "half_squared_error": Known(_square_errors, Shape(0, 1.0), _difference_units, (0.5, 1.0)),
    "mse": Known(_square_errors, Shape(0, 2.0), _difference_units, (1.0, 2.0)),
    "l1": Known(
        _l1_errors,
        Shape(0, 0.0, 2.0),
        _difference_units,
        edge=Edge(lambda o, y: np.abs(o - y), np.ones_like),
    ),
    "smooth_l1": Known(_smooth_l1_errors, Shape(0, 1.0), _difference_units),
    "hinge": Known(
        _hinge_errors,
        Shape(0, 0.0, 1.0),
        _margin_units,
        edge=Edge(
            lambda o, y: np.abs(1 - y * o),
            np.abs,
            # 1 − y ŷ is exact for y = ±1; else its sign is open within the rounding of the product
            lambda o, y, r: 4 * r.u * (1 + np.abs(y * o)),
            lambda y: np.abs(y) == 1,
            lambda d, y: np.where(d == 0, -y, 0),
        ),
    ),
    "bce_with_logits": Known(_bce_errors, Shape(0, 0.25), logits_units),
}
SQUARED = ("half_squared_error", "mse", "smooth_l1")  # rows whose value holds squares


def known(row: str, constants: Mapping[str, Any]) -> Known:
    """What is known of a row with these constants, by hand or from its formulas.

    Raises UnknownError where `truth.py` does not know the row, or its formulas cannot be recorded.
    """
    if row not in TERMS or LOSSES[row].per_sample:
        raise UnknownError(row)
    return ROWS[row] if row in ROWS else _derived(row, constants)


def _derived(row: str, constants: Mapping[str, Any]) -> Known:
    found = bounds_of(LOSSES[row], constants)

    def errors(o: Array, y: Array, d: Array, r: Rounding) -> tuple[Array, Array]:
        return found({"output": o, "y": y}, r)

    return Known(errors, None, _no_units)


def true_terms(row: str, output: Array, y: Array, constants: Mapping[str, Any] | None = None) -> Pair:
    """A loss's true term and its derivative, for every output and target."""
    given = constants or {}
    squares = known(row, given).squares
    if squares is not None and (np.abs(output) <= SQUARABLE).all() and (np.abs(y) <= SQUARABLE).all():
        difference = Enclosure(*two_sum(output, -y), np.full(output.shape, UNDERFLOW))
        pairs = zip((times(difference, difference), difference), squares, strict=True)
        value, derivative = (Enclosure(e.hi * c, e.lo * c, e.radius * c) for e, c in pairs)
        return normalized(value), normalized(derivative)
    truth = truth_with(TERMS[row], given)
    found = [truth(a, b) for a, b in zip(balls(output), balls(y), strict=True)]
    first, second = (from_balls([pair[side] for pair in found], output.shape) for side in (0, 1))
    return first, second


def _proven(stage: Stage, c: Context) -> tuple[Enclosure, Enclosure, Array, Array]:
    """True terms and derivatives, and the errors of both."""
    output, y = c.read(stage)
    key = ("loss", stage.reads)
    if key not in c.memo:
        c.memo[key] = true_terms(stage.row, output, y, stage.constants)
    values, derivatives = c.memo[key]
    return values, derivatives, *known(stage.row, stage.constants).errors(output, y, derivatives.hi, c.r)


def _terms(stage: Stage, c: Context) -> tuple[Enclosure, Array]:
    terms, _, errors, _ = _proven(stage, c)
    return terms, errors


def _terms_step(stage: Stage, b: Bounds) -> tuple[Array, Array]:
    output, y = b.read(stage)[:2]
    e, row = b.error(stage.reads[0]), known(stage.row, stage.constants)
    derivative = np.abs(LOSSES[stage.row].derivative(output, y, **stage.constants))
    if row.shape is None:
        moved = (derivative + _variation(stage, b)[0]) * e
    else:
        jump = row.shape.jump * (1.0 if row.edge is None else row.edge.size(y))
        moved = (derivative + row.shape.curvature * e + jump) * e
    return moved, row.errors(output, y, derivative, b.r)[0]


def _variation(stage: Stage, b: Bounds) -> tuple[Array, Array]:
    """How far the errors of ŷ move ℓ′, by its truth; and where they reach over a point where it chooses."""
    key = ("variation", stage.reads)
    if key not in b.memo:
        output, y = b.read(stage)[:2]
        truth = truth_with(TERMS[stage.row], stage.constants)
        b.memo[key] = variation(truth, output, y, b.error(stage.reads[0]), b.jumps)
    found: tuple[Array, Array] = b.memo[key]
    return found


def _gradient(stage: Stage, c: Context, n: int) -> Local:
    output, y = c.read(stage)
    _, derivative, _, error = _proven(stage, c)
    truth = divided(derivative, n)
    bound = up((error + c.r.gamma(4) * np.abs(derivative.hi)) / n + c.r.tiny)
    edge = known(stage.row, stage.constants).edge
    if edge is None or edge.other is None:
        return Local(truth, bound)
    kink = (edge.distance(output, y) <= edge.doubt(output, y, c.r)) & ~edge.sure(y)
    other = divided(exact(edge.other(derivative.hi, y)), n)
    return Local(truth, up(bound + c.r.gamma(4) * np.abs(y) / n), kink=kink, other=other)


def _gradient_step(stage: Stage, b: Bounds, gradient: Array) -> Array:
    output, y = b.read(stage)[:2]
    e, row = b.error(stage.reads[0]), known(stage.row, stage.constants)
    _, own = row.errors(output, y, gradient, b.r)
    if row.shape is None:
        moved, near = _variation(stage, b)
        if LOSSES[stage.row].kinks and near.any():
            b.kinks[stage.reads[0]] = near
        return moved + own + b.r.gamma(4) * gradient
    error = row.shape.curvature * e + own + b.r.gamma(4) * gradient
    if row.edge is None:
        return error
    size = row.edge.size(y)
    reach = 2 * e * size + row.edge.doubt(output, y, b.r)
    near = (row.edge.distance(output, y) <= reach) & ((e > 0) | ~row.edge.sure(y))
    if near.any():
        b.kinks[stage.reads[0]] = near
    return error + np.where(near & b.jumps, row.shape.jump * size, 0)


def _units(stage: Stage, v: Values) -> tuple[Array, int]:
    row = ROWS.get(stage.row)
    return (row.units if row else _no_units)(stage, v)


FAMILY = Family(
    _terms, _gradient, _terms_step, _gradient_step, _units, lambda row: row in SQUARED or row not in ROWS
)
