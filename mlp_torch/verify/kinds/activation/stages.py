"""The stages that apply an activation: a = f(z), dz = da · f′(z), and the learned slope of prelu."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flint import arb

from manual.catalogue import ACTIVATIONS
from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify import bits
from mlp_torch.verify.bits import SENTINELS, RefusedError, Values, unit
from mlp_torch.verify.bounds import Bounds, Shape
from mlp_torch.verify.derived.shapes import shape_of
from mlp_torch.verify.enclosure import exact, total
from mlp_torch.verify.kinds import softmax
from mlp_torch.verify.kinds.activation.derived import known, truth_of
from mlp_torch.verify.kinds.activation.errors import Point
from mlp_torch.verify.kinds.activation.rows import ROWS
from mlp_torch.verify.kinds.activation.whole import Pair, evaluated
from mlp_torch.verify.kinds.kind import Kind
from mlp_torch.verify.local import NO_BOUND, Context, Local, UnknownError
from mlp_torch.verify.rounding import up


def slope_of(stage: Stage, values: Mapping[str, Array], number: Callable[[Any], Any] = float) -> Any:
    """The slope below 0 of prelu (learned) or leaky_relu (given), or None for another row."""
    if stage.row == "leaky_relu":
        return number(stage.constants["negative_slope"])
    learned = [float(values[name][0]) for name in stage.reads if name.startswith("slope")]
    return number(learned[0]) if learned else None


def true_values(row: str, z: Array, *slope: Any, constants: Mapping[str, Any] | None = None) -> Pair:
    """True f and f′ of every entry; `slope`, where the row has one, is a ball."""
    given = constants or {}
    return evaluated(truth_of(row, given), known(row, given).whole, z, *slope)


def _proven(stage: Stage, z: str, c: Context) -> Pair:
    """True f and f′ at the engine's z, computed once for both passes."""
    if (stage.row, z) not in c.memo:
        slope = slope_of(stage, c.values, arb)
        given = () if slope is None else (slope,)
        c.memo[stage.row, z] = true_values(stage.row, c.values[z], *given, constants=stage.constants)
    found: Pair = c.memo[stage.row, z]
    return found


def _function(stage: Stage, z: str, a: str, slope: list[Array], b: Bounds) -> tuple[Array, Array, Array]:
    """|f′| at the engine's z, and how far an evaluation of f and of f′ may stray there."""
    key = (stage.row, z)
    if key not in b.memo:
        row = ACTIVATIONS[stage.row]
        assert row.derivative is not None
        d = np.abs(row.derivative(b.values[z], b.values[a], *slope, **stage.constants))
        forward, backward = known(stage.row, stage.constants).errors(Point(b.values[z], b.values[a], d, b.r))
        b.memo[key] = d, forward * (1 + 1e-3), backward * (1 + 1e-3)
    found: tuple[Array, Array, Array] = b.memo[key]
    return found


def _shape(stage: Stage, name: str, b: Bounds) -> Shape:
    """The shape of f where z, the stage of that name, may lie."""
    slope = slope_of(stage, b.values)
    if slope is not None:
        return Shape(max(1.0, abs(slope)), 0.0, abs(1 - slope))
    shape = known(stage.row, stage.constants).shape
    if shape is not None:
        return shape
    reach = float(np.max(np.abs(b.values[name]) + 2 * b.error(name), initial=1.0))
    if not np.isfinite(reach):
        return Shape(np.inf, np.inf, np.inf, np.inf)
    truth, kinks = truth_of(stage.row, stage.constants), ACTIVATIONS[stage.row].kinks
    try:
        return shape_of(truth, kinks, int(np.frexp(reach)[1]))
    except AttributeError:  # a function of flint's whose slope is not known
        raise UnknownError(stage.row, NO_BOUND) from None


def _near_kink(stage: Stage, name: str, b: Bounds) -> Array | bool:
    """Units whose z may lie on the other side of a kink; recorded under the name of z."""
    kinks = ACTIVATIONS[stage.row].kinks
    if not kinks:
        return False
    z, e = b.values[name], b.error(name)
    near = np.zeros(z.shape, dtype=bool)
    for kink in kinks:
        near |= (np.abs(z - kink) <= 2 * e) & (e > 0)
    if near.any():
        b.kinks[name] = near
    return near & b.jumps


# a = f(z)
def _rule(stage: Stage, c: Context) -> Local:
    if stage.row == "softmax":
        return softmax.rule(stage, c)
    z = stage.reads[0]
    f, d = _proven(stage, z, c)
    forward, _ = known(stage.row, stage.constants).errors(Point(c.values[z], f.hi, d.hi, c.r))
    size = np.where(forward > 0, 2 * np.abs(c.values[z]) + np.abs(f.hi), 0)
    return Local(f, up(forward), size)


# |f(z) − f(z*)| ≤ (|f′| + sup|f″| e) e, across a kink sup|f′| e and what f jumps
def _step(stage: Stage, b: Bounds) -> Array:
    if stage.row == "identity":
        return b.error(stage.reads[0])
    if stage.row == "softmax":
        return softmax.step(stage, b)
    _, *slope = b.read(stage)
    e, shape = b.error(stage.reads[0]), _shape(stage, stage.reads[0], b)
    d, own, _ = _function(stage, stage.reads[0], stage.name, slope, b)
    near = _near_kink(stage, stage.reads[0], b)
    moved = (d + shape.curvature * e) * e
    if np.any(near):
        moved = np.where(near, shape.slope * e + shape.value_jump, moved)
    return up(moved + own)


def _bits(stage: Stage, v: Values) -> int:
    z, row = v[stage.reads[0]], ROWS.get(stage.row)
    if row is None or row.dyadic is None:
        raise RefusedError(f"{stage.name}: {stage.row} has no dyadic values")
    if not row.lattice and not np.isin(z, SENTINELS).all():
        raise RefusedError(f"{stage.name}: {stage.row} is dyadic only at z ∈ {{0, ±1024}}")
    slope = slope_of(stage, v)
    if slope is not None:
        return max(bits.entrywise(z, np.array(slope)), bits.bits(np.abs(z), unit(z)))
    a = v[stage.name]
    return bits.bits(np.maximum(np.abs(z), np.abs(a)), max(unit(z), unit(a)))


# dz = da · f′(z): one product on top of the error of f′
def _backward_rule(stage: Stage, c: Context) -> Local:
    da, z = c.values[stage.reads[0]], stage.reads[1]
    f, d = _proven(stage, z, c)
    _, backward = known(stage.row, stage.constants).errors(Point(c.values[z], f.hi, d.hi, c.r))
    one = np.isin(d.hi, (0.0, 1.0)) & (backward == 0)
    # |da| |f′| first: γ |f′| alone may underflow where da is huge
    rounding = c.r.gamma(1) * (np.abs(da) * np.abs(d.hi)) + np.abs(da) * backward * (1 + c.r.gamma(1))
    factor = 1 + np.abs(d.hi) + np.abs(c.values[z])
    if stage.row == "softplus":  # da e^z / (1 + e^z)
        factor = factor + np.exp(np.minimum(c.values[z], 20))
    size = np.where(one, 0, np.abs(da) * factor)
    return Local(d * da, np.where(one, 0, up(rounding) + c.r.tiny), size)


# |da| |f′(z) − f′(z*)| + e_da (|f′| + …); a product with f′ = 0 or 1 does not round
def _backward_step(stage: Stage, b: Bounds) -> Array:
    e_da, e_z = b.error(stage.reads[0]), b.error(stage.reads[1])
    if stage.row == "identity":
        return e_da
    da, _, _, *slope = b.read(stage)
    shape = _shape(stage, stage.reads[1], b)
    d, _, own = _function(stage, stage.reads[1], stage.reads[2], slope, b)
    near = _near_kink(stage, stage.reads[1], b)
    change = shape.curvature * e_z
    if np.any(near):
        change = change + np.where(near, shape.jump, 0)
    size = np.abs(da) + e_da
    rounding = size * own + b.r.gamma(1) * (size * (d + change)) * ((d != 0) & (d != 1))
    return up(size * change + rounding + e_da * d + b.r.tiny * (d != 0))


def _backward_bits(stage: Stage, v: Values) -> int:
    da, dz = v[stage.reads[0]], v[stage.name]
    slope = slope_of(stage, v)
    if slope is not None:
        return max(bits.entrywise(da, np.array(slope)), bits.bits(np.abs(da), unit(da)))
    # f′ at the sentinels is 0, ¼, ½ or 1: a shift by at most two bits
    return max(bits.bits(np.abs(da), unit(da) + 2), bits.bits(np.abs(dz), unit(dz)))


# dslope = Σ da z over z ≤ 0
def _slope_rule(stage: Stage, c: Context) -> Local:
    da, z = c.read(stage)
    z = np.where(z > 0, 0, z)
    truth = total(exact(da) * z)
    n = da.size + 1
    size = np.abs(da * z).sum()
    return Local(truth.reshape((1,)), up(c.r.gamma(n) * size + n * c.r.tiny, n).reshape(1), size)


def _slope_step(stage: Stage, b: Bounds) -> Array:
    da, z = b.read(stage)
    e_da, e_z = (b.error(name) for name in stage.reads)
    below = np.where(z - e_z > 0, 0, np.abs(z))
    e_z = np.where(z - e_z > 0, 0, e_z)
    n = da.size + 1
    error = (np.abs(da) + e_da) * e_z + e_da * below + b.r.gamma(n) * (np.abs(da) * below)
    return up(error.sum() + n * b.r.tiny, n).reshape(1)


def _slope_bits(stage: Stage, v: Values) -> int:
    da, z = (v[name] for name in stage.reads)
    below = np.where(z > 0, 0, z)
    return bits.bits(np.abs(da * below).sum(), unit(da) + unit(below))


KINDS: dict[str, Kind] = {
    "activation": Kind(_rule, _step, _bits),
    "activation_backward": Kind(_backward_rule, _backward_step, _backward_bits),
    "slope_gradient": Kind(_slope_rule, _slope_step, _slope_bits),
}
