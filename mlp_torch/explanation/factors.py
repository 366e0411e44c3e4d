"""The local derivative of each stage of the backward pass, as an array that can be printed and multiplied.

Every backward stage is linear in what arrives from above (its first read). Fed with unit gradients, the
stage's own function gives its factor, so nothing is derived a second time. A rule is an einsum of the
product so far (n samples, k units above, c units below) and the factor:

    nc,nc->nc    one number a unit: f′(z), a dropout mask, γ/σ in evaluation
    nk,kc->nc    a matrix that all samples share: W
    nk,nkc->nc   a matrix a sample: softmax's Jacobian, layer_norm's
    mc,cmn->nc   a matrix a unit, which couples the samples: batch_norm's
    nc,nc->      the last factor, by which the sum over samples (and units) becomes the entry
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from manual.catalogue.layers import standardize
from manual.numbers import Array
from manual.structure.trace import Stage, Trace

EACH, SHARED, SAMPLE, UNIT, LAST = "nc,nc->nc", "nk,kc->nc", "nk,nkc->nc", "mc,cmn->nc", "nc,nc->"

# The rule of each kind of stage that passes a gradient on.
RULES: Mapping[str, str] = {
    "dropout_backward": EACH,
    "activation_backward": EACH,
    "batch_norm_evaluation_backward_input": EACH,
    "linear_backward_input": SHARED,
    "jacobian_product": SAMPLE,
    "layer_norm_backward_input": SAMPLE,
    "batch_norm_backward_input": UNIT,
}


class LocalDerivative(NamedTuple):
    """A factor's values, what they are called, and the sizes of the terms that were summed to make them.

    `magnitude` is |values| unless terms cancel inside the factor; `terms` is how many products one entry
    of the next product sums, roundings inside the factor included.
    """

    rule: str
    label: str
    values: Array
    magnitude: Array
    terms: int


def local(stage: Stage, trace: Trace, columns: Array) -> LocalDerivative:
    """The factor of a stage that passes a gradient on, for the units `columns` below it."""
    rule = RULES[stage.kind]
    above = trace[stage.reads[0]]
    rest = [trace[name] for name in stage.reads[1:]]
    if rule == SHARED:
        values = rest[0][:, columns]
        return LocalDerivative(
            rule, _picked(stage.reads[1], columns, rest[0]), values, np.abs(values), len(values)
        )
    if rule == EACH:
        values = stage.function(np.ones_like(above), *rest)[:, columns]
        label = stage.reads[1] if stage.kind == "dropout_backward" else f"f′({stage.reads[1]})"
        if stage.kind.startswith("batch_norm"):
            label = f"gamma{stage.layer} / σ"
        return LocalDerivative(rule, label, values, np.abs(values), 2)
    n, k = above.shape
    if rule == SAMPLE:
        values = np.stack([stage.function(_unit(above, np.s_[:, i]), *rest) for i in range(k)], axis=1)
        values, terms = values[:, :, columns], k
    else:
        values = np.stack([stage.function(_unit(above, np.s_[i, :]), *rest) for i in range(n)])
        values, terms = values[:, :, columns].transpose(2, 0, 1), n
    return LocalDerivative(rule, "Jacobian", values, _magnitude(stage, rest, columns), 2 * terms + 8)


def last(stage: Stage, trace: Trace, index: tuple[int, ...]) -> tuple[LocalDerivative, Array]:
    """The factor of the parameter's own gradient, and the units of the stage above that it takes."""
    above = trace[stage.reads[0]]
    unit = np.array(index[:1])
    if stage.kind == "linear_backward_weight":  # dW = dzᵀ a: row j takes unit j, column k the input k
        values = trace[stage.reads[1]][:, index[1:]]
        label = f"{stage.reads[1]}[:,{index[1]}]"
    elif stage.kind == "backward_bias":
        values, label = np.ones_like(above[:, unit]), "1"
    elif stage.kind == "slope_gradient":  # shared by every unit: the sum runs over all of them
        unit = np.arange(above.shape[1])
        values = np.minimum(trace[stage.reads[1]], 0)
        label = f"min(0, {stage.reads[1]})"
    else:  # dγ = Σ dn x̂, one unit at a time: one unit gradient a sample reads x̂ off
        rest = [trace[name] for name in stage.reads[1:]]
        values = np.stack([stage.function(_unit(above, np.s_[i, :]), *rest) for i in range(len(above))])
        values, label = values[:, unit], f"x̂{stage.layer}[:,{index[0]}]"
    return LocalDerivative(LAST, label, values, np.abs(values), values.size), unit


def _unit(like: Array, where: Any) -> Array:
    e = np.zeros_like(like)
    e[where] = 1
    return e


def _picked(name: str, columns: Array, whole: Array) -> str:
    return name if len(columns) == whole.shape[1] and len(columns) > 1 else f"{name}[:,{columns[0]}]"


def _magnitude(stage: Stage, rest: list[Array], columns: Array) -> Array:
    """The same factor with every subtraction turned into an addition: what its rounding scales with."""
    if stage.kind == "jacobian_product":  # a (δ − a)
        a = np.abs(rest[1])
        return (a[:, None, :] * (np.eye(a.shape[1]) + a[:, :, None]))[:, :, columns]
    z, gamma = rest  # (δ − 1/n − x̂ x̂/n) γ / σ
    axis = 1 if stage.kind.startswith("layer_norm") else 0
    x, deviation = standardize(z, axis)
    x = np.abs(x)
    size = z.shape[axis]
    if axis == 1:
        coupled = np.eye(size) + (1 + x[:, :, None] * x[:, None, :]) / size
        return (coupled * np.abs(gamma)[None, :, None] / deviation[:, :, None])[:, :, columns]
    coupled = np.eye(size) + (1 + x.T[:, :, None] * x.T[:, None, :]) / size
    return (coupled * np.abs(gamma)[:, None, None] / deviation.T[:, :, None])[columns]
