"""The multi-layer perceptron: forward writes the trace, backward reads it from the end.

    y = f₃(w₃ · f₂(w₂ · f₁(w₁ · x + b₁)))                       the lecture's one long equation
    ∂L/∂w₁ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂f₂ ∂f₂/∂a₂ ∂a₂/∂f₁ ∂f₁/∂a₁ ∂a₁/∂w₁    the chain rule

`forward_stages` and `backward_stages` are these two lines, one row a factor; the lecture's a is z here,
its f is a. Every ∂L/∂… that two rows read is the lecture's "already computed, re-use (propagate)!".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from manual.activations import NEGATIVE_SLOPE, Activation, prelu_slope_gradient
from manual.architecture import Architecture, Counts, choose
from manual.layers import BatchNorm, BatchNormEvaluation, Dropout, LayerNorm, Linear
from manual.losses import LOSSES, Reduction
from manual.numbers import Array
from manual.trace import Stage, Trace, run

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


def _kinds(architecture: Architecture, layer: int, training: bool) -> tuple[Activation, str, bool]:
    """The activation's row, the normalization and whether dropout acts, in one layer."""
    hidden = layer < architecture.depth
    normalization = architecture.normalization if hidden else "none"
    if normalization == "batch_norm" and not training:
        normalization = "batch_norm_evaluation"
    return (
        architecture.row(layer),
        normalization,
        hidden and training and architecture.dropout > 0,
    )


def _row(row: Activation | None) -> dict[str, Any]:
    """What a stage records of its activation."""
    return {} if row is None else {"row": row.name, "constants": row.options}


def forward_stages(
    architecture: Architecture, loss: str, reduction: Reduction, training: bool
) -> list[Stage]:
    """From x to the loss: z = a Wᵀ + b, n = γ x̂ + β, a = f(n), h = a · mask, layer by layer."""
    stages: list[Stage] = []

    def write(
        name: str, kind: str, formula: str, reads: list[str], f: Any, row: Activation | None = None
    ) -> str:
        stages.append(Stage(name, layer, kind, formula, tuple(reads), f, **_row(row)))
        return name

    previous = "x"
    for layer in range(1, architecture.depth + 1):
        row, normalization, drops = _kinds(architecture, layer, training)
        i = layer
        z = write(
            f"z{i}",
            "linear",
            f"z{i} = {previous} W{i}ᵀ + b{i}",
            [previous, f"W{i}", f"b{i}"],
            Linear.forward,
        )
        if normalization in ("batch_norm", "layer_norm"):
            z = write(
                f"n{i}",
                normalization,
                f"n{i} = gamma{i} (z{i} − μ)/√(σ² + ε) + beta{i}",
                [z, f"gamma{i}", f"beta{i}"],
                (BatchNorm if normalization == "batch_norm" else LayerNorm).forward,
            )
        elif normalization == "batch_norm_evaluation":
            z = write(
                f"n{i}",
                normalization,
                f"n{i} = gamma{i} (z{i} − mean{i})/√(variance{i} + ε) + beta{i}",
                [z, f"gamma{i}", f"beta{i}", f"mean{i}", f"variance{i}"],
                BatchNormEvaluation.forward,
            )
        slope = [f"slope{i}"] if row.slope is not None else []
        formula = f"a{i} = {row.name}({', '.join([z, *slope])})"
        previous = write(f"a{i}", "activation", formula, [z, *slope], row.forward, row)
        if drops:
            previous = write(
                f"h{i}",
                "dropout",
                f"h{i} = a{i} · mask{i}",
                [previous, f"mask{i}"],
                Dropout.forward,
            )
    options = {"reduction": reduction}
    formula = f"loss = {reduction} of {LOSSES[loss].formula}, ŷ = {previous}"
    stages.append(
        Stage(
            "loss",
            layer,
            "loss",
            formula,
            (previous, "y"),
            LOSSES[loss].value,
            loss,
            options=options,
        )
    )
    return stages


def backward_stages(
    architecture: Architecture, loss: str, reduction: Reduction, training: bool
) -> list[Stage]:
    """From the loss to x: each row multiplies what arrived from above by one local derivative."""
    stages: list[Stage] = []

    def write(
        name: str,
        kind: str,
        formula: str,
        reads: list[str],
        f: Any,
        parameter: str | None = None,
        row: Activation | None = None,
    ) -> str:
        stages.append(Stage(name, layer, kind, formula, tuple(reads), f, parameter=parameter, **_row(row)))
        return name

    layer = architecture.depth
    formula = f"dloss = ∂loss/∂a{layer}: {LOSSES[loss].gradient_formula}"
    if reduction == "mean":
        formula += ", over N" if LOSSES[loss].per_sample else ", over N·K"
    stages.append(
        Stage(
            "dloss",
            layer,
            "loss_gradient",
            formula,
            (f"a{layer}", "y"),
            LOSSES[loss].gradient,
            loss,
            options={"reduction": reduction},
        )
    )
    delta = "dloss"  # ∂L/∂(what the layer gave to the next one)
    for layer in range(architecture.depth, 0, -1):
        row, normalization, drops = _kinds(architecture, layer, training)
        i = layer
        if drops:
            delta = write(
                f"da{i}",
                "dropout_backward",
                f"da{i} = {delta} · mask{i}",
                [delta, f"mask{i}"],
                Dropout.backward,
            )
        z = f"z{i}" if normalization == "none" else f"n{i}"
        slope = [f"slope{i}"] if row.slope is not None else []
        if slope:
            write(
                f"dslope{i}",
                "slope_gradient",
                f"dslope{i} = Σ {delta} · min(0, {z})",
                [delta, z],
                prelu_slope_gradient,
                f"activations.{i - 1}.weight",
                row,
            )
        formula = f"d{z} = {delta} · f′({z}), f′ = {row.derivative_formula}"
        kind = "jacobian_product" if row.jacobian_product else "activation_backward"
        if kind == "jacobian_product":
            formula = f"d{z} = a{i} ({delta} − Σ {delta} a{i})"
        delta = write(f"d{z}", kind, formula, [delta, z, f"a{i}", *slope], row.backward, row=row)
        if normalization != "none":
            weight, bias = f"normalizations.{i - 1}.weight", f"normalizations.{i - 1}.bias"
            batch = LayerNorm if normalization == "layer_norm" else BatchNorm
            statistics: list[str] = []
            layer_type: Any = batch
            if normalization == "batch_norm_evaluation":
                statistics, layer_type = [f"mean{i}", f"variance{i}"], BatchNormEvaluation
            write(
                f"dgamma{i}",
                f"{normalization}_backward_weight",
                f"dgamma{i} = Σ {delta} x̂{i}",
                [delta, f"z{i}", *statistics],
                layer_type.backward_weight,
                weight,
            )
            write(
                f"dbeta{i}",
                "backward_bias",
                f"dbeta{i} = Σ {delta}",
                [delta],
                batch.backward_bias,
                bias,
            )
            if statistics:
                formula = f"dz{i} = {delta} gamma{i} / √(variance{i} + ε)"
                reads = [delta, f"gamma{i}", f"variance{i}"]
            else:
                g = f"{delta} gamma{i}"
                formula = f"dz{i} = (g − mean(g) − x̂ mean(g x̂)) / √(σ² + ε), g = {g}"
                reads = [delta, f"z{i}", f"gamma{i}"]
            delta = write(
                f"dz{i}",
                f"{normalization}_backward_input",
                formula,
                reads,
                layer_type.backward_input,
            )
        below = "x" if i == 1 else ("h" if _kinds(architecture, i - 1, training)[2] else "a") + str(i - 1)
        write(
            f"dW{i}",
            "linear_backward_weight",
            f"dW{i} = dz{i}ᵀ {below}",
            [delta, below],
            Linear.backward_weight,
            f"layers.{i - 1}.weight",
        )
        write(
            f"db{i}",
            "backward_bias",
            f"db{i} = Σ dz{i}",
            [delta],
            Linear.backward_bias,
            f"layers.{i - 1}.bias",
        )
        delta = write(
            f"d{below}",
            "linear_backward_input",
            f"d{below} = dz{i} W{i}",
            [delta, f"W{i}"],
            Linear.backward_input,
        )
    return stages


class Parameters(dict[str, Array]):
    """A live dict of arrays: write into an array or assign an entry, and the network uses it.

    Assigning an unknown name raises KeyError, another shape ValueError; nothing broadcasts silently.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self)}")
        array = np.asarray(value)
        if array.shape != self[name].shape:
            raise ValueError(f"{name} has shape {self[name].shape}, not {array.shape}")
        super().__setitem__(name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copying and pickling start from all names at once: an empty dict would refuse each."""
        return Parameters, (dict(self),)


class MLP:
    """A fully connected network in NumPy, with the backward pass by hand.

    >>> model = MLP((3, 4, 2), activation="sigmoid", seed=0)
    >>> model.counts
    Counts(neurons=6, weights=20, parameters=26)

    `parameters` and `buffers` are named and shaped as in the torch module's `state_dict`; `training`
    switches dropout and batch statistics, as in torch. Every random number flows from `seed`: weights
    from the stream (seed, 0), dropout masks from (seed, 1).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        output_activation: str = "identity",
        dropout: float = 0.0,
        normalization: str | None = None,
        negative_slope: float | str = NEGATIVE_SLOPE,
        initialization: str = "torch",
        seed: int = 0,
        dtype: Any = np.float64,
    ) -> None:
        self.architecture = Architecture(
            tuple(sizes), activation, output_activation, dropout, normalization or "none", negative_slope
        )
        weights = np.random.default_rng([seed, 0])
        self.generator = np.random.default_rng([seed, 1])
        self.parameters = Parameters(self.architecture.initial_parameters(weights, initialization, dtype))
        self.buffers = Parameters(self.architecture.initial_buffers(dtype))
        self.training = True

    @property
    def counts(self) -> Counts:
        """Neurons, weights and parameters: 6, 20 and 26 for the lecture's 3-4-2 network."""
        return self.architecture.counts()

    @property
    def dtype(self) -> Any:
        return self.parameters["layers.0.weight"].dtype

    def stages(self, loss: str, reduction: Reduction = "mean") -> list[Stage]:
        """The chain rule of this network: every row of the forward and the backward pass."""
        choose("loss", loss, list(LOSSES))
        choose("reduction", reduction, ("mean", "sum"))
        arguments = (self.architecture, loss, reduction, self.training)
        return forward_stages(*arguments) + backward_stages(*arguments)

    def draw_masks(self, n: int) -> dict[str, Array]:
        """A fresh dropout mask (N, size) for each hidden layer, or none where dropout does not act."""
        if not (self.training and self.architecture.dropout > 0):
            return {}
        like = self.parameters["layers.0.weight"]
        return {
            f"mask{i}": Dropout.mask((n, size), self.architecture.dropout, like, self.generator)
            for i, size in enumerate(self.architecture.sizes[1:-1], start=1)
        }

    def leaves(self, x: Array, masks: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """What the chain rule starts from: x, the parameters by their symbols, the masks."""
        x = np.asarray(x)
        inputs = self.architecture.sizes[0]
        if x.ndim != 2 or x.shape[1] != inputs:
            raise ValueError(f"x has shape {x.shape}; this network takes (N, {inputs})")
        if self.architecture.normalization == "batch_norm" and self.training and len(x) < 2:
            raise ValueError("batch_norm needs at least 2 samples in a training batch, got 1")
        named = {symbol(name): value for name, value in (self.parameters | self.buffers).items()}
        return {"x": x, **named, **(self.draw_masks(len(x)) if masks is None else masks)}

    def trace(
        self,
        x: Array,
        y: Array,
        loss: str,
        *,
        reduction: Reduction = "mean",
        masks: Mapping[str, Array] | None = None,
    ) -> Trace:
        """The record of one forward and backward pass; of the network only the masks' generator moves.

        x (N, in), y as the loss takes it; `masks` gives the dropout masks instead of drawing them.
        Raises ValueError where shapes do not fit.
        """
        return run(self.stages(loss, reduction), {**self.leaves(x, masks), "y": np.asarray(y)})

    def loss_and_gradients(
        self,
        x: Array,
        y: Array,
        loss: str,
        *,
        reduction: Reduction = "mean",
        masks: Mapping[str, Array] | None = None,
    ) -> tuple[Any, dict[str, Array]]:
        """The loss and ∂L/∂parameter by name; in training, batch_norm's running statistics move on."""
        trace = self.trace(x, y, loss, reduction=reduction, masks=masks)
        self.update_buffers(trace)
        gradients = trace.gradients
        return trace.loss, {name: gradients[name] for name in self.parameters}

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation: no dropout, running statistics."""
        stages = forward_stages(self.architecture, "mse", "mean", training=False)[:-1]
        training, self.training = self.training, False
        try:
            return np.asarray(run(stages, self.leaves(x))[stages[-1].name])
        finally:
            self.training = training

    def update_buffers(self, trace: Trace, momentum: float = 0.1) -> None:
        """running ← (1 − momentum) running + momentum · batch statistic, as torch does."""
        if not self.training:
            return
        for i in range(self.architecture.depth - 1):
            if f"normalizations.{i}.running_mean" in self.buffers:
                for name, batch in zip(
                    ("running_mean", "running_var"),
                    BatchNorm.statistics(trace[f"z{i + 1}"]),
                    strict=True,
                ):
                    running = self.buffers[f"normalizations.{i}.{name}"]
                    running *= 1 - momentum
                    running += momentum * batch
