"""Dyadic problems: networks on which no operation rounds, so that only bit-equality is good enough.

*Lattice* problems: weights, inputs and targets are small integers; activations piecewise linear, losses
polynomial. *Sentinel* problems: every pre-activation is held in {0, ±1024}, where sigmoid, tanh, silu,
gelu and elu and their derivatives are dyadic; each unit follows one unit of the layer below, and dense
weights of both signs cancel over pairs of equal units. Each problem carries its bit ledger
(`ledger.py`); one whose ledger proves nothing is refused.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import manual
from manual.catalogue import LOSSES
from manual.losses import Reduction
from manual.numbers import Array
from manual.structure.architecture import Architecture
from manual.structure.trace import Trace
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.verify.bits import RefusedError
from mlp_torch.verify.kinds.activation.rows import DYADIC, LATTICE, SLOPE
from mlp_torch.verify.kinds.loss.entries import ROWS as ENTRIES
from mlp_torch.verify.kinds.loss.stages import FAMILIES
from mlp_torch.verify.ledger import Ledger, prove

DYADIC_LOSSES = {*ENTRIES, *FAMILIES}
POLYNOMIAL = ("half_squared_error", "mse", "l1", "smooth_l1", "hinge", "multi_margin")
WEIGHTS = (0.5, 1.5)  # of the samples, in turn: their mean is 1
COEFFICIENT = 0.25  # of the penalties


@dataclass(frozen=True)
class Problem:
    """A network, a batch and dropout masks on which no operation of either pass rounds."""

    model: manual.MLP
    x: Array
    y: Array
    loss: str
    reduction: Reduction
    masks: dict[str, Array]
    ledger: Ledger
    weights: Array | None = None
    recipe: Recipe = PLAIN

    def trace(self) -> Trace:
        """The manual trace."""
        return self.model.trace(self.x, self.y, self.loss, recipe=self.recipe, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """How a pass is asked for, beside x and y."""
        return {"reduction": self.reduction, "masks": self.masks, "weights": self.weights}


def problem(
    architecture: Architecture,
    loss: str,
    n: int,
    *,
    reduction: Reduction = "mean",
    dtype: Any,
    seed: int,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
) -> Problem:
    """A dyadic problem of this architecture, with about n samples.

    Samples weigh ½ and 3/2 in turn where they are `weighted`, and a penalty has the coefficient ¼.
    Dropout becomes p = ½, the slope of leaky_relu ¼; a mean over a number that is no power of two becomes
    a sum. Raises RefusedError where no row of the architecture or no number of bits allows a proof.
    """
    if architecture.normalization != "none":
        raise RefusedError(f"{architecture.normalization} divides by a square root")
    rows = {architecture.activation_of(layer) for layer in range(1, architecture.depth + 1)}
    for row in sorted(rows - set(DYADIC)):
        raise RefusedError(f"{row} has no dyadic values")
    if loss not in DYADIC_LOSSES:
        raise RefusedError(f"{loss} has no dyadic values")
    if architecture.dropout > 0:
        architecture = replace(architecture, dropout=0.5)
    if "leaky_relu" in rows:
        architecture = replace(architecture, negative_slope=SLOPE)
    k = architecture.sizes[-1]
    if loss == "multi_margin" and k & (k - 1):
        raise RefusedError(f"multi_margin divides by {k} classes, which is no power of two")
    n = 1 << (max(2, n).bit_length() - 1)
    if not LOSSES[loss].per_sample and k & (k - 1):
        reduction = "sum"
    lattice = rows <= set(LATTICE) and loss in POLYNOMIAL
    refusal: RefusedError | None = None
    for attempt, (build, settings) in enumerate(_LADDER[lattice]):
        rng = np.random.default_rng([seed, 7, attempt])
        try:
            raw = build(architecture, loss, n, rng, settings)
            return _finish(raw, loss, reduction, dtype, weighted, recipe)
        except RefusedError as error:
            refusal = error
    assert refusal is not None
    raise refusal


Raw = tuple[Architecture, dict[str, Array], Array, Array, dict[str, Array]]


def _finish(raw: Raw, loss: str, reduction: Reduction, dtype: Any, weighted: bool, recipe: Recipe) -> Problem:
    architecture, parameters, x, y, masks = raw
    model = manual.MLP(architecture.sizes, **architecture.options(), dtype=dtype)
    for name, value in parameters.items():
        model.parameters[name] = value.astype(dtype)
    if y.dtype.kind == "f":
        y = y.astype(dtype)
    masks = {name: mask.astype(dtype) for name, mask in masks.items()}
    x = x.astype(dtype)
    weights = np.resize(WEIGHTS, len(x)).astype(dtype) if weighted else None
    recipe = Recipe(COEFFICIENT * bool(recipe.l1), COEFFICIENT * bool(recipe.l2))
    made = Problem(model, x, y, loss, reduction, masks, Ledger(0), weights, recipe)
    return replace(made, ledger=prove(made.trace()))


def _slopes(architecture: Architecture) -> dict[str, Array]:
    names = [name for name in architecture.parameter_shapes() if name.startswith("activations")]
    return {name: np.array([SLOPE]) for name in names}


def _masks(architecture: Architecture, n: int, rng: np.random.Generator, paired: bool) -> dict[str, Array]:
    """0 or 2, p = ½; equal on the two units of a pair where they must stay equal."""
    if architecture.dropout == 0:
        return {}
    masks = {}
    for i, size in enumerate(architecture.sizes[1:-1], start=1):
        drawn = 2.0 * rng.integers(0, 2, (n, size))
        masks[f"mask{i}"] = drawn[:, _first_of_pair(size)] if paired else drawn
    return masks


def _targets(row: str, n: int, k: int, rng: np.random.Generator) -> Array:
    kind = LOSSES[row].target
    if kind == "label":
        return rng.integers(0, k, n)
    if kind == "sign":
        return rng.choice([-1.0, 1.0], (n, k))
    if kind == "binary":
        return rng.integers(0, 2, (n, k)).astype(float)
    return rng.integers(-3, 4, (n, k)).astype(float)


def _lattice(
    architecture: Architecture, loss: str, n: int, rng: np.random.Generator, settings: tuple[int, int, int]
) -> Raw:
    """Ternary weights with a few non-zeros a row, biases ±1, small integers in x.

    Before hardtanh weights and biases are ±¼: integers would leave f′ = 0 almost everywhere.
    """
    nonzeros, largest, shrink = settings
    n = max(2, n >> shrink)
    parameters = _slopes(architecture)
    for i, (fan_in, fan_out) in enumerate(zip(architecture.sizes, architecture.sizes[1:], strict=False)):
        weight, size = np.zeros((fan_out, fan_in)), 1.0
        if architecture.activation_of(i + 1) == "hardtanh":
            size = 0.25
        for j in range(fan_out):
            columns = rng.permutation(fan_in)[:nonzeros]
            weight[j, columns] = rng.choice([-1.0, 1.0], len(columns))
        for column in np.flatnonzero(~weight.any(axis=0)):  # no input without a say
            weight[rng.integers(fan_out), column] = rng.choice([-1.0, 1.0])
        parameters[f"layers.{i}.weight"] = size * weight
        parameters[f"layers.{i}.bias"] = size * rng.choice([-1.0, 1.0], fan_out)
    x = rng.integers(-largest, largest + 1, (n, architecture.sizes[0])).astype(float)
    y = _targets(loss, n, architecture.sizes[-1], rng)
    return architecture, parameters, x, y, _masks(architecture, n, rng, paired=False)


def _first_of_pair(size: int) -> Array:
    """Units 0, 0, 2, 2, …: each second unit repeats the first; the last of an odd number stands alone."""
    return np.minimum(np.arange(size) // 2 * 2, size - 1)


Levels = tuple[float, ...]


def _affine(levels: Levels, rng: np.random.Generator) -> tuple[float, float, Levels] | None:
    """w and b that take these levels into {0, ±1024}, or None."""
    if len(levels) == 2:
        w = 1024.0 / (levels[1] - levels[0]) * rng.choice([-1, 1])
        b = -w * levels[rng.integers(2)]
    elif len(levels) == 3 and levels[2] - levels[1] == levels[1] - levels[0]:
        w = 1024.0 / (levels[1] - levels[0]) * rng.choice([-1, 1])
        b = -w * levels[1]
    else:
        return None
    return w, b, tuple(sorted({w * level + b for level in levels}))


def _sentinel(
    architecture: Architecture, loss: str, n: int, rng: np.random.Generator, settings: tuple[int, float]
) -> Raw:
    """Every unit follows one unit below it; the other weights are ±α over pairs of equal units."""
    shrink, density = settings
    fan_in = architecture.sizes[0]
    candidates = 1 << 13
    x = (rng.random((candidates, fan_in)) < density).astype(float)[:, _first_of_pair(fan_in)]
    levels: list[Levels] = [(0.0, 1.0)] * fan_in
    parameters = _slopes(architecture)
    for layer in range(1, architecture.depth + 1):
        fan_in, fan_out = architecture.sizes[layer - 1], architecture.sizes[layer]
        last, row = layer == architecture.depth, architecture.activation_of(layer)
        free = last and loss in POLYNOMIAL and row in LATTICE
        weight, bias = np.zeros((fan_out, fan_in)), np.zeros(fan_out)
        below: list[Levels] = []
        sources = [j for j in range(fan_in) if len(levels[j]) > 1]
        if not sources:
            raise RefusedError(f"z{layer}: no unit below takes two values")
        for j in range(fan_out):
            if j % 2 and not last:  # the second of a pair
                weight[j], bias[j] = weight[j - 1], bias[j - 1]
                below.append(below[-1])
                continue
            for source in rng.permutation(sources):
                found = _affine(levels[source], rng)
                if found is not None:
                    break
            else:
                raise RefusedError(f"z{layer}: no unit below can be followed")
            w, bias[j], z_levels = found
            alpha = np.repeat(rng.choice([-1.0, 1.0], (fan_in + 1) // 2), 2)[:fan_in] * abs(w) / 8
            alpha[1::2] *= -1
            if fan_in % 2:
                alpha[-1] = 0
            weight[j] = alpha
            weight[j, source] += w
            if free:  # a linear output needs no sentinel: every weight counts
                weight[j] = rng.choice([-1.0, 1.0], fan_in) * abs(w) / 8
                bias[j] = abs(w)
            values = {DYADIC[row](z) for z in z_levels}
            if architecture.dropout > 0 and not last:
                values = {0.0} | {2 * v for v in values}
            below.append(tuple(sorted(values)))
        levels = below
        parameters[f"layers.{layer - 1}.weight"], parameters[f"layers.{layer - 1}.bias"] = weight, bias
    masks = _masks(architecture, candidates, rng, paired=True)
    y = _targets(loss, candidates, architecture.sizes[-1], rng)
    rows = np.arange(candidates)
    if loss in ("cross_entropy", "bce_with_logits"):
        output = _output(architecture, parameters, x, masks)
        largest = (output == output.max(axis=1, keepdims=True)).sum(axis=1)
        away = rows[largest == 1] if loss == "cross_entropy" else rows[(output != 0).all(axis=1)]
        if loss == "cross_entropy" or len(away) >= n:  # at a logit of 0 only bce's value is not dyadic
            rows = away
    n = min(max(2, n >> shrink), 1 << max(0, len(rows).bit_length() - 1))
    if len(rows) < 2:
        raise RefusedError("cross_entropy: no sample without a tie was found")
    rows = rows[:n]
    return architecture, parameters, x[rows], y[rows], {name: m[rows] for name, m in masks.items()}


def _output(
    architecture: Architecture, parameters: dict[str, Array], x: Array, masks: dict[str, Array]
) -> Array:
    model = manual.MLP(architecture.sizes, **architecture.options())
    for name, value in parameters.items():
        model.parameters[name] = value
    with np.errstate(all="ignore"):
        return np.asarray(
            model.trace(x, np.zeros(len(x), int), "cross_entropy", masks=masks)[f"a{architecture.depth}"]
        )


# What is tried, in order, until a ledger proves it: fewer non-zeros, smaller numbers, fewer samples.
_LADDER: dict[bool, list[tuple[Any, Any]]] = {
    True: [(_lattice, s) for s in [(4, 2, 0), (3, 2, 0), (2, 1, 0), (2, 1, 1), (2, 1, 2), (1, 1, 3)]],
    False: [
        (_sentinel, s)
        for s in [(0, 0.5), (0, 0.25), (0, 0.5), (0, 0.1), (0, 0.75), (1, 0.5), (2, 0.25), (3, 0.5)]
    ],
}
