"""The corpus of planted faults: each one replaces the function of one stage of the manual chain rule.

A row names the fault as it is known from hand-written backward passes, the kind of stage that it sits
in and what its function becomes, made from the right function and the trace's values. The trace is run
again from its leaves, so what follows computes from the faulty value, as in a real network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manual.activations import sigmoid
from manual.catalogue import ACTIVATIONS, LOSSES
from manual.catalogue.layers import standardize
from manual.numbers import Array
from manual.structure.trace import Stage, Trace, run

Function = Callable[..., Any]
Maker = Callable[[Stage, Mapping[str, Any]], Function]


@dataclass(frozen=True)
class Mutant:
    """A fault: its name, the kinds of stage that it can be planted in, and what it makes of one.

    `rows` are the activations or losses it needs; `square` says that it runs on a square layer only.
    """

    name: str
    kinds: tuple[str, ...]
    make: Maker
    rows: tuple[str, ...] = ()
    square: bool = False

    def sites(self, t: Trace) -> list[Stage]:
        """The stages of a trace in which this fault can sit.

        The bias before batch_norm has the gradient 0, whatever the network: there a factor is no fault.
        """
        found = [s for s in t if s.kind in self.kinds and (not self.rows or s.row in self.rows)]
        if self.square:
            found = [s for s in found if len(set(np.shape(t[s.reads[1]]))) == 1]
        zero = {f"db{s.layer}" for s in t if s.kind == "batch_norm"}
        return [s for s in found if s.name not in zero or self.name == "bias not summed"]

    def plant(self, t: Trace, name: str) -> Trace:
        """The trace of the same pass with the fault in the stage of that name."""
        wrong = self.make(t.stage(name), t.values)
        stages = [replace(s, function=wrong) if s.name == name else s for s in t]
        with np.errstate(all="ignore"):
            return run(stages, t.leaves)


def times(factor: Callable[[Mapping[str, Any]], float]) -> Maker:
    """The right value times a constant that depends on the problem's sizes."""
    return lambda stage, v: lambda *a, **o: (stage.function(*a, **o) * factor(v)).astype(v["x"].dtype)


def instead(f: Function) -> Maker:
    """Another function of the same arguments."""
    return lambda stage, v: lambda *a, **o: f(*a)


def after(f: Callable[[Array], Array]) -> Maker:
    """Something done to the right value."""
    return lambda stage, v: lambda *a, **o: f(stage.function(*a, **o)).astype(v["x"].dtype)


def _row(stage: Stage) -> Any:
    return ACTIVATIONS[stage.row]


def _f(stage: Stage, z: Array, *slope: Array) -> Array:
    return _row(stage).forward(z, *slope)


def _d(stage: Stage, z: Array, a: Array, *slope: Array) -> Array:
    return _row(stage).derivative(z, a, *slope, **_row(stage).options)


GRADIENTS = (
    "linear_backward_weight",
    "linear_backward_input",
    "backward_bias",
    "activation_backward",
    "loss_gradient",
    "dropout_backward",
    "slope_gradient",
    "jacobian_product",
)
NORMS = ("batch_norm_backward_input", "layer_norm_backward_input")
NORM_WEIGHTS = ("batch_norm_backward_weight", "layer_norm_backward_weight")
DELTA = ("activation_backward",)
SMOOTH = ("sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "softplus", "elu", "selu")


def n(v: Mapping[str, Any]) -> int:
    return len(v["x"])


def without_mean_path(axis: int) -> Function:
    def f(dn: Array, z: Array, gamma: Array) -> Array:
        x, deviation = standardize(z, axis)
        g = dn * gamma
        return (g - x * (g * x).mean(axis, keepdims=True)) / deviation

    return f


def without_variance_path(axis: int) -> Function:
    def f(dn: Array, z: Array, gamma: Array) -> Array:
        g = dn * gamma
        return (g - g.mean(axis, keepdims=True)) / standardize(z, axis)[1]

    return f


def with_n_minus_one(axis: int) -> Function:
    def f(dn: Array, z: Array, gamma: Array) -> Array:
        x, deviation = standardize(z, axis)
        g, m = dn * gamma, z.shape[axis] - 1
        return (g - g.sum(axis, keepdims=True) / m - x * (g * x).sum(axis, keepdims=True) / m) / deviation

    return f


def by_axis(make: Callable[[int], Function]) -> Maker:
    return lambda stage, v: make(0 if stage.kind.startswith("batch") else 1)


def another_loss(stage: Stage, v: Mapping[str, Any]) -> Function:
    row = LOSSES["half_squared_error" if stage.row != "half_squared_error" else "l1"]
    if LOSSES[stage.row].target == "label":  # the squared error's gradient against one-hot rows

        def f(output: Array, y: Array, reduction: str) -> Array:
            return row.gradient(output, np.eye(output.shape[1], dtype=output.dtype)[y], reduction)

        return f
    return lambda output, y, reduction: row.gradient(output, y, reduction)


def stale(stage: Stage, v: Mapping[str, Any]) -> Function:
    return lambda *a, **o: stage.function(*a, **o) + v[stage.name]


def updated_weights(stage: Stage, v: Mapping[str, Any]) -> Function:
    step = v["x"].dtype.type(0.1)
    return lambda dz, w: dz @ (w - step * v[f"d{stage.reads[1]}"])


MUTANTS = [
    # 1–3: constants
    Mutant("1/N twice", GRADIENTS, times(lambda v: 1 / n(v))),
    Mutant("1/N missing", GRADIENTS, times(n)),
    *(Mutant(f"constant {c}", GRADIENTS, times(lambda v, c=c: c)) for c in (2, 0.5, 4)),
    Mutant("mean over K", GRADIENTS, times(lambda v: 1 / v["dloss"].shape[1])),
    Mutant("sign", GRADIENTS + NORMS + NORM_WEIGHTS, times(lambda v: -1)),
    # 6: learning rate folded in
    Mutant("learning rate folded in", GRADIENTS, times(lambda v: 0.01)),
    # 7: transpose, silent on square layers only
    Mutant("transposed dW", ("linear_backward_weight",), after(lambda g: g.T)),
    Mutant("W transposed in da", ("linear_backward_input",), instead(lambda dz, w: dz @ w.T), square=True),
    # 8: bias
    Mutant("bias mean for sum", ("backward_bias",), instead(lambda dz: dz.mean(axis=0))),
    Mutant("bias over all axes", ("backward_bias",), instead(lambda dz: np.full(dz.shape[1], dz.sum()))),
    Mutant("bias not summed", ("backward_bias",), instead(lambda dz: dz)),
    # 9–11: the activation's derivative
    Mutant("derivative missing", DELTA, instead(lambda da, z, a, *s: da), (*SMOOTH, "relu", "prelu")),
    Mutant(
        "derivative at a", DELTA, lambda s, v: lambda da, z, a, *p: da * _d(s, a, _f(s, a, *p), *p), SMOOTH
    ),
    Mutant(
        "derivative of another",
        DELTA,
        instead(lambda da, z, a, *s: da * (1 - np.tanh(z) ** 2)),
        ("sigmoid", "gelu", "silu"),
    ),
    Mutant("derivative twice", DELTA, lambda s, v: lambda da, z, a, *p: da * _d(s, z, a, *p) ** 2, SMOOTH),
    Mutant("upstream not multiplied", DELTA, lambda s, v: lambda da, z, a, *p: _d(s, z, a, *p) + 0 * da),
    Mutant("f used as f′", DELTA, lambda s, v: lambda da, z, a, *p: da * a),
    # 12–13: softmax
    Mutant("softmax diagonal only", ("jacobian_product",), instead(lambda da, z, a: da * a * (1 - a))),
    Mutant(
        "softmax derivative twice",
        ("jacobian_product",),
        lambda s, v: lambda da, z, a: s.function(s.function(da, z, a), z, a),
    ),
    # 14: the mask of the wrong tensor (>= for > is planted in a batch with a unit at 0)
    Mutant("mask of da", DELTA, instead(lambda da, z, a, *s: da * (da > 0)), ("relu",)),
    Mutant("mask of −z", DELTA, instead(lambda da, z, a, *s: da * (z < 0)), ("relu",)),
    Mutant(">= for >", DELTA, instead(lambda da, z, a, *s: da * (z >= 0)), ("relu",)),
    # 15: dropout
    Mutant("mask missing", ("dropout_backward",), instead(lambda dh, mask: dh)),
    Mutant("dropout scale missing", ("dropout_backward",), instead(lambda dh, mask: dh * (mask > 0))),
    # 16–19
    Mutant("last sample only", ("linear_backward_weight",), instead(lambda dz, a: np.outer(dz[-1], a[-1]))),
    Mutant("stale gradient added", GRADIENTS, stale),
    Mutant("updated weights used", ("linear_backward_input",), updated_weights),
    # 21: normalization
    Mutant("mean path dropped", NORMS, by_axis(without_mean_path)),
    Mutant("variance path dropped", NORMS, by_axis(without_variance_path)),
    Mutant("N − 1 for N", NORMS, by_axis(with_n_minus_one)),
    Mutant("x̂ missing from dγ", NORM_WEIGHTS, instead(lambda dn, z: dn.sum(axis=0))),
    Mutant("z for x̂ in dγ", NORM_WEIGHTS, instead(lambda dn, z: (dn * z).sum(axis=0))),
    # 23–25
    Mutant("another loss's gradient", ("loss_gradient",), another_loss),
    Mutant(
        "sigmoid's derivative in bce",
        ("loss_gradient",),
        lambda s, v: lambda o, y, reduction: s.function(o, y, reduction) * sigmoid(o) * (1 - sigmoid(o)),
        ("bce_with_logits",),
    ),
    Mutant("clipped", GRADIENTS, after(lambda g: g * (0.5 / (1 + np.abs(g).max())))),
    Mutant("all zero", GRADIENTS + NORMS + NORM_WEIGHTS, after(np.zeros_like)),
    # forward faults
    Mutant("bias forgotten", ("linear",), instead(lambda a, w, b: a @ w.T)),
    Mutant("N for N·K", ("loss",), times(lambda v: v["dloss"].shape[1])),
]
