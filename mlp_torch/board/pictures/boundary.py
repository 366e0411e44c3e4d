"""The decision of a network of two inputs, everywhere: regions by probability, with the samples on them.

Axes, limits and colours depend on the limits and classes that are given, not on the network: pictures of
several epochs can be laid on one another.
"""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from manual.numbers import Array
from mlp_torch.board.pictures.style import COLOURS, LABEL, MARKERS, SIGNED, SMALL, TITLE, place, sheet, shown

SIDE = 120  # points of the grid on a side
SAMPLES = 1000  # that are drawn
ACROSS = 4  # classes in a row of the legend
Limits = tuple[float, float, float, float]


def limits(x: Array, margin: float = 0.12) -> Limits:
    """(left, right, bottom, top) around the samples (N, 2), with a share of their range to spare."""
    low, high = x.min(axis=0).astype(float), x.max(axis=0).astype(float)
    spare = np.where(high > low, margin * (high - low), 1.0)
    (left, bottom), (right, top) = (low - spare).tolist(), (high + spare).tolist()
    return left, right, bottom, top


def grid(around: Limits, side: int = SIDE) -> Array:
    """The points (side², 2) of a grid, row by row from the bottom."""
    left, right, bottom, top = around
    across, up = np.meshgrid(np.linspace(left, right, side), np.linspace(bottom, top, side))
    return np.stack([across.ravel(), up.ravel()], axis=1)


def boundary(
    predict: Callable[[Array], Array],
    x: Array,
    truth: Array,
    around: Limits,
    names: Sequence[str],
    labels: Sequence[object] = (),
    values: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """What `predict` says on a grid, and the samples x (N, 2) with their truth (N,) on it.

    For classes (`labels`) `predict` gives (M, K) probabilities, or 1 for the class that is decided for;
    the truth are indices. Without labels it gives numbers (M,), and `values` are the ends of their scale
    (by default those of the truth). Of more than 1,000 samples the first are drawn.
    """
    found = np.asarray(predict(grid(around)), dtype=np.float64)
    x, truth = x[:SAMPLES], truth[:SAMPLES]
    figure = sheet(6.4)
    rows = -(-len(labels) // ACROSS) if len(labels) <= len(COLOURS) else 0
    axes = place(figure, 0.15, 0.13, 0.81, 0.78 - 0.055 * rows)
    if labels:
        _classes(axes, found, x, truth, around, labels)
    else:
        _numbers(figure, axes, found, x, truth, around, values)
    left, right, bottom, top = around
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="auto")
    axes.set_xlabel(shown(names[0], 24), fontsize=LABEL, parse_math=False)
    axes.set_ylabel(shown(names[1], 24), fontsize=LABEL, parse_math=False)
    figure.suptitle(title, fontsize=TITLE, y=0.985, parse_math=False)
    axes.tick_params(labelsize=SMALL)
    return figure


def _classes(axes: Axes, p: Array, x: Array, truth: Array, around: Limits, labels: Sequence[object]) -> None:
    """Σ pₖ colourₖ, faint; a line where the decision changes; the samples in the full colours."""
    colours = np.array([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(len(labels))])
    side = round(len(p) ** 0.5)
    faint = 1 - 0.4 * (1 - np.nan_to_num(p) @ colours)
    axes.imshow(
        np.clip(faint, 0, 1).reshape(side, side, 3), origin="lower", extent=around, interpolation="bilinear"
    )
    decision = p.argmax(axis=1).reshape(side, side)
    across, up = np.linspace(*around[:2], side), np.linspace(*around[2:], side)
    for k in range(1 if len(labels) == 2 else 0, len(labels)):
        others = np.delete(p, k, axis=1).max(axis=1).reshape(side, side)
        lead = p[:, k].reshape(side, side) - others
        if (decision == k).any() and (decision != k).any() and np.isfinite(lead).all():
            axes.contour(across, up, lead, [0.0], colors="black", linewidths=2, linestyles="-")
    size = float(np.clip(3000 / max(len(x), 1), 30, 150))
    for k, label in enumerate(labels):
        rows = truth == k
        if len(labels) <= len(COLOURS) or rows.any():
            marker = MARKERS[k % len(MARKERS)]
            axes.scatter(
                x[rows, 0], x[rows, 1], s=size, color=colours[k], marker=marker, label=shown(label),
                edgecolors="white", linewidths=0.6,
            )  # fmt: skip
    if len(labels) <= len(COLOURS):
        legend = axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=ACROSS, fontsize=LABEL, markerscale=1.4,
            frameon=False, handletextpad=0.1, columnspacing=1,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


def _numbers(
    figure: Figure,
    axes: Axes,
    found: Array,
    x: Array,
    truth: Array,
    around: Limits,
    values: tuple[float, float] | None,
) -> None:
    """The prediction as colour, and the samples in the colour of their truth: who stands out is off."""
    low, high = values or (float(truth.min()), float(truth.max()))
    high = high if high > low else low + 1
    side = round(found.size**0.5)
    image = axes.imshow(
        found.reshape(side, side), origin="lower", extent=around, cmap=SIGNED, vmin=low, vmax=high
    )
    axes.scatter(
        x[:, 0], x[:, 1], s=30, c=truth, cmap=SIGNED, vmin=low, vmax=high, edgecolors="black", linewidths=0.6
    )
    bar = figure.colorbar(image, ax=axes, fraction=0.06, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)
