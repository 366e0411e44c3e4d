"""A second drawer of networks, which shares nothing with that of tests/mlp_torch/verify: the edges alone.

Layers of one and two units, one sample, constant columns, zeros, powers of two; each array of a network
has a scale of its own, from the least subnormal to what overflows. `case(number)` is one of them, the
same on every machine; `ordinary` ones keep their scales near 1, so that hardly anything overflows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from manual import ACTIVATIONS, LOSSES, MLP
from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from manual.structure.trace import Stage, Trace
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.model import to_torch
from mlp_torch.steps import STEPS, hand_written
from mlp_torch.trace import trace
from mlp_torch.verify.comparison import compare
from mlp_torch.verify.report import ComparisonReport

Draw = np.random.Generator


@dataclass(frozen=True)
class Case:
    """A network, a batch, what is minimized, and the step that computes it."""

    model: MLP
    x: Array
    y: Array
    loss: str
    step: str
    reduction: Any
    weights: Array | None
    recipe: Recipe

    def compared(self) -> ComparisonReport:
        """The verdict. Raises what `compare` raises."""
        options: dict[str, Any] = {"reduction": self.reduction, "weights": self.weights}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = to_torch(self.model)
            options |= {"loss": self.loss, "engine": self.step, "recipe": self.recipe}
            return compare(module, self.x, self.y, **options)

    def traces(self) -> tuple[Trace, Trace]:
        """The step's and autograd's, as `compare` makes them."""
        options: dict[str, Any] = {"reduction": self.reduction, "weights": self.weights}
        module = to_torch(self.model)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            theirs = trace(module, self.x, self.y, self.loss, recipe=self.recipe, **options)
        masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
        with np.errstate(all="ignore"):
            step = hand_written(self.step, module, self.loss, self.recipe)
            return step(self.x, self.y, masks=masks, **options), theirs


def _decades(rng: Draw, shape: tuple[int, ...], least: float, most: float) -> Array:
    """Every entry in a decade of its own."""
    with np.errstate(all="ignore"):
        return rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(least, most, shape)


def _one_large(rng: Draw, shape: tuple[int, ...], info: Any) -> Array:
    values = rng.normal(size=shape)
    values.flat[rng.integers(values.size)] = 10.0 ** rng.uniform(0, np.log10(float(info.max)))
    return values


def _log(number: Any) -> float:
    return float(np.log10(float(number)))


# How an array of a shape is filled, for a dtype's limits.
ORDINARY: dict[str, Callable[[Draw, tuple[int, ...], Any], Array]] = {
    "normal": lambda rng, shape, info: rng.normal(size=shape),
    "decades": lambda rng, shape, info: _decades(rng, shape, -3, 3),
    "integers": lambda rng, shape, info: rng.integers(-2, 3, shape).astype(float),
    "powers": lambda rng, shape, info: rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.integers(-6, 7, shape),
    "constant": lambda rng, shape, info: np.full(shape, rng.normal()),
    "equal rows": lambda rng, shape, info: np.broadcast_to(rng.normal(size=shape[-1:]), shape).copy(),
    "zeros": lambda rng, shape, info: np.zeros(shape),
}
EXTREME: dict[str, Callable[[Draw, tuple[int, ...], Any], Array]] = {
    **ORDINARY,
    "subnormal": lambda rng, shape, info: (
        rng.integers(-9, 10, shape).astype(float) * float(info.smallest_subnormal)
    ),
    "around the least normal": lambda rng, shape, info: float(info.tiny) * _decades(rng, shape, -4, 4),
    "all decades": lambda rng, shape, info: _decades(rng, shape, _log(info.tiny), _log(info.max)),
    "squares vanish": lambda rng, shape, info: _decades(rng, shape, _log(info.tiny) / 2, -9),
    "squares overflow": lambda rng, shape, info: _decades(rng, shape, _log(info.max) / 2 - 1, _log(info.max)),
    "large": lambda rng, shape, info: _decades(rng, shape, 3, 9),
    "one large": _one_large,
}


def _filled(rng: Draw, shape: tuple[int, ...], dtype: Any, ordinary: bool) -> Array:
    kinds = ORDINARY if ordinary or rng.random() < 0.6 else EXTREME
    with np.errstate(all="ignore"):
        values = kinds[str(rng.choice([*kinds]))](rng, shape, np.finfo(dtype)).astype(dtype)
    return np.nan_to_num(values)


def _targets(rng: Draw, loss: str, shape: tuple[int, int], dtype: Any, ordinary: bool) -> Array:
    target = LOSSES[loss].target
    if target == "label":
        if loss == "cross_entropy" and rng.random() < 0.3:
            rows = np.abs(_filled(rng, shape, dtype, True)) + np.asarray(0.125, dtype)
            return np.asarray(rows / rows.sum(axis=1, keepdims=True), dtype)
        return rng.integers(0, shape[1], shape[0])
    if target == "real":
        return _filled(rng, shape, dtype, ordinary)
    coin = rng.integers(0, 2, shape)
    return (coin if target == "binary" else 2 * coin - 1).astype(dtype)


def _weights(rng: Draw, n: int, dtype: Any, ordinary: bool) -> Array | None:
    if rng.random() < 0.6:
        return None
    values = np.abs(_filled(rng, (n,), dtype, ordinary))
    values[rng.integers(n)] = 1
    return values


def case(number: int, ordinary: bool = False) -> Case:
    """The case of that number."""
    rng = np.random.default_rng([4711, number, ordinary])
    names = [*STEPS]
    step, loss = names[number % len(names)], [*LOSSES][number // len(names) % len(LOSSES)]
    activation = [*ACTIVATIONS][number // len(names) // len(LOSSES) % len(ACTIVATIONS)]
    dtype = rng.choice(np.array([np.float32, np.float64]))
    widths = rng.choice([1, 2, 3, 5], int(rng.integers(2, 6)), p=[0.4, 0.35, 0.15, 0.1])
    sizes = [int(w) for w in widths]
    if loss == "multi_margin":  # one class has no margin
        sizes[-1] = max(2, sizes[-1])
    normalization = str(rng.choice(NORMALIZATIONS))
    n = int(rng.choice([1, 2, 3, 19], p=[0.25, 0.4, 0.25, 0.1]))
    if normalization == "batch_norm":
        n = max(2, n)
    rows: dict[str, Any] = {
        "activation": activation,
        "output_activation": str(rng.choice([*ACTIVATIONS])) if rng.random() < 0.3 else "identity",
        "normalization": normalization,
        "dropout": float(rng.choice([0.0, 0.0, 0.25, 0.9])),
    }
    if STEPS[step].unsupported(MLP(sizes, **rows).architecture, "mse") is not None:
        rows["normalization"] = "none"
    model = MLP(sizes, dtype=dtype, **rows)
    for values in model.parameters.values():
        values[...] = _filled(rng, values.shape, dtype, ordinary)
    for name, values in model.buffers.items():
        drawn = _filled(rng, values.shape, dtype, True)
        values[...] = np.abs(drawn) if name.endswith("var") else drawn
    model.training = step != "manual" or bool(rng.random() < 0.7)  # the fast steps only train
    return Case(
        model,
        _filled(rng, (n, sizes[0]), dtype, ordinary),
        _targets(rng, loss, (n, sizes[-1]), dtype, ordinary),
        loss,
        step,
        str(rng.choice(["mean", "sum"])),
        _weights(rng, n, dtype, ordinary),
        [PLAIN, PLAIN, Recipe(l1=0.1), Recipe(l2=1e-3), Recipe(l1=1e-3, l2=0.5)][rng.integers(5)],
    )


def _rough(z: Array, axis: int) -> float:
    """The size of z/σ where x̂ is a difference of two such: up to 300 |z|."""
    return float((np.abs(z).max() + 1) / np.sqrt(z.var(axis=axis) + 1e-5).min())


def _inside(stage: Stage, reads: list[Array]) -> Array | float:
    """The size of what cancels inside a function, of which its value and its inputs' part tell nothing."""
    first, second = np.abs(reads[0]), np.abs(reads[1]) if len(reads) > 1 else np.zeros(())
    # a class is a number, and says nothing of the size
    largest = (second.max() or 1.0) * (np.abs(reads[2]).max() if len(reads) > 2 else 1)
    if stage.kind == "activation":
        return 1 + first
    if stage.kind in ("activation_backward", "jacobian_product"):
        return first * (1 + second)
    if stage.kind == "loss":
        return (1 + first.max()) * (1 + second.max()) * (1 + largest)
    if stage.kind == "loss_gradient":
        return (1 + second.max()) * (1 + largest)
    axis = {"batch_norm": 0, "layer_norm": 1}.get(stage.kind.partition("_backward")[0])
    if axis is None:
        return 0.0
    if stage.kind in ("batch_norm", "layer_norm"):
        return second * _rough(reads[0], axis)
    dn = first.max() * len(first) * _rough(reads[1], axis)
    return dn if stage.kind.endswith("weight") else dn * 300 * np.abs(reads[2]).max()


def reach(stage: Stage, values: dict[str, Any]) -> Array:
    """The size of what each entry of a stage is made of: its rounding is some units of that, whatever it is.

    Measured: the value of the inputs' magnitudes, and how far the stage moves in float64, over δ, when all
    that it reads moves by up to δ of itself; and what cancels inside.
    """
    rng, delta = np.random.default_rng(0), 2.0**-20
    reads = [np.asarray(values[name]) for name in stage.reads]
    wide = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in reads]
    with np.errstate(all="ignore"):
        here = np.asarray(stage.function(*wide, **stage.options))
        size = np.fmax(np.abs(here), np.abs(stage.function(*map(np.abs, wide), **stage.options)))
        for _ in range(8):
            moved = [
                v * (1 + delta * rng.choice([-1, 1], v.shape)) if v.dtype.kind == "f" else v for v in wide
            ]
            size = np.maximum(size, np.abs(stage.function(*moved, **stage.options) - here) / delta)
        return np.asarray(size + _inside(stage, wide))


def planted(found: Trace, name: str, rng: Draw, ordinary: bool) -> Trace | None:
    """The trace with one entry of that stage off by a thousandth of its reach, or None where it cannot be."""
    value, stage = np.array(found[name]), found.stage(name)
    size = reach(stage, found.values)
    most = 1 + max(float(np.abs(found[read]).max()) for read in stage.reads)
    least = float(np.finfo(value.dtype).tiny) * 1e16  # what underflows may be multiplied by what is read
    if "_norm_backward" in stage.kind:  # by z, and once more by x̂
        most = most * most
    if not ordinary:  # where arrays span all decades, what is small may be underflow: of the largest, then
        size = np.full(size.shape, size.max())
    index = tuple(int(rng.integers(n)) for n in value.shape)
    fault = 1e-3 * float(size[index]) + least * most
    with np.errstate(all="ignore"):
        value[index] += fault * float(rng.choice([-1.0, 1.0]))
    if not np.isfinite(value[index]) or abs(float(value[index]) - float(found[name][index])) < fault / 2:
        return None
    values = {s.name: found[s.name] for s in found} | {name: value if value.ndim else value[()]}
    return Trace(found.stages, found.leaves, values)
