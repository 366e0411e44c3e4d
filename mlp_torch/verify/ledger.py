"""The bit ledger: a proof that no operation of a whole pass rounds.

If all entries of A are multiples of 2^-p and those of B of 2^-q, then every partial sum of A @ B, in any
order, fused or not, is a multiple of 2^-(p+q) no larger than max(|A| @ |B|); while that is at most 2^53
such units (2^24 in float32), each is a float and nothing rounds. `prove` checks this for every stage of
a trace, on the trace's own values: they are exact once all earlier stages are proven. Elementary
functions are trusted at the sentinels only: exp 0 = 1, exp −1024 = 0, tanh 0 = 0, tanh ±1024 = ±1, erf
likewise. Whatever the ledger cannot prove, it refuses.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.structure.trace import Stage, Trace
from mlp_torch.verify.local import slope_of

SENTINELS = (0.0, 1024.0, -1024.0)
PIECEWISE = ("identity", "relu", "leaky_relu", "prelu", "hardtanh")
SENTINEL_ROWS = ("sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "elu")


# Units and sums are held between these powers of two, so that no float32 is flushed or overflows.
LOWEST, HIGHEST = -126, 126


class RefusedError(ValueError):
    """The ledger cannot prove that no operation rounds; the text says at which stage and why."""


class _OutOfRangeError(Exception):
    pass


@dataclass
class Ledger:
    """Bits that each stage needs of the `precision` at hand; `inexact` stages are not claimed."""

    precision: int
    bits: dict[str, int] = field(default_factory=dict)
    inexact: set[str] = field(default_factory=set)

    @property
    def most(self) -> int:
        return max(self.bits.values())


def unit(values: Array) -> int:
    """The smallest q such that every entry is an integer multiple of 2^-q (very negative for zeros)."""
    v = np.asarray(values, dtype=np.float64)
    v = v[v != 0]
    if v.size == 0:
        return -1000
    mantissa, exponent = np.frexp(np.abs(v))
    integers = (mantissa * 2.0**53).astype(np.int64)
    lowest = (
        exponent.astype(np.int64) - 53 + np.log2((integers & -integers).astype(np.float64)).astype(np.int64)
    )
    return int(-lowest.min())


def _bits(largest: Array, q: int) -> int:
    """Bits of the largest partial sum, counted in units of 2^-q; both must be normal numbers."""
    top = float(np.max(largest, initial=0.0))
    if -q < LOWEST or not top <= 2.0**HIGHEST:
        raise _OutOfRangeError
    return 0 if top == 0 else int(np.ceil(np.log2(top) + q - 1e-9)) + 1


def _matmul(a: Array, b: Array) -> int:
    return _bits(np.abs(a) @ np.abs(b), unit(a) + unit(b))


def _linear(stage: Stage, v: dict[str, Array]) -> int:
    a, weight, bias = (v[name] for name in stage.reads)
    q = max(unit(a) + unit(weight), unit(bias))
    return _bits(np.abs(a) @ np.abs(weight).T + np.abs(bias), q)


def _product(a: Array, b: Array) -> int:
    return _bits(np.abs(a * b), unit(a) + unit(b))


def _activation(stage: Stage, v: dict[str, Array]) -> int:
    z = v[stage.reads[0]]
    if stage.row in SENTINEL_ROWS:
        if not np.isin(z, SENTINELS).all():
            raise RefusedError(f"{stage.name}: {stage.row} is dyadic only at z ∈ {{0, ±1024}}")
    elif stage.row not in PIECEWISE:
        raise RefusedError(f"{stage.name}: {stage.row} has no dyadic values")
    slope = slope_of(stage, v)
    if slope is not None:
        return max(_product(z, np.array(slope)), _bits(np.abs(z), unit(z)))
    return _bits(np.maximum(np.abs(z), np.abs(v[stage.name])), max(unit(z), unit(v[stage.name])))


def _activation_backward(stage: Stage, v: dict[str, Array]) -> int:
    da, dz = v[stage.reads[0]], v[stage.name]
    slope = slope_of(stage, v)
    if slope is not None:
        return max(_product(da, np.array(slope)), _bits(np.abs(da), unit(da)))
    # f′ at the sentinels is 0, ¼, ½ or 1: a shift by at most two bits
    return max(_bits(np.abs(da), unit(da) + 2), _bits(np.abs(dz), unit(dz)))


def _slope_gradient(stage: Stage, v: dict[str, Array]) -> int:
    da, z = (v[name] for name in stage.reads)
    below = np.where(z > 0, 0, z)
    return _bits(np.abs(da * below).sum(), unit(da) + unit(below))


def _count(stage: Stage, output: Array) -> int:
    n = LOSSES[stage.row].count(output) if stage.options["reduction"] == "mean" else 1
    if n & (n - 1):
        raise RefusedError(f"{stage.name}: a mean over {n}, which is no power of two, rounds")
    return n


def _weigh(stage: Stage, v: dict[str, Array], terms: Array) -> tuple[Array, int]:
    """Terms (N, …) times the samples' weights, whose sum is to be the number of samples; and their unit."""
    if len(stage.reads) < 3:
        return terms, 0
    w = v[stage.reads[2]]
    if stage.options["reduction"] == "mean" and w.sum() != len(w):
        raise RefusedError(f"{stage.name}: a mean over weights that sum to {w.sum():g} rounds")
    return terms * w.reshape(-1, *[1] * (terms.ndim - 1)), max(unit(w), 0)


def _loss_terms(stage: Stage, v: dict[str, Array]) -> tuple[Array, int]:
    """What the loss and its gradient form before they sum, and its unit."""
    output, y = (v[name] for name in stage.reads[:2])
    k = output.shape[1]
    if stage.row in ("half_squared_error", "mse", "l1", "smooth_l1"):
        return np.abs(output) + np.abs(y), max(unit(output), unit(y))
    if stage.row == "hinge":
        return 1 + np.abs(y * output), max(unit(output) + unit(y), 0)
    if stage.row == "multi_margin":
        if k & (k - 1):
            raise RefusedError(f"{stage.name}: a mean over {k} classes, which is no power of two, rounds")
        return 1 + 2 * np.abs(output).max(axis=1), max(unit(output), 0)
    if not np.isin(output, SENTINELS).all():
        raise RefusedError(f"{stage.name}: {stage.row} is dyadic only for logits in {{0, ±1024}}")
    if stage.row == "cross_entropy" and (np.sort(output, axis=1)[:, -1:] == output).sum() > len(output):
        raise RefusedError(f"{stage.name}: softmax is dyadic only without ties at the largest logit")
    if v["y"].shape != output.shape:  # labels
        return 1 + 2 * np.abs(output), 0
    return (1 + 2 * np.abs(output)) * (1 + np.abs(y).sum(axis=1, keepdims=True)), max(unit(y), 0)


def _loss(stage: Stage, v: dict[str, Array]) -> int:
    terms, q = _loss_terms(stage, v)
    _count(stage, v[stage.reads[0]])
    if stage.row in ("half_squared_error", "mse", "smooth_l1"):
        terms, more = _weigh(stage, v, terms * terms)
        return _bits(terms.sum(), 2 * q + 1 + more)
    terms, more = _weigh(stage, v, terms)
    return _bits(terms.sum(), q + more + int(v[stage.reads[0]].shape[1]).bit_length())


def _loss_gradient(stage: Stage, v: dict[str, Array]) -> int:
    terms, q = _loss_terms(stage, v)
    _count(stage, v[stage.reads[0]])
    terms, more = _weigh(stage, v, terms)
    return _bits(2 * terms, q + 1 + more)


def _objective(stage: Stage, v: dict[str, Array]) -> int:
    recipe, (loss, *weights) = stage.options["recipe"], (v[name] for name in stage.reads)
    units = [
        max(unit(w) + unit(np.asarray(recipe.l1)), 2 * unit(w) + unit(np.asarray(recipe.l2 / 2)))
        for w in weights
    ]
    sizes = [recipe.l1 * np.abs(w).sum() + recipe.l2 * (w * w).sum() for w in weights]
    return _bits(np.abs(loss) + sum(sizes), max(unit(loss), *units))


def _penalty_gradient(stage: Stage, v: dict[str, Array]) -> int:
    recipe, (dw, w) = stage.options["recipe"], (v[name] for name in stage.reads)
    q = max(unit(dw), unit(np.asarray(recipe.l1)), unit(w) + unit(np.asarray(recipe.l2)))
    return _bits(np.abs(dw) + recipe.l1 + recipe.l2 * np.abs(w), q)


def _dropout(stage: Stage, v: dict[str, Array]) -> int:
    return _product(*(v[name] for name in stage.reads))


def _backward_input(stage: Stage, v: dict[str, Array]) -> int:
    return _matmul(*(v[name] for name in stage.reads))


def _backward_weight(stage: Stage, v: dict[str, Array]) -> int:
    dz, a = (v[name] for name in stage.reads)
    return _matmul(dz.T, a)


def _backward_bias(stage: Stage, v: dict[str, Array]) -> int:
    (dz,) = (v[name] for name in stage.reads)
    return _bits(np.abs(dz).sum(axis=0), unit(dz))


ENTRIES: dict[str, Callable[[Stage, dict[str, Array]], int]] = {
    "linear": _linear,
    "linear_backward_input": _backward_input,
    "linear_backward_weight": _backward_weight,
    "backward_bias": _backward_bias,
    "activation": _activation,
    "activation_backward": _activation_backward,
    "slope_gradient": _slope_gradient,
    "dropout": _dropout,
    "dropout_backward": _dropout,
    "loss": _loss,
    "loss_gradient": _loss_gradient,
    "penalty": _objective,
    "penalty_gradient": _penalty_gradient,
}


def prove(trace: Trace) -> Ledger:
    """The ledger of a trace; raises RefusedError at the first stage that may round.

    The loss of bce_with_logits at a logit of 0 is ln 2: the ledger goes on without claiming it.
    """
    precision = 53 if trace["z1"].dtype == np.float64 else 24
    values = {name: np.asarray(v).astype(np.float64) for name, v in trace.values.items()}
    ledger = Ledger(precision)
    for stage in trace:
        if stage.kind not in ENTRIES:
            raise RefusedError(f"{stage.name}: {stage.kind} divides by a square root")
        if not all(np.isfinite(values[name]).all() for name in (*stage.reads, stage.name)):
            raise RefusedError(f"{stage.name}: not all of its numbers are finite")
        if stage.name == "loss" and stage.row == "bce_with_logits" and (values[stage.reads[0]] == 0).any():
            ledger.inexact.add("loss")
            continue
        try:
            bits = ENTRIES[stage.kind](stage, values)
        except _OutOfRangeError:
            text = f"{stage.name}: its numbers leave the range from 2^{LOWEST} to 2^{HIGHEST}"
            raise RefusedError(text) from None
        if stage.kind in ("loss", "penalty") and bits > precision:
            ledger.inexact.add(stage.name)  # no gradient follows from the loss's value
            continue
        if bits > precision:
            raise RefusedError(f"{stage.name}: needs {bits} bits of {precision}")
        ledger.bits[stage.name] = bits
    return ledger
