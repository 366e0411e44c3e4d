"""Small changes of a description under which the author's gradients may be right: one row a kind of change.

Whoever describes a network slips as well: a forgotten bias, another activation, another orientation. What a
change makes right is no fault of the gradients; no change may leave out an array that was judged. Penalties
and reductions are the search's own.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_torch.check.describe import arguments as must
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.layers import Layer
from mlp_torch.check.describe.layout import Given


@dataclass(frozen=True)
class Reading:
    """`given` changed in one place; `write` is the option to write, `where` its place in words, `layer` its
    number.
    """

    write: str
    where: str
    layer: int | None
    given: Given
    without: str = ""  # a bias that the network described so does not have

    @property
    def words(self) -> str:
        left = f" (and {self.without} left out of parameters and gradients)" if self.without else ""
        return f"{self.write}{self.where}{left}"


Change = tuple[str, str, int | None, dict[str, Any]]


def changes(given: Given, unbiased: bool = False) -> Iterator[Reading]:
    """Every small change, the likeliest first. `unbiased`: the author's arrays are those of a network that
    adds no bias somewhere, so that its gradient need not be judged.
    """
    judged = set(must.used(given.layers))
    for number, layer, where in _places(given) if unbiased else ():
        if layer.bias is not None:
            fields = _with(given, number, bias=None)
            yield Reading("bias=None", where, number, replace(given, **fields), without=str(layer.bias))
    for way in CHANGES:
        for write, where, at, fields in way(given):
            changed = replace(given, **fields)
            if judged <= set(must.used(changed.layers)):
                yield Reading(write, where, at, changed)


def _with(given: Given, number: int, **fields: Any) -> dict[str, Any]:
    """The layers with one changed."""
    layers = list(given.layers)
    layers[number - 1] = replace(layers[number - 1], **fields)
    return {"layers": layers}


def _places(given: Given) -> Iterator[tuple[int, Layer, str]]:
    for number, layer in enumerate(given.layers, start=1):
        yield number, layer, f" in layer {number}"


def biases(given: Given) -> Iterator[Change]:
    """What no layer mentions is the bias of a layer that has none; a folded bias is at the other end."""
    free = [name for name in given.parameters if name not in must.used(given.layers)]
    for name in free:
        for number, layer, where in _places(given):
            if layer.bias is None and layer.bias_in_weight is None:
                yield f"bias={name!r}", where, number, _with(given, number, bias=name)
    bare = [layer for layer in given.layers if layer.bias is None and layer.bias_in_weight is None]
    if 1 < len(bare) == len(free):
        named = iter(free)
        layers = [replace(layer, bias=next(named)) if layer in bare else layer for layer in given.layers]
        yield f"bias={', '.join(map(repr, free))}", " in these layers, in order", None, {"layers": layers}
    for number, layer, where in _places(given):
        if layer.bias_in_weight is not None:
            other = "last" if layer.bias_in_weight == "first" else "first"
            write = f"bias_in_weight={other!r}"
            yield write, where, number, _with(given, number, bias_in_weight=other)


# The constants that people leave at another value than the one described
SLOPES = {
    "leaky_relu": ("alpha", (0.01, 0.1, 0.2, 0.001, 0.05, 0.02, 0.3, 0.25)),
    "prelu": ("alpha", (0.25, 0.01, 0.1)),
    "elu": ("alpha", (1.0, 0.1, 0.5, 1.67326, 0.2)),
}


def activations(given: Given) -> Iterator[Change]:
    """Another activation in one layer, or in all the hidden ones that share one."""
    for number, layer, where in _places(given):
        for name in FORMS:
            if name == layer.activation or (name == "softmax" and number < len(given.layers)):
                continue
            key, values = SLOPES.get(name, ("", ()))
            for own in ({}, *({key: value} for value in values[1:])):
                write = f"activation={name!r}" + (f", activation_parameters={own}" if own else "")
                fields = {"activation": name, "activation_parameters": own}
                yield write, where, number, _with(given, number, **fields)
    hidden = given.layers[:-1]
    if len(hidden) > 1 and len({layer.activation for layer in hidden}) == 1:
        for name in FORMS:
            if name not in (hidden[0].activation, "softmax"):
                every = [replace(v, activation=name, activation_parameters={}) for v in hidden]
                layers = [*every, given.layers[-1]]
                yield f"activation={name!r}", " in every hidden layer", None, {"layers": layers}


def constants(given: Given) -> Iterator[Change]:
    for number, layer, where in _places(given):
        if layer.activation not in SLOPES:
            continue
        key, values = SLOPES[layer.activation]
        now = layer.activation_parameters.get(key, FORMS[layer.activation].defaults[key])
        for value in values:
            if not isinstance(now, str) and not np.array_equal(now, value):
                own = {**layer.activation_parameters, key: value}
                write = f"activation_parameters={{{key!r}: {value:g}}}"
                yield write, where, number, _with(given, number, activation_parameters=own)


# loss: the one over the other thing, and the activation that then stands at the output
LOGITS = {
    "cross_entropy_from_logits": ("cross_entropy", "softmax"),
    "bce_with_logits": ("bce", "sigmoid"),
}


def outputs(given: Given) -> Iterator[Change]:
    """Logits for probabilities: softmax or sigmoid left out of the loss, or twice in the description."""
    last, number = given.layers[-1], len(given.layers)
    for logits, (probable, activation) in LOGITS.items():
        if given.loss == probable and last.activation in ("identity", activation):
            yield f"loss={logits!r}", "", None, {"loss": logits}
            if last.activation == "identity":
                continue
            fields = _with(given, number, activation="identity")
            write = f"loss={logits!r} and activation='identity'"
            yield write, " in the last layer", number, {"loss": logits, **fields}
        if given.loss == logits:
            yield f"loss={probable!r}", "", None, {"loss": probable}
            if last.activation == activation:
                continue
            fields = _with(given, number, activation=activation)
            write = f"loss={probable!r} and activation={activation!r}"
            yield write, " in the last layer", number, {"loss": probable, **fields}


def dropouts(given: Given) -> Iterator[Change]:
    for number, layer, where in _places(given):
        if layer.dropout is not None:
            yield "dropout=None", where, number, _with(given, number, dropout=None)
            other = replace(layer.dropout, scaled=not layer.dropout.scaled)
            write = f"Dropout(…, scaled={other.scaled})"
            yield write, where, number, _with(given, number, dropout=other)
    if sum(layer.dropout is not None for layer in given.layers) > 1:
        layers = [replace(layer, dropout=None) for layer in given.layers]
        yield "dropout=None", " in every layer", None, {"layers": layers}


def layouts(given: Given) -> Iterator[Change]:
    """The other way to read arrays that are square, or that an option turned."""
    others = {"rows": "columns", "columns": "rows"}
    for option in ("samples", "output_samples"):
        now = getattr(given, option)
        for value in (others[now],) if now else ():
            yield f"{option}={value!r}", "", None, {option: value}
    if given.samples and not given.output_samples:
        value = others[given.samples]
        yield f"output_samples={value!r}", "", None, {"output_samples": value}
    ways = ("in,out", "out,in")
    for way in ways:
        if given.weight_layout not in (None, way):
            yield f"weight_layout={way!r}", "", None, {"weight_layout": way}
    for number, layer, where in _places(given):
        whole = given.weight_layout if isinstance(given.weight_layout, str) else None
        for way in ways:
            if (layer.weight_layout or whole) not in (None, way):
                yield f"weight_layout={way!r}", where, number, _with(given, number, weight_layout=way)


def orders(given: Given) -> Iterator[Change]:
    """Two layers, or their weights, biases or activations, in each other's place."""
    for i, j in itertools.combinations(range(len(given.layers)), 2):
        first, second = given.layers[i], given.layers[j]
        for what, own in ORDERS.items():
            mine, its = ({f: getattr(layer, f) for f in own} for layer in (first, second))
            if repr(mine) == repr(its):
                continue
            layers = list(given.layers)
            layers[i], layers[j] = replace(first, **its), replace(second, **mine)
            yield f"{what} {i + 1} and {j + 1} exchanged", "", None, {"layers": layers}


ORDERS = {
    "layers": tuple(Layer.__dataclass_fields__),
    "the weights and biases of layers": ("weight", "bias", "bias_in_weight", "weight_layout"),
    "the weights of layers": ("weight", "weight_layout"),
    "the biases of layers": ("bias",),
    "the activations of layers": ("activation", "activation_parameters"),
}


CHANGES: Sequence[Callable[[Given], Iterator[Change]]] = (
    biases,
    outputs,
    activations,
    constants,
    dropouts,
    layouts,
    orders,
)
