"""What a network is made of: sizes, rows of the tables, parameter names and shapes, initial values.

Both engines are built from one `Architecture`, so the same arguments and seed give the same network,
bit for bit. Parameter names and shapes are those of the torch module's `state_dict`.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

import numpy as np

from manual.activations import Activation
from manual.catalogue import ACTIVATIONS
from manual.catalogue.activations import NEGATIVE_SLOPE
from manual.numbers import Array
from manual.structure.table import Table, base

NORMALIZATIONS = ("none", "batch_norm", "layer_norm")
INITIALIZATIONS = ("torch", "xavier", "he")
Initialization = Literal["torch", "xavier", "he"]


class Counts(NamedTuple):
    """The lecture's three questions: how many neurons, weights (edges), learnable parameters?"""

    neurons: int
    weights: int
    parameters: int


# The name a parameter or buffer has inside the chain rule, by what follows the layer's number in the
# state_dict: layers.0.weight is W1.
SYMBOLS = {
    ("layers", "weight"): "W",
    ("layers", "bias"): "b",
    ("normalizations", "weight"): "gamma",
    ("normalizations", "bias"): "beta",
    ("normalizations", "running_mean"): "mean",
    ("normalizations", "running_var"): "variance",
    ("activations", "weight"): "slope",
}


def symbol(parameter: str) -> str:
    """`W1` for `layers.0.weight`: layers count from 1 in what people read."""
    part, index, kind = parameter.split(".")
    return f"{SYMBOLS[part, kind]}{int(index) + 1}"


def choose(kind: str, name: str, choices: Collection[str]) -> str:
    """`name` itself if it is one of `choices`; else a ValueError that names the nearest one, or what is wrong
    with its options.
    """
    if name in choices:
        return name
    if isinstance(choices, Table) and base(name) in choices:
        choices[name]  # raises
    near = get_close_matches(base(name), choices, n=1) or [c for c in choices if name and base(name) in c]
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(choices)}")


@dataclass(frozen=True)
class Architecture:
    """sizes (in, hidden …, out); hidden layers are Linear, normalization, activation, dropout.

    Raises ValueError for fewer than two sizes, a size below 1, an unknown row or p outside [0, 1).
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    output_activation: str = "identity"
    dropout: float = 0.0
    normalization: str = "none"
    negative_slope: float | str = NEGATIVE_SLOPE

    def __post_init__(self) -> None:
        if len(self.sizes) < 2:
            raise ValueError(f"sizes needs an input and an output size, got {self.sizes}")
        for size in self.sizes:
            if not isinstance(size, int | np.integer) or size < 1:
                raise ValueError(f"every layer needs at least 1 neuron, got sizes {self.sizes}")
        choose("activation", self.activation, list(ACTIVATIONS))
        choose("output activation", self.output_activation, list(ACTIVATIONS))
        choose("normalization", self.normalization, NORMALIZATIONS)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is the probability of dropping, 0 ≤ p < 1, got {self.dropout}")

    @property
    def depth(self) -> int:
        """The number of layers, which count from 1."""
        return len(self.sizes) - 1

    def activation_of(self, layer: int) -> str:
        return self.output_activation if layer == self.depth else self.activation

    def row(self, layer: int) -> Activation:
        """The activation of a layer, with this network's constants."""
        row = ACTIVATIONS[self.activation_of(layer)]
        if row.name != "leaky_relu" or self.negative_slope == NEGATIVE_SLOPE:
            return row
        return replace(row, options={"negative_slope": self.negative_slope})

    def kinds(self, layer: int, training: bool) -> tuple[Activation, str, bool]:
        """The activation's row, the normalization and whether dropout acts, in one layer."""
        hidden = layer < self.depth
        normalization = self.normalization if hidden else "none"
        if normalization == "batch_norm" and not training:
            normalization = "batch_norm_evaluation"
        return self.row(layer), normalization, hidden and training and self.dropout > 0

    def options(self) -> dict[str, Any]:
        """The keyword arguments, beside the sizes, of `manual.MLP` and `mlp_torch.MLP`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "sizes"}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape by name, in the order of the torch module's `state_dict`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            shapes[f"layers.{i}.weight"] = (fan_out, fan_in)
            shapes[f"layers.{i}.bias"] = (fan_out,)
        if self.normalization != "none":
            for i, size in enumerate(self.sizes[1:-1]):
                shapes[f"normalizations.{i}.weight"] = (size,)
                shapes[f"normalizations.{i}.bias"] = (size,)
        for layer in range(1, self.depth + 1):
            if self.row(layer).slope is not None:
                shapes[f"activations.{layer - 1}.weight"] = (1,)
        return shapes

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """The running statistics of batch_norm, which are averaged and not learned."""
        if self.normalization != "batch_norm":
            return {}
        return {
            f"normalizations.{i}.{name}": (size,)
            for i, size in enumerate(self.sizes[1:-1])
            for name in ("running_mean", "running_var")
        }

    def counts(self) -> Counts:
        """Neurons (inputs are none), weights (edges), and all learnable parameters with biases."""
        weights = sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))
        parameters = sum(math.prod(shape) for shape in self.parameter_shapes().values())
        return Counts(int(sum(self.sizes[1:])), int(weights), int(parameters))

    def initial_parameters(
        self, generator: np.random.Generator, initialization: str, dtype: Any
    ) -> dict[str, Array]:
        """Drawn weights and biases; γ = 1, β = 0, slope = ¼.

        `torch` is nn.Linear's default, weight and bias uniform in ±1/√in; `xavier` is uniform in
        ±√(6 / (in + out)) (Glorot and Bengio 2010) and `he` normal with variance 2 / in (He et al.
        2015), both with zero biases. Drawn in float64 and rounded once.
        """
        choose("initialization", initialization, INITIALIZATIONS)
        parameters: dict[str, Array] = {}
        for name, shape in self.parameter_shapes().items():
            part, index, kind = name.split(".")
            fan_in, fan_out = self.sizes[int(index)], self.sizes[int(index) + 1]
            if part == "layers" and initialization == "torch":
                bound = 1 / math.sqrt(fan_in)
                value = generator.uniform(-bound, bound, shape)
            elif part == "layers" and kind == "bias":
                value = np.zeros(shape)
            elif part == "layers" and initialization == "xavier":
                bound = math.sqrt(6 / (fan_in + fan_out))
                value = generator.uniform(-bound, bound, shape)
            elif part == "layers":
                value = generator.normal(0, math.sqrt(2 / fan_in), shape)
            elif part == "normalizations":
                value = np.full(shape, 1.0 if kind == "weight" else 0.0)
            else:
                value = np.full(shape, self.row(int(index) + 1).slope)
            parameters[name] = value.astype(dtype)
        return parameters

    def initial_buffers(self, dtype: Any) -> dict[str, Array]:
        """Running mean 0 and variance 1."""
        return {
            name: np.full(shape, float(name.endswith("var"))).astype(dtype)
            for name, shape in self.buffer_shapes().items()
        }
