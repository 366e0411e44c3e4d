"""A small network unit by unit: values forward, gradients backward, and the entry's whole path in black."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from manual.numbers import Array
from mlp_torch.explanation.chain import Explanation
from mlp_torch.explanation.labels import place
from mlp_torch.explanation.look import DPI, ENTRY, KILLS, NEGATIVE, POSITIVE, WIDTH, ZERO, heading, lines

LABELLED = 12  # edges between two layers that all carry their number; of more, those of the path alone
# Inches: between two units, the columns' names, around the units; the legend, a title, a line of the heading.
ROW, TOP, AROUND, LEGEND, TITLE, LINE = 0.82, 0.3, 0.6, 0.4, 0.32, 0.19


@dataclass(frozen=True)
class Path:
    """What the entry needs: the units of each layer (0: the inputs), and its own edge, of a weight."""

    units: dict[int, tuple[int, ...]]
    own: tuple[int, int, int] | None

    def edge(self, layer: int, j: int, k: int) -> bool:
        """Whether W_layer[j,k] lies on it."""
        if self.own is not None and layer == self.own[0]:
            return self.own[1:] == (j, k)
        return j in self.units.get(layer, ()) and k in self.units.get(layer - 1, ())


def path(e: Explanation) -> Path:
    """From the loss down to the entry; where some units of a layer pass nothing on, only the others."""
    units: dict[int, tuple[int, ...]] = {}
    for factor in e.factors[:-1]:
        number = re.search(r"\d+$", factor.stage)
        if number is None:  # dloss
            continue
        passing = np.any(np.atleast_2d(factor.manual), axis=0)
        found = tuple(u for u, p in zip(factor.units, passing, strict=True) if p)
        units[int(number[0])] = found or factor.units
    if e.symbol.startswith("W"):
        layer = int(e.symbol[1:])
        return Path(units | {layer - 1: e.index[1:]}, (layer, e.index[0], e.index[1]))
    return Path(units, None)


def killed(e: Explanation) -> tuple[int, tuple[int, ...]] | None:
    """The column of the units that the smallest factor belongs to, and which; the last column is the loss."""
    if e.killer is None:
        return None
    stage, found = e.killer.stage, path(e)
    if stage == "dloss":
        return len([s for s in e.traces[0] if s.kind == "linear"]) + 1, (0,)
    column = int(re.sub(r"\D", "", stage)) - (stage.startswith("dW"))
    return column, found.units.get(column, e.index[:1])


def units(e: Explanation, sizes: list[int]) -> Figure:
    """Two panels: forward, each unit's activation and the weights; backward, ∂L/∂z and ∂L/∂W."""
    trace, depth = e.traces[0], len(sizes) - 1
    tall = ROW * (max(sizes) - 1) + TOP + AROUND
    height = LEGEND + 2 * (tall + TITLE) + LINE * (len(lines(e)) + 0.7)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    bottoms = (LEGEND, LEGEND + tall + TITLE)
    backward, forward = (figure.add_axes((0.01, y / height, 0.98, tall / height)) for y in bottoms)
    of = " of the first sample" if len(trace["x"]) > 1 else ""
    for axes, prefix, arrow in ((forward, "", "->"), (backward, "d", "<-")):
        names = [f"{prefix}x"] + [f"{'dz' if prefix else 'a'}{i}" for i in range(1, depth + 1)]
        edges = [f"{prefix}W{i}" for i in range(1, depth + 1)]
        nodes = [trace[name][0] for name in names]
        _network(axes, nodes, [trace[name] for name in edges], names, edges, e, arrow)
    forward.set_title(f"forward: activations{of} in the units, weights on the edges", fontsize=9)
    batch = " of the batch" if of else ""
    backward.set_title(f"backward: ∂L/∂z{of} in the units, ∂L/∂W{batch} on the edges", fontsize=9)
    handles = [
        Line2D([], [], color=POSITIVE, label="above 0"),
        Line2D([], [], color=NEGATIVE, ls="--", label="below 0"),
        Line2D([], [], color=ZERO, lw=0.7, label="0"),
        Line2D([], [], color=ENTRY, lw=2.5, label=f"the path from the loss to {e.entry}"),
    ]
    if e.killer is not None:
        handles.append(
            Line2D([], [], ls="", marker="s", ms=9, mfc="none", mec=KILLS, mew=2, label="kills it")
        )
    figure.legend(handles=handles, loc="lower center", ncols=5, fontsize=8, frameon=False)
    heading(figure, e, y=1 - 0.08 / height, va="top")
    return figure


def _network(
    axes: Axes,
    nodes: list[Array],
    edges: list[Array],
    names: list[str],
    edge_names: list[str],
    e: Explanation,
    arrow: str,
) -> None:
    """One panel, drawn in pixels."""
    box = axes.get_position()
    figure = axes.figure
    wide, high = box.width * WIDTH * DPI, box.height * figure.get_figheight() * DPI  # type: ignore[union-attr]  # a Figure, no SubFigure
    axes.set(xlim=(0, wide), ylim=(0, high))
    axes.axis("off")
    gap = (wide - 100) / (len(nodes) - 0.4)  # the loss stands nearer
    middle, name_row = (high - DPI * TOP) / 2, high - DPI * TOP / 2
    at = [
        [np.array([50 + gap * i, middle + DPI * ROW * ((len(v) - 1) / 2 - j)]) for j in range(len(v))]
        for i, v in enumerate(nodes)
    ]
    loss = np.array([50 + gap * (len(nodes) - 0.4), middle])
    on = path(e)
    for i, weight in enumerate(edges):
        _edges(axes, i + 1, weight, at[i], at[i + 1], on, arrow)
        axes.text(50 + gap * (i + 0.5), name_row, edge_names[i], ha="center", va="center", fontsize=9)
    for j, point in enumerate(at[-1]):
        own = j in on.units.get(len(edges), ())
        _line(axes, point, loss, arrow, ENTRY if own else ZERO, 2.5 if own else 0.7, "-")
    for i, (values, name) in enumerate(zip(nodes, names, strict=True)):
        axes.text(50 + gap * i, name_row, name, ha="center", va="center", fontsize=9)
        for j, value in enumerate(values):
            _unit(axes, at[i][j], two(value), j in on.units.get(i, ()))
    axes.text(loss[0], name_row, "loss" if arrow == "->" else "∂L/∂L", ha="center", va="center", fontsize=9)
    _unit(axes, loss, two(e.loss) if arrow == "->" else "1", True)
    column, which = killed(e) or (0, ())
    for j in which:
        point = loss if column == len(nodes) else at[column][j]
        axes.plot(*point, "s", ms=37, mfc="none", mec=KILLS, mew=2.5, zorder=7)


def _edges(
    axes: Axes, layer: int, weight: Array, left: list[Array], right: list[Array], on: Path, arrow: str
) -> None:
    """The edges between two layers, and the numbers on them."""
    largest = float(np.abs(weight).max()) or 1.0
    pairs = list(np.ndindex(weight.shape))
    own = [on.edge(layer, j, k) for j, k in pairs]
    shown, few = weight.size <= LABELLED, sum(own) <= LABELLED // 2
    texts = [
        two(float(weight[pair])) if (shown and weight[pair]) or (black and few) else None
        for pair, black in zip(pairs, own, strict=True)
    ]
    ends = np.array([[left[k], right[j]] for j, k in pairs])
    points = place(ends, texts, np.array([*left, *right]))
    for (j, k), black, text, point in zip(pairs, own, texts, points, strict=True):
        value = float(weight[j, k])
        colour = POSITIVE if value > 0 else NEGATIVE if value < 0 else ZERO
        width = 2.5 if black else 0.5 + 1.7 * abs(value) / largest
        _line(axes, left[k], right[j], arrow, ENTRY if black else colour, width, "-" if value >= 0 else "--")
        if text is None or point is None:
            continue
        style: dict[str, Any] = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.9}
        weight_of = "bold" if black else "normal"
        _text(axes, point, text, 8, 5 + black, color=colour, weight=weight_of, bbox=style)


def _line(axes: Axes, start: Array, end: Array, arrow: str, colour: str, width: float, style: str) -> None:
    black = colour == ENTRY
    props = {"arrowstyle": arrow, "color": colour, "lw": width, "ls": style, "alpha": 1.0 if black else 0.75}
    # over the others, and off the circles
    axes.annotate(
        "", tuple(end), tuple(start), arrowprops=props | {"shrinkA": 13, "shrinkB": 13}, zorder=2 + black
    )


def _unit(axes: Axes, point: Array, text: str, black: bool) -> None:
    edge: dict[str, Any] = {"mec": ENTRY, "mew": 2.5} if black else {"mec": "0.55", "mew": 1}
    axes.plot(*point, "o", ms=28, mfc="white", zorder=4, **edge)
    _text(axes, point, text, 8 if len(text) < 6 else 6.5 if len(text) < 7 else 6, 8)


def _text(axes: Axes, point: Array, text: str, size: float, above: int, **options: Any) -> None:
    axes.text(point[0], point[1], text, ha="center", va="center", fontsize=size, zorder=above, **options)


def two(value: float) -> str:
    """Two digits in at most seven letters: 5.1e-4 for 0.00051; a zero has no sign."""
    text = f"{value + 0.0:.2g}"
    if len(text.lstrip("-")) > 6 or "e" in text:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return text
