"""The curves: their families, what each is in words, and those that are measured for the board alone."""

from collections.abc import Mapping

import numpy as np

from manual.numbers import Array
from mlp_torch.board.moment import Moment
from mlp_torch.board.values import Value, scalar

STEP = "Step: the epoch, counted from 1; 0 is before the first."
FLAT = 1e-3  # of a derivative: below it next to nothing passes back

# One row a family, by the first part of the tag: what TensorBoard says of its curves.
FAMILIES: dict[str, str] = {
    "loss": "Mean loss of a sample: `train` of the epoch's batches, each before its update (with dropout, "
    "where there is some, and with penalties); `validation` of the samples held back, after the epoch.",
    "accuracy": "Share of samples decided rightly, after the epoch.",
    "test": "Of the weights that were kept, at their epoch, on the test samples.",
    "learning_rate": "Of the epoch's last update.",
    "gradient_norm": "‖∂L/∂θ‖ of one parameter in the epoch's last batch, after clipping.",
    "update_ratio": "‖Δθ‖ / ‖θ‖ of one parameter: how far the whole epoch moved it, by its norm before.",
    "throughput": "Training samples a second, by the clock: forward and backward passes and updates "
    "(with `--verify-every` its checks too), without evaluation and files.",
    "dead_units": "Share of a hidden layer's units through which next to nothing passes back: "
    f"|f′| < {FLAT:g} for every validation sample shown (relu: the unit gives 0 for all of them).",
    "error_over_bound": "Largest |by hand − by autograd| of a gradient's entries, by the bound that rounding "
    "sets (1 is the bound): at epoch 0 of the check before training, later of `--verify-every`.",
    "certificate": "The parameters' `error_over_bound` in short: the smallest, median and largest of them.",
    "parameter_gap": "Largest ‖manual − autograd‖ / ‖autograd‖ of one parameter in the epoch.",
    "gradient_gap": "Largest ‖manual − autograd‖ / ‖autograd‖ of one gradient in the epoch.",
}


def about(tag: str) -> str:
    """What a curve is and what its step is, in Markdown."""
    return f"{FAMILIES[tag.partition('/')[0]]} {STEP}"


def points(values: Mapping[str, float | None]) -> list[Value]:
    """One point of each curve; None is left out."""
    return [scalar(tag, value) for tag, value in values.items() if value is not None]


def curves(moment: Moment) -> Mapping[str, float | None]:
    """What the loop measured anyway."""
    return moment.scalars


# ‖θ − θ before‖ / ‖θ before‖
def update_ratios(moment: Moment) -> dict[str, float | None]:
    """How far the epoch moved each parameter; None where all of it was 0. Running statistics are none."""
    now, before = moment.parameters, moment.before
    return {f"update_ratio/{name}": _ratio(now[name], before[name]) for name in moment.gradients}


def _ratio(now: Array, before: Array) -> float | None:
    moved, norm = (float(a @ a) ** 0.5 for a in ((now - before).ravel(), before.ravel()))
    return moved / norm if norm > 0 else None


def dead_units(moment: Moment) -> dict[str, float | None]:
    """Share of each hidden layer's units whose derivative is next to 0 for every sample shown."""
    found: dict[str, float | None] = {}
    for layer in range(1, moment.architecture.depth):
        row, stage = moment.architecture.row(layer), moment.forward.stage(f"a{layer}")
        if row.derivative is not None:
            z, *slope = (moment.forward[name] for name in stage.reads)
            passed = row.derivative(z, moment.forward[stage.name], *slope, **row.options)
            found[f"dead_units/layers.{layer - 1}"] = float((np.abs(passed) < FLAT).all(axis=0).mean())
    return found


def first_margins(moment: Moment) -> dict[str, float | None]:
    """The check before training: each gradient's error by its bound."""
    assert moment.report is not None
    return margins({name: row.ratio for name, row in moment.report.parameters.items()})


def margins(ratios: Mapping[str, float]) -> dict[str, float | None]:
    """`error_over_bound` of each parameter, and in short as a band."""
    finite = [ratio for ratio in ratios.values() if np.isfinite(ratio)]
    found: dict[str, float | None] = {
        f"error_over_bound/{name}": None if np.isnan(ratio) else ratio  # behind a row without a truth
        for name, ratio in ratios.items()
    }
    if finite:
        found["certificate/smallest"] = min(finite)
        found["certificate/median"] = float(np.median(finite))
        found["certificate/largest"] = max(finite)
    return found
