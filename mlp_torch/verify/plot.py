"""The picture of a comparison: gradients on the line y = x, and both engines' errors under the bound."""

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manual.losses import Reduction
from manual.numbers import Array
from manual.recipe import PLAIN, Recipe
from manual.trace import Trace
from mlp_torch.errors import UserError
from mlp_torch.files import replace
from mlp_torch.model import MLP
from mlp_torch.steps import hand_written
from mlp_torch.trace import trace
from mlp_torch.verify.certificate import shares

# Okabe and Ito's colours, which colour-blind readers can tell apart.
MANUAL, AUTOGRAD = "#0072B2", "#D55E00"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^vDPX"


def draw(
    model: MLP,
    x: Array,
    y: Array,
    loss: str,
    reduction: Reduction = "mean",
    engine: str = "manual",
    weights: Array | None = None,
    recipe: Recipe = PLAIN,
) -> Figure:
    """Two panels for one batch: that hand-written step against autograd, and both errors under the bound."""
    by_hand = hand_written(engine, model, loss, recipe)
    theirs = trace(model, x, y, loss, reduction=reduction, weights=weights, recipe=recipe)
    masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
    ours = by_hand(x, y, reduction=reduction, masks=masks, weights=weights)
    figure = Figure(figsize=(10, 4.6), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    names = _scatter(left, ours, theirs)
    _errors(right, ours, theirs, names)
    a = model.architecture
    sizes = "-".join(map(str, a.sizes))
    figure.suptitle(f"{sizes}, {a.activation}, {loss}, {len(x)} samples, {ours['z1'].dtype}", fontsize=11)
    return figure


def _scatter(axes: Axes, ours: Trace, theirs: Trace) -> list[str]:
    """Every gradient entry of every parameter; the names of the parameters in the order of layers."""
    stages = sorted((s for s in ours if s.parameter), key=lambda s: (s.layer, s.name[1:]))
    largest = max(float(np.abs(theirs[s.name]).max()) for s in stages) or 1.0
    for i, stage in enumerate(stages):
        axes.scatter(
            np.ravel(theirs[stage.name]),
            np.ravel(ours[stage.name]),
            s=9,
            alpha=0.6,
            marker=MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            linewidths=0,
            label=stage.name,
            rasterized=True,
        )
    axes.plot([-largest, largest], [-largest, largest], color="0.5", lw=0.8, zorder=0)
    axes.set(
        xlabel="gradient by autograd",
        ylabel="gradient by hand",
        title="Each entry of the gradient, and the line y = x",
    )
    axes.set_aspect("equal")
    axes.legend(loc="upper left", fontsize=8, markerscale=1.6, ncols=1 + len(stages) // 9)
    return [s.name for s in stages]


def _errors(axes: Axes, ours: Trace, theirs: Trace, names: list[str]) -> None:
    """For each parameter: the share of the bound that the errors use, median to largest, both engines."""
    top = 4.0
    for offset, colour, marker, label, t in (
        (-0.17, MANUAL, "o", "by hand", ours),
        (0.17, AUTOGRAD, "s", "autograd", theirs),
    ):
        used = shares(t, names)
        for i, name in enumerate(names):
            entries = np.sort(np.minimum(used[name].ravel(), 1e16))
            top = max(top, 4 * float(entries[-1]))
            positive = entries[entries > 0]
            low = float(positive[len(positive) // 2]) if positive.size else 1e-6
            high = float(entries[-1]) if positive.size else 1e-6
            axes.plot([i + offset] * 2, [low, high], color=colour, lw=2)
            axes.plot(
                i + offset,
                high,
                marker,
                color=colour,
                ms=6,
                fillstyle="full" if positive.size else "none",
                label=label if i == 0 else None,
            )
    axes.axhline(1, color="0.2", lw=1, ls="--")
    axes.text(
        0.98,
        1.15,
        "the bound: above it, a proven fault",
        ha="right",
        fontsize=8,
        transform=axes.get_yaxis_transform(),
    )
    axes.set_yscale("log")
    axes.set(
        ylim=(1e-4, top),
        xticks=range(len(names)),
        xticklabels=names,
        ylabel="error / rounding bound",
        title="Error against the proven value (median to largest)",
    )
    axes.tick_params(axis="x", rotation=45 if len(names) > 8 else 0)
    axes.legend(loc="lower right", fontsize=8)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole; the suffix says the format. Raises UserError where that cannot be."""
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in ("png", "svg", "pdf"):
        raise UserError(f"--plot {path}: the name must end in .png, .svg or .pdf")
    content = io.BytesIO()
    figure.savefig(content, format=suffix)
    try:
        replace(path, content.getvalue())
    except OSError as error:
        raise UserError(f"--plot {path}: cannot be written ({error.strerror})") from None
