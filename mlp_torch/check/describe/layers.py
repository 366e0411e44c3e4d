"""How a person describes their network: Layer, Dropout, Penalty, and parameters in any nesting by name."""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.architecture import choose
from mlp_torch.check.describe.activations import FORMS, are_constants
from mlp_torch.check.describe.names import activation as known
from mlp_torch.errors import UserError

LAYOUTS = ("in,out", "out,in")


@dataclass(frozen=True)
class Dropout:
    """The dropout that follows a layer's activation.

    p is the probability of dropping, `mask` has the orientation of the layer's output. scaled=True: the
    mask already holds 1/(1−p) and the forward pass is h·mask; False: a 0/1 mask, h·mask/(1−p).
    """

    p: float
    mask: Any
    scaled: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.p, float | int | np.number) or not 0 <= self.p < 1:
            raise UserError(f"Dropout(p={self.p!r}): the probability of dropping is at least 0 and below 1")


@dataclass(frozen=True)
class Layer:
    """One layer of the author's forward pass: a = activation(input · weight + bias), then dropout.

    `weight` and `bias` are the author's names in `parameters` (an index where parameters are a list).
    `bias_in_weight` says that the first or last row of the weight is the bias. `activation_parameters`:
    leaky_relu, elu and prelu `alpha`, selu `alpha` and `scale`; prelu's alpha may be a parameter's name,
    then its gradient is checked too. `weight_layout` ("in,out" or "out,in") settles a square weight.
    """

    weight: Any = None
    bias: Any = None
    activation: str = "identity"
    activation_parameters: Mapping[str, Any] = field(default_factory=dict)
    bias_in_weight: str | None = None
    dropout: Dropout | None = None
    weight_layout: str | None = None

    def __post_init__(self) -> None:
        for option, value, fits, shown in (
            ("activation_parameters", self.activation_parameters, are_constants(self.activation_parameters),
             "{'alpha': 0.01}"),
            ("dropout", self.dropout, self.dropout is None or isinstance(self.dropout, Dropout),
             "Dropout(p, mask)"),
            ("bias_in_weight", self.bias_in_weight, self.bias_in_weight in (None, "first", "last"),
             "'first' or 'last'"),
            ("weight_layout", self.weight_layout, self.weight_layout is None
                or (isinstance(self.weight_layout, str) and self.weight_layout.replace(" ", "") in LAYOUTS),
             "'in,out' or 'out,in'"),
        ):  # fmt: skip
            if not fits:
                raise UserError(f"Layer: {option}={value!r} is not understood; such as {option}={shown}")
        object.__setattr__(self, "activation", known(self.activation))
        try:
            choose("activation", self.activation, list(FORMS))
        except ValueError as error:
            raise UserError(f"Layer: {error}") from None
        if self.bias_in_weight and self.bias is not None:
            raise UserError(f"Layer: bias={self.bias!r} and bias_in_weight={self.bias_in_weight!r}: give one")


@dataclass(frozen=True)
class Penalty:
    """A penalty in the loss: coefficient · (½ if half) · Σθ² for l2, coefficient · Σ|θ| for l1.

    `over_samples` divides it by N; `on_biases` includes biases, also folded ones; `per_array` maps
    names to coefficients and replaces `coefficient` (then None), all others 0. `half` means nothing to l1.
    """

    coefficient: float | None = None
    half: bool = True
    over_samples: bool = False
    on_biases: bool = False
    per_array: Mapping[Any, float] | None = None

    def __post_init__(self) -> None:
        if self.coefficient is None and self.per_array is None:
            raise UserError("Penalty: give coefficient= or per_array=")
        if self.coefficient is not None and self.per_array is not None:
            raise UserError("Penalty: per_array= replaces coefficient=; give one of them")
        if self.coefficient is not None and not math.isfinite(self.coefficient):
            raise UserError(f"Penalty(coefficient={self.coefficient}): must be a finite number")

    def of(self, name: str, bias: bool) -> float:
        """The coefficient of the array `name`; `bias` says that it is one, or the folded part that is."""
        if self.per_array is not None:
            given = {str(key): value for key, value in self.per_array.items()}
            if name not in given or (bias and not self.on_biases and f"{name}" not in given):
                return 0.0
            return float(given[name])
        assert self.coefficient is not None
        return float(self.coefficient) if self.on_biases or not bias else 0.0


def flatten(tree: Any, prefix: str = "", what: str = "parameters") -> dict[str, Any]:
    """Arrays of any nesting of dict, list, tuple and pairs, by name: {"W": [a, b]} gives W.0 and W.1.

    A pair whose first member is text is a name with its array. None stays None. `what` is the argument's
    name, for the UserError where something in it is no array.
    """
    if isinstance(tree, str | bytes):
        raise UserError(f"{what}: {prefix or 'the whole'} is the text {tree[:20]!r}, no array")
    if tree is None or isinstance(tree, np.ndarray | float | int | np.generic):
        return {prefix or "0": tree}
    if isinstance(tree, Mapping):
        pairs: Iterable[tuple[Any, Any]] = tree.items()
    elif hasattr(tree, "detach"):
        return {prefix or "0": _numpy(tree)}
    elif isinstance(tree, Sequence) or hasattr(tree, "__iter__"):
        items = list(tree)
        if items and all(
            isinstance(i, tuple | list) and len(i) == 2 and isinstance(i[0], str) for i in items
        ):
            pairs = [(i[0], i[1]) for i in items]
        elif items and all(isinstance(i, int | float | np.number) and not isinstance(i, bool) for i in items):
            return {prefix or "0": np.asarray(items)}
        elif prefix and (table := _numbers(items)) is not None:
            return {prefix: table}
        else:
            pairs = list(enumerate(items))
    else:
        raise UserError(f"{what}: {prefix or 'the whole'} is a {type(tree).__name__}, no array")
    found: dict[str, Any] = {}
    for key, value in pairs:
        found |= flatten(value, f"{prefix}.{key}" if prefix else str(key), what)
    return found


def _numbers(items: list[Any]) -> Any:
    """A matrix that is written as lists of numbers, such as W.tolist(), or None."""
    rows = [i for i in items if isinstance(i, list | tuple)]
    if len(rows) < len(items) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for row in rows for v in row
    ):
        return None
    return np.asarray(rows) if len({len(row) for row in rows}) == 1 and rows[0] else None


def align(parameters: Mapping[str, Any], gradients: Mapping[str, Any]) -> dict[str, Any]:
    """The gradients under the parameters' names: equal names, or dW1, grad_W1, W1_grad …, or the same order.

    Raises UserError where a parameter's gradient cannot be told.
    """
    if set(parameters) & set(gradients):
        _no_strangers(parameters, [n for n in gradients if n not in parameters and gradients[n] is not None])
        return {name: gradients.get(name) for name in parameters}

    def bare(text: str) -> str:
        text = text.lower()
        for word in ("gradients", "gradient", "grads", "grad", "nabla", "delta"):
            text = text.replace(word, "")
        return text.strip("_. ")

    by_name = {bare(name): value for name, value in gradients.items()}
    renamed = {}
    taken = set()
    for name in parameters:
        low = bare(name)
        for candidate in (low, f"d{low}", f"d_{low}", f"g{low}", f"g_{low}"):
            if candidate in by_name:
                renamed[name] = by_name[candidate]
                taken.add(candidate)
                break
    if renamed and len(parameters) != len(gradients):
        _no_strangers(parameters, [n for n in gradients if bare(n) not in taken])
        return {name: renamed.get(name) for name in parameters}
    if len(renamed) == len(parameters):
        return renamed
    if len(parameters) == len(gradients):
        return dict(zip(parameters, gradients.values(), strict=True))
    raise UserError(
        f"gradients are named {', '.join(gradients)} and parameters {', '.join(parameters)}; "
        "give gradients under the parameters' names"
    )


def _no_strangers(parameters: Mapping[str, Any], left: Sequence[str]) -> None:
    """Raise UserError for gradients of no parameter; those of values on the way (dZ1, dA1) are let pass."""
    unknown = [n for n in left if not re.fullmatch(r"(d|grad|g)?_?[zahsox]\d*", n.lower())]
    if unknown:
        raise UserError(
            f"gradients: {', '.join(unknown)} is the name of no parameter; there are {', '.join(parameters)}"
        )


class Brain(np.ndarray[Any, Any]):
    """float32 numbers that were bfloat16, which NumPy does not have."""


def _numpy(tensor: Any) -> Any:
    held = tensor.detach().cpu()
    if str(held.dtype) == "torch.bfloat16":
        return held.float().numpy().view(Brain)
    return held.numpy()


def as_float(value: Any, name: str) -> Array:
    """A float64 copy; raises UserError where the array holds no real numbers."""
    try:
        array = np.asarray(_numpy(value) if hasattr(value, "detach") else value)
        if array.dtype.kind == "c":
            raise TypeError
        if array.dtype.kind not in "fiub":
            array = array.astype(np.float64)
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name}: is no array of real numbers") from None


def is_bias(name: str) -> bool:
    last = name.lower().rsplit(".", 1)
    return last[-1].startswith(("b", "theta0")) or (last[-1].isdigit() and last[0].startswith(("b",)))


def chains(weights: list[Array], biases: list[Array], x: Array) -> bool:
    """Some orientation lets every weight follow the one before, with biases of its outputs' size."""
    shapes = [w.shape if w.ndim == 2 else (w.size, 1) for w in weights]
    widths = set(x.shape) | {x.size, 1}
    for flips in itertools.product((False, True), repeat=min(len(shapes), 6)):
        turned = [s[::-1] if f else s for s, f in zip(shapes, flips, strict=False)]
        fits = turned[0][0] in widths and all(a[1] == b[0] for a, b in itertools.pairwise(turned))
        if fits and all(b.size in (1, s[1]) for b, s in zip(biases, turned, strict=True)):
            return True
    return False


def layers_in_order(values: Mapping[str, Array], activations: list[str], x: Array) -> list[Layer]:
    """Layers for `activations`, by the names (b…, bias…), or by the order that the shapes allow.

    Raises UserError where the number of arrays does not fit; `layers=` settles it.
    """
    names, depth = list(values), len(activations)
    if not depth:
        raise UserError("activations=[]: name one activation a layer")
    biases = [n for n in names if is_bias(n)]
    weights = [n for n in names if n not in biases]
    if len(weights) == depth and len(biases) in (0, depth):
        return [
            Layer(w, biases[i] if biases else None, a)
            for i, (w, a) in enumerate(zip(weights, activations, strict=True))
        ]
    if len(names) == depth:
        return [Layer(n, None, a) for n, a in zip(names, activations, strict=True)]
    if len(names) == 2 * depth:
        for w, b in (
            (names[0::2], names[1::2]),
            (names[:depth], names[depth:]),
            (names[1::2], names[0::2]),
            (names[depth:], names[:depth]),
        ):
            if chains([values[n] for n in w], [values[n] for n in b], x):
                return [Layer(n, m, a) for n, m, a in zip(w, b, activations, strict=True)]
    raise UserError(
        f"{depth} activations and the parameters {', '.join(names)} make no network in order; "
        "say layers=[Layer(…), …]"
    )
