"""What a derivative differs by from its forward pass differentiated: nothing on fractions, 1e-50 on balls."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb

from manual import ACTIVATIONS, LOSSES, MLP
from manual.catalogue.activations import prelu_slope_gradient
from manual.chain import forward_stages
from manual.numbers import Array
from manual.structure.trace import run
from tests.duals import derivative, dual_over, entrywise, exact
from tests.problems import targets

BASES = {"fraction": Fraction, "arb": arb}
RATIONAL = ["identity", "relu", "leaky_relu", "prelu", "hardtanh"]
RATIONAL_LOSSES = ["half_squared_error", "mse", "l1", "smooth_l1", "hinge", "multi_margin", "huber"]
CLOSE = "1e-50"


def generic(shape: tuple[int, ...], seed: int, base: Any, low: int = -48, high: int = 48) -> Array:
    """Numbers (3k + 1) / 48 from −3 to 3: on both sides of every kink but softplus's, and on none."""
    k = np.random.default_rng([seed, *shape]).integers(low, high, shape)
    return exact(entrywise(lambda k: Fraction(3 * int(k) + 1, 48), k), base)


def differs(ours: Any, theirs: Any) -> str:
    """Where the two differ, or nothing: fractions must be equal, balls agree to 1e-50 for certain."""
    ours, theirs = np.asarray(ours, dtype=object), np.asarray(theirs, dtype=object)
    if ours.shape != theirs.shape:
        return f"shapes {ours.shape} and {theirs.shape}"
    for index in np.ndindex(ours.shape):
        a, b = ours[index], theirs[index]
        if isinstance(a, float | np.floating):
            return f"a float at {index}: {a!r}"
        same = a == b if isinstance(b, Fraction) else abs(arb(a) - b) < arb(CLOSE)
        if not same:
            return f"{a} is not {b} at {index}"
    return ""


def rows(table: Any, rational: list[str]) -> list[Any]:
    """Each row on arb, and on fractions where its formula is rational."""
    return [pytest.param(name, arb, id=f"{name}-arb") for name in table] + [
        pytest.param(name, Fraction, id=f"{name}-fraction") for name in rational
    ]


# ---- activations -----------------------------------------------------------------------------------


def activation_differs(name: str, base: Any) -> str:
    row, z, da = ACTIVATIONS[name], generic((4, 5), 1, base), generic((4, 5), 2, base)
    z[0, 0], z[1, 1] = exact(Fraction(64, 3), base)[()], exact(Fraction(-64, 3), base)[()]
    slope = [] if row.slope is None else [exact([Fraction(2, 7)], base)]

    def forward(z: Array, da: Array, *slope: Array) -> Any:
        return (da * row.forward(z, *slope)).sum()

    a = row.forward(z, *slope)
    found = differs(row.backward(da, z, a, *slope), derivative(forward, (z, da, *slope), 0))
    if slope and not found:
        return differs(prelu_slope_gradient(da, z), derivative(forward, (z, da, *slope), 2))
    return found


# ---- losses ----------------------------------------------------------------------------------------


def loss_differs(name: str, base: Any, reduction: Any = "mean", probabilities: bool = False) -> str:
    output = generic((5, 3), 3, base)
    y = targets(name, (5, 3), np.random.default_rng(0), float, probabilities)
    if np.issubdtype(y.dtype, np.floating):
        y = exact(y, base)

    def value(output: Array) -> Any:
        wanted = y if y.dtype != object else entrywise(dual_over(base), y)
        return LOSSES[name].value(output, wanted, reduction)

    assert isinstance(LOSSES[name].value(output, y, reduction), base)
    return differs(LOSSES[name].gradient(output, y, reduction), derivative(value, (output,), 0))


# ---- layers ----------------------------------------------------------------------------------------


def layer_differs(
    forward: Callable[..., Array], arguments: tuple[Array, ...], backward: Callable[[Array], tuple[Any, ...]]
) -> list[str]:
    """What of ∂(Σ d · forward)/∂argument, d generic, is not what `backward(d)` gives, in order."""
    d = generic(forward(*arguments).shape, 9, type(arguments[0].flat[0]))
    kind = dual_over(type(d.flat[0]))

    def total(*moved: Array) -> Any:
        return (entrywise(kind, d) * forward(*moved)).sum()

    found = [differs(g, derivative(total, arguments, i)) for i, g in enumerate(backward(d))]
    return [f for f in found if f]


def normalization_differs(layer: Any) -> list[str]:
    z, weight, bias = generic((5, 3), 1, arb), generic((3,), 2, arb), generic((3,), 3, arb)

    def backward(d: Array) -> tuple[Any, ...]:
        return layer.backward_input(d, z, weight), layer.backward_weight(d, z), layer.backward_bias(d)

    return layer_differs(layer.forward, (z, weight, bias), backward)


# ---- whole networks --------------------------------------------------------------------------------


def network_differs(base: Any, loss: str, training: bool = True, **options: Any) -> dict[str, str]:
    """The parameters (and x) whose gradient by hand is not the duals'."""
    model = MLP((2, 3, 2), seed=1, **options)
    model.training = training
    for seed, (name, value) in enumerate((model.parameters | model.buffers).items()):
        home = model.parameters if name in model.parameters else model.buffers
        home[name] = generic(value.shape, seed, base, low=1 if "var" in name else -12, high=12)
    x, y = generic((5, 2), 99, base, -16, 16), targets(loss, (5, 2), np.random.default_rng(0), float)
    if np.issubdtype(y.dtype, np.floating):
        y = exact(y, base)
    masks = model.draw_masks(5)
    trace = model.trace(x, y, loss, masks=masks)
    stages = forward_stages(model.architecture, loss, "mean", training)
    leaves = {**model.leaves(x, masks), "y": y}
    names = [n for n, v in leaves.items() if v.dtype == object]
    learned = [n for n in names if f"d{n}" in trace]
    assert len(learned) == len(model.parameters) + 1
    assert any(trace["dW1"].flat), "a gradient that is zero proves nothing"

    def forward(*moved: Array) -> Any:
        return run(stages, {**leaves, **dict(zip(names, moved, strict=True))}).loss

    arguments = tuple(leaves[n] for n in names)
    found = {n: differs(trace[f"d{n}"], derivative(forward, arguments, names.index(n))) for n in learned}
    return {n: f for n, f in found.items() if f}
