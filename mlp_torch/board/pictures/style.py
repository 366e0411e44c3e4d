"""How the pictures look: their size, their colours, and text that every font can draw."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from manual.numbers import Array
from mlp_torch.colours import BLUE, COLOURS, MARKERS, VERMILION

WIDTH, DPI = 6.4, 75  # inches and pixels an inch: 480 pixels
LINE = 1.5  # points: a card leaves out pixels, and with them lines that are thinner than two
TITLE, LABEL, SMALL = 17, 14, 11  # points; SMALL is for what is read at full size alone
GREY = "#767676"
MISSING = "□"

__all__ = ["BLUE", "COLOURS", "GREY", "MARKERS", "VERMILION"]

# Below 0 vermilion, above 0 blue, as in the pictures of `mlp explain`; what is no number is grey.
SIGNED = LinearSegmentedColormap.from_list("signed", [VERMILION, "#ffffff", BLUE], N=255).with_extremes(
    bad="#cccccc"
)
RIGHT = LinearSegmentedColormap.from_list("right", ["#ffffff", BLUE])
WRONG = LinearSegmentedColormap.from_list("wrong", ["#ffffff", VERMILION])


def sheet(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of that many inches."""
    return Figure(figsize=(width, height), dpi=DPI)


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in the figure, in shares of its width and height."""
    axes = figure.add_axes((left, bottom, width, height))
    axes.spines[:].set_linewidth(LINE)
    return axes


@cache
def drawable() -> frozenset[int]:
    """The characters that the figures' font has."""
    return frozenset(FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def shown(text: object, most: int = 12) -> str:
    """A name as a picture has room for it, at most so many characters; a box for what the font lacks."""
    words = "".join(c if c.isprintable() and ord(c) in drawable() else MISSING for c in str(text))
    return words if len(words) <= most else words[: most - 1] + "…"


def span(values: Array) -> float:
    """The largest finite |value|; 1 where there is none but 0: what a scale around 0 reaches to."""
    size = np.abs(values[np.isfinite(values)]) if values.size else values
    largest = float(size.max()) if size.size else 0.0
    return largest or 1.0


def every(n: int, most: int) -> Sequence[int]:
    """At most so many of 0 … n − 1, evenly, from 0 on: the ticks that carry a label."""
    return range(0, n, max(1, -(-n // most)))
