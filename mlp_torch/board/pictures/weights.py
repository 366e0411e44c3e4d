"""The first layer's weights: a tile a unit where the inputs are pixels, else a row a unit; one scale."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manual.numbers import Array
from mlp_torch.board.pictures.images import Pixels
from mlp_torch.board.pictures.style import LABEL, SIGNED, SMALL, TITLE, every, place, sheet, shown, span

TILES = 144  # units that are drawn as tiles
UNITS, INPUTS = 64, 40  # rows and columns of the heat map
NAMED_UNITS, NAMED_INPUTS = 16, 40  # of them that carry a name


def first_weights(
    w: Array, names: Sequence[str], pixels: Pixels | None = None, limit: float | None = None
) -> Figure:
    """W1 (units, in) in colours: vermilion below 0, white 0, blue above, up to `limit` (else the largest).

    Of more units than there is room for the first are drawn; of more than 40 inputs the heat map has
    those of the largest weights.
    """
    reach = span(w) if limit is None else limit
    low, tall = (0.03, 0.85) if pixels else (0.3, 0.58)
    figure = sheet(6.4)
    axes = place(figure, 0.03 if pixels else 0.13, low, 0.78 if pixels else 0.68, tall)
    drawn, said = _tiles(axes, w, pixels) if pixels else _heat(axes, w, names)
    image = axes.imshow(
        drawn,
        cmap=SIGNED,
        vmin=-reach,
        vmax=reach,
        interpolation="nearest",
        aspect="equal" if pixels else "auto",
    )
    figure.suptitle(said, fontsize=TITLE, y=0.97)
    bar = figure.colorbar(image, cax=place(figure, 0.84, low, 0.035, tall))
    bar.set_ticks([-reach, 0, reach], labels=[f"−{reach:.2g}", "0", f"{reach:.2g}"])
    bar.ax.tick_params(labelsize=LABEL)
    return figure


def _of(shown: int, all_: int, what: str) -> str:
    return f"{all_:,} {what}" if shown == all_ else f"{shown} of {all_:,} {what}"


def _tiles(axes: Axes, w: Array, pixels: Pixels) -> tuple[Array, str]:
    """The tiles row by row as one picture, with a pixel between them that holds no number."""
    tiles = pixels.images(w[:TILES])
    n, height, width = tiles.shape
    across = int(np.ceil(np.sqrt(n * height / width)))
    down = -(-n // across)
    picture = np.full((down * across, height + 1, width + 1), np.nan)
    picture[:n, :height, :width] = tiles
    rows = picture.reshape(down, across, height + 1, width + 1).swapaxes(1, 2)
    axes.set_axis_off()
    return rows.reshape(down * (height + 1), -1)[:-1, :-1], f"First layer: {_of(n, len(w), 'units')}"


def _heat(axes: Axes, w: Array, names: Sequence[str]) -> tuple[Array, str]:
    """A row a unit, a column an input."""
    largest = np.abs(np.nan_to_num(w)).max(axis=0, initial=0)
    columns = np.sort(np.argsort(-largest, kind="stable")[:INPUTS])
    n = min(len(w), UNITS)
    axes.set_xticks(
        range(len(columns)),
        [shown(names[i], 14) for i in columns],
        rotation=90,
        fontsize=LABEL if len(columns) <= 16 else 9,
        parse_math=False,
    )
    units = every(n, NAMED_UNITS)
    axes.set_yticks(units, [str(i + 1) for i in units], fontsize=SMALL)
    axes.set_ylabel("unit", fontsize=LABEL)
    said = [_of(n, len(w), "units"), _of(len(columns), w.shape[1], "inputs")]
    return w[:n, columns], f"First layer: {', '.join(said)}"
