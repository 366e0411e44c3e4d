"""The samples that the network is furthest off at: as images, as rows of features, or beside y = x."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from manual.numbers import Array
from mlp_torch.board.pictures.images import Pixels
from mlp_torch.board.pictures.style import (
    BLUE,
    GREY,
    LABEL,
    LINE,
    SIGNED,
    SMALL,
    TITLE,
    VERMILION,
    place,
    sheet,
    shown,
)

ACROSS, DOWN = 4, 3  # images in the picture
ROWS, COLUMNS = 10, 20  # samples and features in the picture of a table
MARKED = 5  # numbers that are named in the picture of a regression


def worst(losses: Array, most: int) -> Array:
    """The samples of the largest loss (N,), the worst first; what is no number is worst of all."""
    key = np.where(np.isnan(losses), np.inf, losses)
    return np.argsort(-key, kind="stable")[:most]


@dataclass(frozen=True)
class Decisions:
    """What became of the samples: classes by index, truth and decision (N,), and the names of the classes.

    `p` (N,) is the probability of the class that was decided for, None where the loss has none. `losses`
    (N,) are the samples' own.
    """

    truth: Array
    decision: Array
    losses: Array
    labels: Sequence[object]
    p: Array | None = None

    def words(self, i: int, most: int = 9) -> tuple[str, str, bool]:
        """(truth → decision, its probability or else the loss, whether it is right) of a sample."""
        label, taken = (shown(self.labels[int(at[i])], most) for at in (self.truth, self.decision))
        said = f"loss {self.losses[i]:.2g}" if self.p is None else f"{100 * self.p[i]:.0f} %"
        return f"{label} → {taken}", said, bool(self.truth[i] == self.decision[i])

    def title(self, shown: Array) -> str:
        """How many are wrong at all, and of those that are shown."""
        wrong = self.truth != self.decision
        total = f"{int(wrong.sum()):,} of {len(wrong):,} wrong"
        return f"The largest losses; {total}" if wrong[shown].any() else f"{total}; nearest to it:"


def as_images(x: Array, pixels: Pixels, found: Decisions, scale: tuple[float, float] | None = None) -> Figure:
    """The twelve samples of the largest loss as images: truth → decision, and its probability.

    x (N, in) in the data's own units; `scale` is what white and black are (by default the least and the
    largest pixel shown). Vermilion: wrong; blue: right.
    """
    rows = worst(found.losses, ACROSS * DOWN)
    images = pixels.images(x[rows])
    low, high = scale or (float(images.min(initial=0)), float(images.max(initial=0)))
    figure = sheet(6.6)
    figure.suptitle(found.title(rows), fontsize=TITLE, y=0.985)
    for at, (i, image) in enumerate(zip(rows, images, strict=True)):
        down, across = divmod(at, ACROSS)
        axes = place(figure, 0.015 + 0.2475 * across, 0.68 - 0.315 * down, 0.2275, 0.2)
        axes.imshow(image, cmap="gray_r", vmin=low, vmax=high if high > low else low + 1)
        axes.set(xticks=[], yticks=[])
        decided, said, right = found.words(int(i))
        colour = BLUE if right else VERMILION
        axes.spines[:].set(color=colour, linewidth=2)
        short = len(decided) <= 7
        text = f"{decided}  {said}" if short else f"{decided}\n{said}"
        axes.set_xlabel(
            text,
            color=colour,
            fontsize=LABEL if short else SMALL,
            labelpad=3,
            weight="bold",
            parse_math=False,
        )
    return figure


def as_columns(x: Array, names: Sequence[str], found: Decisions) -> Figure:
    """The ten samples of the largest loss as rows of the network's inputs (N, in), standardised.

    Of more than twenty inputs those that are furthest from 0 in these rows. White is 0, the mean.
    """
    rows = worst(found.losses, ROWS)
    table = x[rows]
    reach = np.abs(np.nan_to_num(table)).max(axis=0, initial=0)
    columns = np.sort(np.argsort(-reach, kind="stable")[:COLUMNS])
    figure = sheet(6.4)
    axes = place(figure, 0.38, 0.28, 0.5, 0.6)
    image = axes.imshow(table[:, columns], cmap=SIGNED, vmin=-3, vmax=3, aspect="auto")
    part = "inputs" if len(columns) == x.shape[1] else f"{len(columns)} of {x.shape[1]:,} inputs"
    figure.suptitle(found.title(rows), fontsize=TITLE, y=0.98)
    axes.set_title(f"{part}, standardised", fontsize=SMALL)
    words = [found.words(int(i)) for i in rows]
    axes.set_yticks(
        range(len(rows)),
        [f"{decided}, {said}" for decided, said, _ in words],
        fontsize=SMALL,
        parse_math=False,
    )
    for tick, (_, _, right) in zip(axes.get_yticklabels(), words, strict=True):
        tick.set_color(BLUE if right else VERMILION)
    named = [shown(names[i], 17) for i in columns]
    axes.set_xticks(range(len(columns)), named, rotation=90, fontsize=SMALL, parse_math=False)
    bar = figure.colorbar(image, cax=place(figure, 0.9, 0.28, 0.03, 0.6), extend="both")
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def regression(truth: Array, found: Array, name: str, losses: Array | None = None) -> Figure:
    """Predictions (N,) against the truth (N,), with the line y = x; the largest losses are marked.

    `losses` (N,) are by default the distances from the line. The number at a mark is the sample's.
    """
    away = np.abs(found - truth) if losses is None else losses
    figure = sheet(6.4)
    axes = place(figure, 0.19, 0.14, 0.77, 0.75)
    every = np.concatenate([truth, found])
    finite = every[np.isfinite(every)]
    ends = [float(finite.min()), float(finite.max())] if finite.size else [0.0, 1.0]
    axes.plot(ends, ends, color=GREY, linewidth=LINE)
    axes.scatter(truth, found, s=22, alpha=0.6, color=BLUE, linewidths=0)
    rows = [i for i in worst(away, MARKED) if np.isfinite(truth[i]) and np.isfinite(found[i])]
    axes.scatter(truth[rows], found[rows], s=110, facecolors="none", edgecolors=VERMILION, linewidths=2)
    for i in rows:
        axes.annotate(
            str(i), (truth[i], found[i]), (7, 5), textcoords="offset points", color=VERMILION, fontsize=SMALL
        )
    axes.set_title(f"The {len(rows)} furthest off are marked" if rows else "No samples", fontsize=TITLE)
    axes.set_xlabel(f"{shown(name, 24)}, measured", fontsize=LABEL, parse_math=False)
    axes.set_ylabel(f"{shown(name, 24)}, predicted", fontsize=LABEL, parse_math=False)
    axes.tick_params(labelsize=SMALL)
    return figure
