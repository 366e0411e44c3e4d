"""An explanation as a picture: values on the forward edges, gradients on the backward edges.

A small network is drawn unit by unit; a larger one layer by layer, with the norms of its arrays. Both
read the trace. Sign is told by colour and by line style, size by width; the entry's own path is black.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from manual.numbers import Array
from manual.trace import Trace
from mlp_torch.explain.chain import Explanation

# Okabe and Ito's blue and vermillion, which colour-blind readers can tell apart.
POSITIVE, NEGATIVE, ZERO, ENTRY = "#0072B2", "#D55E00", "#999999", "#000000"
WIDEST, DEEPEST = 6, 4  # units in a layer and layers of a network that is drawn unit by unit
LABELLED = 12  # edges between two layers that carry their number
FORWARD = ("linear", "batch_norm", "layer_norm", "batch_norm_evaluation", "activation", "dropout")
WIDTH = 8.0  # inches, at 100 dpi: readable at 800 px


def draw(explanation: Explanation) -> Figure:
    """The picture; of a batch, values and gradients are those of its first sample where it is small."""
    trace = explanation.traces[0]
    sizes = [trace["x"].shape[1]] + [trace[s.name].shape[1] for s in trace if s.kind == "linear"]
    small = max(sizes) <= WIDEST and len(sizes) <= DEEPEST + 1
    return units(explanation, sizes) if small else layers(explanation, len(sizes) - 1)


def _heading(figure: Figure, e: Explanation) -> None:
    figure.suptitle(
        f"∂L/∂{e.entry} = {e.manual:.5g} by hand, {e.autograd:.5g} by autograd: {e.row.verdict}\n{e.title}",
        fontsize=10,
        color="black" if e.holds else "#B00000",
    )


# ------------------------------------------------------------------ unit by unit


def units(e: Explanation, sizes: list[int]) -> Figure:
    """Two panels: forward, each unit's activation and the weights; backward, ∂L/∂z and ∂L/∂W."""
    trace = e.traces[0]
    depth = len(sizes) - 1
    figure = Figure(figsize=(WIDTH, 2 * max(2.4, 0.85 * max(sizes)) + 1.1), dpi=100, layout="constrained")
    forward, backward = figure.subplots(2, 1)
    names = ["x"] + [f"a{i}" for i in range(1, depth + 1)]
    nodes = [trace[name][0] for name in names]
    weights = [trace[f"W{i}"] for i in range(1, depth + 1)]
    of = " of the first sample" if len(trace["x"]) > 1 else ""
    _network(forward, nodes, weights, names, [f"W{i}" for i in range(1, depth + 1)], e, "->")
    forward.set_title(f"forward: activations{of} in the units, weights on the edges; L = {e.loss:.5g}")
    names = ["dx"] + [f"dz{i}" for i in range(1, depth + 1)]
    nodes = [trace[name][0] for name in names]
    weights = [trace[f"dW{i}"] for i in range(1, depth + 1)]
    _network(backward, nodes, weights, names, [f"dW{i}" for i in range(1, depth + 1)], e, "<-")
    backward.set_title(f"backward: ∂L/∂z{of} in the units, ∂L/∂W{' of the batch' if of else ''} on the edges")
    backward.legend(
        handles=_legend()[: 4 if e.symbol.startswith("W") else 3],
        loc="lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    for axes in (forward, backward):
        axes.title.set_fontsize(9)
    _heading(figure, e)
    return figure


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=POSITIVE, label="above 0"),
        Line2D([], [], color=NEGATIVE, ls="--", label="below 0"),
        Line2D([], [], color=ZERO, lw=0.7, label="0"),
        Line2D([], [], color=ENTRY, lw=2.5, label="the explained entry"),
    ]


def _network(
    axes: Axes,
    nodes: list[Array],
    edges: list[Array],
    names: list[str],
    edge_names: list[str],
    e: Explanation,
    arrow: str,
) -> None:
    tall = max(map(len, nodes))
    at = [[(2.0 * i, (len(v) - 1) / 2 - j) for j in range(len(v))] for i, v in enumerate(nodes)]
    for i, weight in enumerate(edges):
        largest = float(np.abs(weight).max()) or 1.0
        taken: list[Array] = []
        for j, k in np.ndindex(weight.shape):
            value = float(weight[j, k])
            own = e.symbol == f"W{i + 1}" and e.index == (j, k)
            colour = ENTRY if own else POSITIVE if value > 0 else NEGATIVE if value < 0 else ZERO
            axes.annotate(
                "",
                at[i + 1][j],
                at[i][k],
                arrowprops={
                    "arrowstyle": arrow,
                    "color": colour,
                    "lw": 2.5 if own else 0.5 + 1.7 * abs(value) / largest,
                    "ls": "-" if value >= 0 else "--",
                    "alpha": 1.0 if own else 0.8,
                    "shrinkA": 17,
                    "shrinkB": 17,
                },
            )
            if weight.size <= LABELLED or own:
                point = _free(np.array(at[i][k]), np.array(at[i + 1][j]), taken, tall)
                taken.append(point)
                style = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.85}
                axes.text(
                    point[0],
                    point[1],
                    _two(value),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=colour,
                    bbox=style,
                )
        axes.text(2 * i + 1, tall / 2 + 0.12, edge_names[i], ha="center", va="center", fontsize=9)
    for i, (values, name) in enumerate(zip(nodes, names, strict=True)):
        axes.text(2 * i, tall / 2 + 0.12, name, ha="center", va="center", fontsize=9)
        for j, value in enumerate(values):
            axes.plot(*at[i][j], "o", ms=31, mfc="white", mec="0.3", mew=1, zorder=3)
            size = 8 if len(_two(value)) < 7 else 6.5
            axes.text(*at[i][j], _two(value), ha="center", va="center", fontsize=size, zorder=4)
    axes.set(xlim=(-0.5, 2 * len(edges) + 0.5), ylim=(-tall / 2 - 0.2, tall / 2 + 0.3))
    axes.axis("off")


def _two(value: float) -> str:
    """Two digits; a zero has no sign."""
    return f"{value + 0.0:.2g}"


def _free(start: Array, end: Array, taken: list[Array], tall: int) -> Array:
    """The point of an edge that lies farthest from the labels placed so far, the middle if there are none."""
    points = [start + share * (end - start) for share in (0.5, *np.linspace(0.24, 0.76, 14))]
    scale = np.array([2.2, 9.0 / tall])  # a label is wider than it is high
    room = [min((float(np.linalg.norm((p - t) * scale)) for t in taken), default=9.0) for p in points]
    return points[int(np.argmax(np.minimum(room, 1.4)))]


# ------------------------------------------------------------------ layer by layer


def layers(e: Explanation, depth: int) -> Figure:
    """A row a layer, a box an array: shape and norm, forward arrows above, backward arrows below."""
    trace = e.traces[0]
    rows = [[s for s in trace if s.layer == i and s.kind in FORWARD] for i in range(depth, 0, -1)]
    figure = Figure(figsize=(WIDTH, 1.25 * depth + 1.3), dpi=100, layout="constrained")
    axes = figure.subplots()
    path = {factor.stage for factor in e.factors}
    gradient = _gradients(trace)
    for y, row in zip(range(depth, 0, -1), rows, strict=True):
        layer = row[0].layer
        boxes = [row[0].reads[0], *(s.name for s in row), *(["loss"] if row[0].layer == depth else [])]
        for x, name in enumerate(boxes):
            on_path = name == "loss" or gradient[f"d{name}"] in path
            _box(axes, x, y, name, trace, on_path, x == 0)
            if x == len(boxes) - 1:
                break
            down = gradient[f"d{name}"]
            _arrow(axes, x, y, 0.14, "->", _through(boxes[x + 1], trace), POSITIVE)
            _arrow(axes, x, y, -0.14, "<-", f"‖{down}‖ {_norm(trace[down])}", NEGATIVE, down in path)
        text = f"layer {layer}:  ‖dW{layer}‖ {_norm(trace[f'dW{layer}'])}"
        axes.text(-0.42, y + 0.43, text, fontsize=9, va="center")
    widest = max(len(row) + (row[0].layer == depth) for row in rows)
    axes.set(xlim=(-0.45, widest + 0.45), ylim=(0.5, depth + 0.65))
    axes.axis("off")
    handles = [
        Line2D([], [], color=POSITIVE, label="forward: what multiplies or maps"),
        Line2D([], [], color=NEGATIVE, ls="--", label="backward: norm of the gradient"),
        Line2D([], [], color=ENTRY, lw=2.5, label=f"on the way to {e.entry}"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    _heading(figure, e)
    return figure


def _gradients(trace: Trace) -> dict[str, str]:
    """The stage that holds ∂L/∂(array), by d + the array's name; the output's is dloss."""
    found = {s.name: s.name for s in trace if s.parameter is None}
    return found | {f"d{trace.stage('loss').reads[0]}": "dloss"}


def _through(name: str, trace: Trace) -> str:
    """What makes `name` of the array before it."""
    stage = trace.stage(name)
    if stage.kind == "linear":
        return f"· W{stage.layer}ᵀ + b{stage.layer}"
    return stage.row or stage.kind.replace("_evaluation", "").replace("_", " ")


def _norm(value: Array) -> str:
    return f"{float(np.linalg.norm(np.asarray(value, dtype=np.float64))):.3g}"


def _box(axes: Axes, x: int, y: int, name: str, trace: Trace, on_path: bool, first: bool) -> None:
    value = np.asarray(trace[name])
    text = f"{name}\n{value.item():.4g}" if value.size == 1 else f"{name}  {'×'.join(map(str, value.shape))}"
    if value.size > 1:
        text += f"\n‖{name}‖ {_norm(value)}"
    edge = {"ec": ENTRY if on_path else "0.6", "lw": 2 if on_path else 1, "ls": ":" if first else "-"}
    style = {"boxstyle": "round,pad=0.3", "fc": "white", **edge}
    axes.text(x, y, text, ha="center", va="center", fontsize=8, bbox=style, zorder=3)


def _arrow(
    axes: Axes, x: int, y: int, offset: float, style: str, label: str, colour: str, bold: bool = False
) -> None:
    line = {"arrowstyle": style, "color": ENTRY if bold else colour, "lw": 2 if bold else 1.2}
    line["ls"] = "-" if offset > 0 else "--"
    axes.annotate("", (x + 0.68, y + offset), (x + 0.32, y + offset), arrowprops=line)
    axes.text(x + 0.5, y + 2.1 * offset, label, ha="center", va="center", fontsize=8, color=colour)
