"""How the cost grows, as a picture: a panel a quantity, a line an engine, microseconds a sample."""

from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from race.growth import QUANTITIES
from race.scaling import ENGINES, FLOOR, Growth

# Okabe and Ito's colours, and a marker each, so that lines are told apart without them.
STYLES = {
    FLOOR: ("#7f7f7f", "x", "--"),
    "compiled": ("#D55E00", "o", "-"),
    "manual": ("#0072B2", "s", "-"),
    "torch": ("#009E73", "^", "-"),
    "autograd": ("#CC79A7", "D", "-"),
}
LABELS = {FLOOR: "the matrix products alone"}
AXES = {
    "rows": "rows", "epochs": "epochs", "width": "width of both hidden layers", "depth": "hidden layers",
    "batch": "batch", "threads": "threads", "threads, wide": "threads",
}  # fmt: skip


def curves(growth: Growth, path: Path) -> None:
    """Write the figure; its format is the file name's ending."""
    names = [*growth.found, "files"]
    lines = (len(names) + 1) // 2
    figure = Figure(figsize=(11, 1 + 2.9 * lines), layout="constrained")
    panels = figure.subplots(lines, 2, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        if name == "files":
            of_files(panel, growth)
        else:
            of_quantity(panel, name, growth.found[name])
        panel.grid(True, which="major", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(which="both", labelsize=8)
    for panel in panels[len(names) :]:
        panel.remove()
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle=line, label=LABELS.get(name, name))
        for name, (colour, marker, line) in STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    beside = path.with_name(f".part-{path.name}")
    figure.savefig(beside, dpi=110)
    beside.replace(path)


# Where a log scale spans less than so many times, these parts of a decade have marks.
MARKS = {10: (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0), 1_000: (1.0, 2.0, 5.0), float("inf"): (1.0,)}


def decades(panel: Axes) -> None:
    """A log scale in plain numbers, with more marks the less it spans."""
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    marks = next(marks for most, marks in MARKS.items() if high < most * low)
    panel.yaxis.set_major_locator(LogLocator(subs=marks))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def of_quantity(panel: Axes, name: str, by_engine: dict[str, dict[int, list[float]]]) -> None:
    """Microseconds a sample against what grows, both on log scales; threads as they are counted."""
    for engine in ENGINES:
        points = sorted((value, median(times)) for value, times in by_engine[engine].items())
        colour, marker, line = STYLES[engine]
        panel.plot(*zip(*points, strict=True) if points else ([], []), color=colour, marker=marker,
                   linestyle=line, markersize=4.5, linewidth=1.4)  # fmt: skip
    decades(panel)
    values = sorted({value for times in by_engine.values() for value in times})
    if name.startswith("threads"):
        panel.set_xticks(values)
        panel.set_xlim(0.8, max(values) + 0.2)
    elif len(values) > 1:
        panel.set_xscale("log")
        panel.set_xticks(values, [f"{v:,}" for v in values], fontsize=8)
        panel.minorticks_off()
    panel.set_xlabel(AXES[name], fontsize=9)
    panel.set_ylabel("µs a sample", fontsize=9)
    panel.set_title(f"{name.partition(',')[0]}: {QUANTITIES[name].title}", fontsize=9)


def of_files(panel: Axes, growth: Growth) -> None:
    """The whole command's seconds against the rows of its file, and its peak of memory."""
    rows = [w.rows for w in growth.files]
    panel.plot(rows, [w.seconds for w in growth.files], color="#000000", marker="o", markersize=4.5)
    panel.set_xscale("log")
    for w in growth.files:
        first = w.rows == min(rows)
        panel.annotate(f"{w.peak:,.0f} MB", (w.rows, w.seconds), (-3, 6), textcoords="offset points",
                       ha="center" if first else "right", fontsize=7)  # fmt: skip
    panel.margins(x=0.12, y=0.2)
    decades(panel)
    if len(rows) > 1:
        panel.set_xticks(rows, [f"{n:,}" for n in rows], fontsize=8)
        panel.minorticks_off()
    panel.set_xlabel("rows of the file; the last is read from disk in every epoch", fontsize=9)
    panel.set_ylabel("s, all of mlp train", fontsize=9)
    panel.set_title("mlp train on a file, with the peak of its memory", fontsize=9)
