"""The chain rule of the whole network as data: one row a factor, forward and then backward.

    y = f₃(w₃ · f₂(w₂ · f₁(w₁ · x + b₁)))                       the lecture's one long equation
    ∂L/∂w₁ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂f₂ ∂f₂/∂a₂ ∂a₂/∂f₁ ∂f₁/∂a₁ ∂a₁/∂w₁    the chain rule

`forward_stages` and `backward_stages` are these two lines; the lecture's a is z here, its f is a. Every
∂L/∂… that two rows read is the lecture's "already computed, re-use (propagate)!".
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from manual.activations import Activation
from manual.catalogue import LOSSES
from manual.catalogue.activations import prelu_slope_gradient
from manual.catalogue.layers import normalization_backward, normalization_forward
from manual.layers import Dropout, Linear
from manual.losses import Reduction
from manual.numbers import Array
from manual.recorded import text
from manual.structure.architecture import Architecture
from manual.structure.rows import Rows
from manual.structure.trace import Stage
from manual.training.recipe import PLAIN, Recipe, objective, penalty_gradient


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
    rows, a = Rows(), "x"
    write = rows.write
    for i in range(1, architecture.depth + 1):
        rows.layer = i
        row, normalization, drops = architecture.kinds(i, training)
        z = write(f"z{i}", "linear", f"z{i} = {a} W{i}ᵀ + b{i}", [a, f"W{i}", f"b{i}"], Linear.forward)
        if normalization != "none":
            z = normalization_forward(rows, normalization, z)
        reads = [z] if row.slope is None else [z, f"slope{i}"]
        a = write(f"a{i}", "activation", f"a{i} = {row.name}({', '.join(reads)})", reads, row.forward, row)
        if drops:
            a = write(f"h{i}", "dropout", f"h{i} = a{i} · mask{i}", [a, f"mask{i}"], Dropout.forward)
    minimized, options = LOSSES[loss], {"reduction": reduction}
    formula = f"{'weighted ' * weighted}{reduction} of {text.formula(minimized)}"
    reads, value = [a, "y", *["weights"] * weighted], minimized.value
    value = _weighted(value) if weighted else value
    write("loss", "loss", f"loss = {formula}, ŷ = {a}", reads, value, minimized, options=options)
    if recipe.penalized:
        symbols = [f"W{i}" for i in range(1, architecture.depth + 1)]
        formula = f"objective = loss + {recipe.formula}"
        write("objective", "penalty", formula, ["loss", *symbols], objective, options={"recipe": recipe})
    return rows.stages


def _weighted(f: Callable[..., Any]) -> Callable[..., Any]:
    """The loss's value or gradient as a function of what its row reads: ŷ, y and the weights."""

    @wraps(f)
    def taken(output: Array, y: Array, weights: Array, reduction: Reduction) -> Any:
        return f(output, y, reduction, weights)

    return taken


def backward_stages(
    architecture: Architecture,
    loss: str,
    reduction: Reduction,
    training: bool,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
) -> list[Stage]:
    """From the loss to x: each row multiplies what arrived from above by one local derivative."""
    rows = Rows(recipe)
    write = rows.write
    rows.layer = architecture.depth
    minimized = LOSSES[loss]
    formula = f"dloss = ∂loss/∂a{rows.layer}: {text.derivative(minimized)}"
    if weighted:
        formula += ", times w"
    if reduction == "mean":
        formula += f", over {'Σw' if weighted else 'N'}{'' if minimized.per_sample else '·K'}"
    reads, options = [f"a{rows.layer}", "y", *["weights"] * weighted], {"reduction": reduction}
    gradient = _weighted(minimized.gradient) if weighted else minimized.gradient
    delta = write("dloss", "loss_gradient", formula, reads, gradient, minimized, options=options)
    for i in range(architecture.depth, 0, -1):  # delta: ∂L/∂(what the layer gave to the next one)
        rows.layer = i
        row, normalization, drops = architecture.kinds(i, training)
        if drops:
            formula = f"da{i} = {delta} · mask{i}"
            delta = write(f"da{i}", "dropout_backward", formula, [delta, f"mask{i}"], Dropout.backward)
        delta = _activation_rows(rows, row, "z" if normalization == "none" else "n", delta)
        if normalization != "none":
            delta = normalization_backward(rows, normalization, delta)
        below = "x" if i == 1 else f"{'h' if architecture.kinds(i - 1, training)[2] else 'a'}{i - 1}"
        delta = _linear_rows(rows, delta, below)
    return rows.stages


def _activation_rows(rows: Rows, row: Activation, letter: str, delta: str) -> str:
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
    formula = f"d{z} = {delta} · f′({z}), f′ = {text.derivative(row)}"
    return rows.write(f"d{z}", "activation_backward", formula, reads, row.backward, row)


def _linear_rows(rows: Rows, delta: str, below: str) -> str:
    """z = a Wᵀ + b: dW, db, and what is propagated to the layer below."""
    i, write, penalty = rows.layer, rows.write, rows.recipe.formula
    weight, bias = f"layers.{i - 1}.weight", f"layers.{i - 1}.bias"
    formula, own = f"dW{i} = dz{i}ᵀ {below}", None if penalty else weight
    write(f"dW{i}", "linear_backward_weight", formula, [delta, below], Linear.backward_weight, parameter=own)
    if penalty:
        formula, reads = f"gW{i} = dW{i} + ∂({penalty})/∂W{i}", [f"dW{i}", f"W{i}"]
        more: dict[str, Any] = {"parameter": weight, "options": {"recipe": rows.recipe}}
        write(f"gW{i}", "penalty_gradient", formula, reads, penalty_gradient, **more)
    write(f"db{i}", "backward_bias", f"db{i} = Σ dz{i}", [delta], Linear.backward_bias, parameter=bias)
    formula = f"d{below} = dz{i} W{i}"
    return write(f"d{below}", "linear_backward_input", formula, [delta, f"W{i}"], Linear.backward_input)
