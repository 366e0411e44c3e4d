"""What the pictures of an explanation share: colours, width, heading."""

import textwrap
from typing import Any

from matplotlib.figure import Figure

from mlp_torch.colours import BLACK, BLUE, PURPLE, VERMILION
from mlp_torch.explanation.chain import Explanation
from mlp_torch.explanation.text import killed

POSITIVE, NEGATIVE, ZERO, ENTRY, KILLS = BLUE, VERMILION, "#999999", BLACK, PURPLE
WIDTH, DPI = 8.0, 100  # inches and dots: readable at 800 px
LETTERS = 112  # of the heading that fit into a line


def heading(figure: Figure, e: Explanation, **place: Any) -> None:
    """The heading on top of the figure; red where something is wrong."""
    colour = "black" if e.holds else "#B00000"
    figure.suptitle("\n".join(lines(e)), fontsize=9.5, color=colour, **place)


def lines(e: Explanation) -> list[str]:
    """The entry with its verdict, which sample and weights, and what kills the gradient, if anything."""
    first = (
        f"∂L/∂{e.entry} = {e.manual + 0.0:.5g} by hand, {e.autograd + 0.0:.5g} by autograd: {e.row.verdict}"
    )
    return [first, *textwrap.wrap(e.title, LETTERS), *textwrap.wrap(killed(e), LETTERS)]
