"""The chain rule of the whole network as data: one row a factor, forward and then backward.

    y = f₃(w₃ · f₂(w₂ · f₁(w₁ · x + b₁)))                       the lecture's one long equation
    ∂L/∂w₁ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂f₂ ∂f₂/∂a₂ ∂a₂/∂f₁ ∂f₁/∂a₁ ∂a₁/∂w₁    the chain rule

`forward_stages` and `backward_stages` are these two lines; the lecture's a is z here, its f is a. Every
∂L/∂… that two rows read is the lecture's "already computed, re-use (propagate)!".
"""

from collections.abc import Callable
from typing import Any

from manual.activations import Activation
from manual.catalogue import LOSSES
from manual.catalogue.activations import prelu_slope_gradient
from manual.catalogue.layers import BatchNorm, BatchNormEvaluation, LayerNorm
from manual.layers import Dropout, Linear
from manual.losses import Loss, Reduction
from manual.numbers import Array
from manual.structure.architecture import Architecture
from manual.structure.trace import Stage
from manual.training.recipe import PLAIN, Recipe

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


class _Rows:
    """Rows being written, layer by layer."""

    def __init__(self, recipe: Recipe = PLAIN) -> None:
        self.stages: list[Stage] = []
        self.layer, self.recipe = 0, recipe

    def write(
        self,
        name: str,
        kind: str,
        formula: str,
        reads: list[str],
        function: Callable[..., Any],
        row: Activation | Loss | None = None,
        **more: Any,
    ) -> str:
        """Add the row that computes `name`, and return the name."""
        if row is not None:
            more |= {"row": row.name, "constants": row.options}
        self.stages.append(Stage(name, self.layer, kind, formula, tuple(reads), function, **more))
        return name


def _kinds(architecture: Architecture, layer: int, training: bool) -> tuple[Activation, str, bool]:
    """The activation's row, the normalization and whether dropout acts, in one layer."""
    hidden = layer < architecture.depth
    normalization = architecture.normalization if hidden else "none"
    if normalization == "batch_norm" and not training:
        normalization = "batch_norm_evaluation"
    return architecture.row(layer), normalization, hidden and training and architecture.dropout > 0


def forward_stages(
    architecture: Architecture,
    loss: str,
    reduction: Reduction,
    training: bool,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
) -> list[Stage]:
    """From x to the loss: z = a Wᵀ + b, n = γ x̂ + β, a = f(n), h = a · mask, layer by layer.

    With `weighted` the loss reads weights (N,); with penalties the objective is one row more.
    """
    rows, a = _Rows(), "x"
    write = rows.write
    for i in range(1, architecture.depth + 1):
        rows.layer = i
        row, normalization, drops = _kinds(architecture, i, training)
        z = write(f"z{i}", "linear", f"z{i} = {a} W{i}ᵀ + b{i}", [a, f"W{i}", f"b{i}"], Linear.forward)
        if normalization in ("batch_norm", "layer_norm"):
            formula = f"n{i} = gamma{i} (z{i} − μ)/√(σ² + ε) + beta{i}"
            forward = (BatchNorm if normalization == "batch_norm" else LayerNorm).forward
            z = write(f"n{i}", normalization, formula, [z, f"gamma{i}", f"beta{i}"], forward)
        elif normalization == "batch_norm_evaluation":
            formula = f"n{i} = gamma{i} (z{i} − mean{i})/√(variance{i} + ε) + beta{i}"
            reads = [z, f"gamma{i}", f"beta{i}", f"mean{i}", f"variance{i}"]
            z = write(f"n{i}", normalization, formula, reads, BatchNormEvaluation.forward)
        reads = [z] if row.slope is None else [z, f"slope{i}"]
        a = write(f"a{i}", "activation", f"a{i} = {row.name}({', '.join(reads)})", reads, row.forward, row)
        if drops:
            a = write(f"h{i}", "dropout", f"h{i} = a{i} · mask{i}", [a, f"mask{i}"], Dropout.forward)
    minimized, options = LOSSES[loss], {"reduction": reduction}
    formula = f"{'weighted ' * weighted}{reduction} of {minimized.formula}{minimized.constants}"
    reads, (value, _) = [a, "y", *["weights"] * weighted], _loss_functions(minimized, weighted)
    write("loss", "loss", f"loss = {formula}, ŷ = {a}", reads, value, minimized, options=options)
    if recipe.penalized:
        symbols = [f"W{i}" for i in range(1, architecture.depth + 1)]
        formula = f"objective = loss + {_penalty(recipe)}"
        write("objective", "penalty", formula, ["loss", *symbols], objective, options={"recipe": recipe})
    return rows.stages


def _loss_functions(row: Loss, weighted: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Value and gradient as functions of what the rows read."""
    if not weighted:
        return row.value, row.gradient

    def value(output: Array, y: Array, weights: Array, reduction: Reduction) -> Any:
        return row.value(output, y, reduction, weights)

    def gradient(output: Array, y: Array, weights: Array, reduction: Reduction) -> Array:
        return row.gradient(output, y, reduction, weights)

    return value, gradient


def _penalty(recipe: Recipe) -> str:
    terms = {f"{recipe.l1:g} Σ|W|": recipe.l1, f"½ {recipe.l2:g} ΣW²": recipe.l2}
    return " + ".join(term for term, coefficient in terms.items() if coefficient)


def objective(loss: Any, *weights: Array, recipe: Recipe) -> Any:
    """loss + λ₁ Σ|W| + ½ λ₂ Σ W²."""
    for weight in weights:
        loss = loss + recipe.penalty(weight)[0]
    return loss


def penalty_gradient(gradient: Array, weight: Array, recipe: Recipe) -> Array:
    """∂(objective)/∂W = ∂loss/∂W + λ₁ sign W + λ₂ W."""
    return gradient + recipe.penalty(weight)[1]


def backward_stages(
    architecture: Architecture,
    loss: str,
    reduction: Reduction,
    training: bool,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
) -> list[Stage]:
    """From the loss to x: each row multiplies what arrived from above by one local derivative."""
    rows = _Rows(recipe)
    write = rows.write
    rows.layer = architecture.depth
    minimized = LOSSES[loss]
    formula = f"dloss = ∂loss/∂a{rows.layer}: {minimized.gradient_formula}{minimized.constants}"
    if weighted:
        formula += ", times w"
    if reduction == "mean":
        formula += f", over {'Σw' if weighted else 'N'}{'' if minimized.per_sample else '·K'}"
    reads, options = [f"a{rows.layer}", "y", *["weights"] * weighted], {"reduction": reduction}
    _, gradient = _loss_functions(minimized, weighted)
    delta = write("dloss", "loss_gradient", formula, reads, gradient, minimized, options=options)
    for i in range(architecture.depth, 0, -1):  # delta: ∂L/∂(what the layer gave to the next one)
        rows.layer = i
        row, normalization, drops = _kinds(architecture, i, training)
        if drops:
            formula = f"da{i} = {delta} · mask{i}"
            delta = write(f"da{i}", "dropout_backward", formula, [delta, f"mask{i}"], Dropout.backward)
        delta = _activation_rows(rows, row, "z" if normalization == "none" else "n", delta)
        if normalization != "none":
            delta = _normalization_rows(rows, normalization, delta)
        below = "x" if i == 1 else f"{'h' if _kinds(architecture, i - 1, training)[2] else 'a'}{i - 1}"
        delta = _linear_rows(rows, delta, below)
    return rows.stages


def _activation_rows(rows: _Rows, row: Activation, letter: str, delta: str) -> str:
    """a = f(z): dz = da · f′(z), or the product with the Jacobian; and the learned slope's gradient."""
    i, z, reads = rows.layer, f"{letter}{rows.layer}", [delta, f"{letter}{rows.layer}", f"a{rows.layer}"]
    if row.slope is not None:
        formula, parameter = f"dslope{i} = Σ {delta} · min(0, {z})", f"activations.{i - 1}.weight"
        function = prelu_slope_gradient
        rows.write(f"dslope{i}", "slope_gradient", formula, [delta, z], function, row, parameter=parameter)
        reads.append(f"slope{i}")
    if row.jacobian_product:
        formula = f"d{z} = a{i} ({delta} − Σ {delta} a{i})"
        return rows.write(f"d{z}", "jacobian_product", formula, reads, row.backward, row)
    formula = f"d{z} = {delta} · f′({z}), f′ = {row.derivative_formula}"
    return rows.write(f"d{z}", "activation_backward", formula, reads, row.backward, row)


def _normalization_rows(rows: _Rows, normalization: str, delta: str) -> str:
    """n = γ x̂ + β: dγ, dβ, and dz through x̂, whose mean and variance move too in training."""
    i = rows.layer
    evaluation = normalization == "batch_norm_evaluation"
    statistics = [f"mean{i}", f"variance{i}"] if evaluation else []
    layer: Any = {"layer_norm": LayerNorm, "batch_norm": BatchNorm}.get(normalization, BatchNormEvaluation)
    rows.write(
        f"dgamma{i}",
        f"{normalization}_backward_weight",
        f"dgamma{i} = Σ {delta} x̂{i}",
        [delta, f"z{i}", *statistics],
        layer.backward_weight,
        parameter=f"normalizations.{i - 1}.weight",
    )
    rows.write(
        f"dbeta{i}",
        "backward_bias",
        f"dbeta{i} = Σ {delta}",
        [delta],
        BatchNorm.backward_bias,
        parameter=f"normalizations.{i - 1}.bias",
    )
    if evaluation:
        formula = f"dz{i} = {delta} gamma{i} / √(variance{i} + ε)"
        reads = [delta, f"gamma{i}", f"variance{i}"]
    else:
        formula = f"dz{i} = (g − mean(g) − x̂ mean(g x̂)) / √(σ² + ε), g = {delta} gamma{i}"
        reads = [delta, f"z{i}", f"gamma{i}"]
    return rows.write(f"dz{i}", f"{normalization}_backward_input", formula, reads, layer.backward_input)


def _linear_rows(rows: _Rows, delta: str, below: str) -> str:
    """z = a Wᵀ + b: dW, db, and what is propagated to the layer below."""
    i = rows.layer
    rows.write(
        f"dW{i}",
        "linear_backward_weight",
        f"dW{i} = dz{i}ᵀ {below}",
        [delta, below],
        Linear.backward_weight,
        parameter=None if rows.recipe.penalized else f"layers.{i - 1}.weight",
    )
    if rows.recipe.penalized:
        rows.write(
            f"gW{i}",
            "penalty_gradient",
            f"gW{i} = dW{i} + ∂({_penalty(rows.recipe)})/∂W{i}",
            [f"dW{i}", f"W{i}"],
            penalty_gradient,
            parameter=f"layers.{i - 1}.weight",
            options={"recipe": rows.recipe},
        )
    rows.write(
        f"db{i}",
        "backward_bias",
        f"db{i} = Σ dz{i}",
        [delta],
        Linear.backward_bias,
        parameter=f"layers.{i - 1}.bias",
    )
    formula = f"d{below} = dz{i} W{i}"
    return rows.write(f"d{below}", "linear_backward_input", formula, [delta, f"W{i}"], Linear.backward_input)
