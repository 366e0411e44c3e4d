"""An explanation as a picture: values on the forward edges, gradients on the backward edges.

A small network is drawn unit by unit; a larger one layer by layer, with the norms of its arrays. Both
read the trace. Sign is told by colour and by line style, size by width; the entry's own path is black.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from manual.numbers import Array
from manual.structure.trace import Trace
from mlp_torch.explanation.chain import Explanation
from mlp_torch.explanation.look import DPI, ENTRY, KILLS, NEGATIVE, POSITIVE, WIDTH, heading, lines
from mlp_torch.explanation.units import units

LOUD = {"color": KILLS, "weight": "bold"}
WIDEST, DEEPEST = 6, 4  # units in a layer and layers of a network that is drawn unit by unit
FORWARD = ("linear", "batch_norm", "layer_norm", "batch_norm_evaluation", "activation", "dropout")


def draw(explanation: Explanation) -> Figure:
    """The picture; of a batch, values and gradients are those of its first sample where it is small."""
    trace = explanation.traces[0]
    sizes = [trace["x"].shape[1]] + [trace[s.name].shape[1] for s in trace if s.kind == "linear"]
    small = max(sizes) <= WIDEST and len(sizes) <= DEEPEST + 1
    return units(explanation, sizes) if small else layers(explanation, len(sizes) - 1)


def layers(e: Explanation, depth: int) -> Figure:
    """A row a layer, a box an array: shape and norm, forward arrows above, backward arrows below."""
    trace = e.traces[0]
    rows = [[s for s in trace if s.layer == i and s.kind in FORWARD] for i in range(depth, 0, -1)]
    figure = Figure(figsize=(WIDTH, 1.25 * depth + 1.0 + 0.16 * len(lines(e))), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    path = {factor.stage for factor in e.factors}
    gradient = _gradients(trace)
    kills = e.killer.stage if e.killer is not None else ""
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
            colour = KILLS if down == kills else ENTRY if down in path else NEGATIVE
            _arrow(axes, x, y, -0.14, "<-", f"‖{down}‖ {_norm(trace[down])}", colour)
        text = f"layer {layer}:  ‖dW{layer}‖ {_norm(trace[f'dW{layer}'])}"
        own: dict[str, Any] = LOUD if kills == f"dW{layer}" else {}
        axes.text(-0.42, y + 0.43, text, fontsize=9, va="center", **own)
    widest = max(len(row) + (row[0].layer == depth) for row in rows)
    axes.set(xlim=(-0.45, widest + 0.45), ylim=(0.5, depth + 0.65))
    axes.axis("off")
    handles = [
        Line2D([], [], color=POSITIVE, label="forward: what multiplies or maps"),
        Line2D([], [], color=NEGATIVE, ls="--", label="backward: norm of the gradient"),
        Line2D([], [], color=ENTRY, lw=2.5, label=f"on the way to {e.entry}"),
    ]
    if kills:
        handles.append(Line2D([], [], color=KILLS, ls="--", lw=2.5, label="kills it"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    heading(figure, e)
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


def _arrow(axes: Axes, x: int, y: int, offset: float, style: str, label: str, colour: str) -> None:
    line = {"arrowstyle": style, "color": colour, "lw": 2 if colour in (ENTRY, KILLS) else 1.2}
    line["ls"] = "-" if offset > 0 else "--"
    axes.annotate("", (x + 0.68, y + offset), (x + 0.32, y + offset), arrowprops=line)
    own: dict[str, Any] = LOUD if colour == KILLS else {"color": colour}
    axes.text(x + 0.5, y + 2.1 * offset, label, ha="center", va="center", fontsize=8, **own)
