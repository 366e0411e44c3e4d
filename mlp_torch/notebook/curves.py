"""The curves of a training run as a picture: a panel a quantity, training and validation in each."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlp_torch import html
from mlp_torch.colours import COLOURS

# One row a panel: its title, and its lines as `metrics.jsonl` calls them, training first.
PANELS = (
    ("loss", ("loss/train", "loss/validation")),
    ("accuracy", ("accuracy/train", "accuracy/validation")),
)
STYLES = {"train": (COLOURS[0], "-"), "validation": (COLOURS[1], "--")}
WIDE = 20.0  # a loss that falls by more than this factor stands on a logarithmic axis
SIZE = (4.0, 2.7)  # inches of a panel


def draw(rows: Sequence[Mapping[str, Any]], epochs: int, kept: int = 0) -> Figure:
    """One dict an epoch, as in `metrics.jsonl`; `kept` is the epoch of the weights that were kept."""
    known = {name for row in rows for name, value in row.items() if value is not None}
    panels = [(title, [n for n in names if n in known]) for title, names in PANELS]
    panels = [(title, names) for title, names in panels if names]
    figure = Figure(figsize=(SIZE[0] * max(len(panels), 1), SIZE[1]), dpi=120)
    for i, (title, names) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        for name in names:
            points = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
            colour, style = STYLES[name.partition("/")[2]]
            mark = "." if len(points) < 20 else ""
            axes.plot(
                *zip(*points, strict=True), style, marker=mark, color=colour, label=name.partition("/")[2]
            )
        values = [row[name] for row in rows for name in names if row.get(name) is not None]
        if title == "loss" and min(values) > 0 and max(values) > WIDE * min(values):
            axes.set_yscale("log")
        if title == "accuracy":
            axes.set_ylim(min(values) - 0.02, 1.01)
        axes.set(xlabel="epoch", title=title, xlim=(rows[0]["epoch"] - 1, epochs))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if kept:
            axes.axvline(kept, color="#555555", linewidth=1, linestyle=":", label=f"kept: {kept}")
        axes.legend(fontsize=8)
    wide = figure.get_figwidth()
    figure.subplots_adjust(0.55 / wide, 0.17, 1 - 0.1 / wide, 0.9)  # a layout engine takes twice as long
    return figure


def image(rows: Sequence[Mapping[str, Any]], epochs: int, kept: int = 0) -> str:
    """That picture for a notebook, HTML; nothing where no epoch has ended."""
    if not rows:
        return ""
    file = io.BytesIO()
    figure = draw(rows, epochs, kept)
    figure.savefig(file, format="png")
    last = ", ".join(f"{n} {v:.3g}" for n, v in rows[-1].items() if "/" in n and isinstance(v, float))
    return html.image(file.getvalue(), f"curves of {rows[-1]['epoch']} epochs; at the end {last}", 0.8)
