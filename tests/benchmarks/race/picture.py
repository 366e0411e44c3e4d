"""The table as a picture: a panel a problem, a bar a candidate, seconds on a log scale."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from race.candidates import CANDIDATES
from race.problems import PROBLEMS
from race.rounds import Measured, Results
from race.scores import floor, learned_less, middle
from race.table import number, plain

COLOURS = {"floor": "#9a9a9a", "ours": "#D55E00", "scan": "#0072B2", "trainer": "#56B4E9", "full": "#009E73"}
MEANING = {
    "ours": "this project",
    "scan": "JAX by hand",
    "trainer": "other trainers",
    "full": "full batch, to the same loss",
    "floor": "the matrix products alone",
}


def draw(results: Results, path: Path) -> None:
    """Write the figure; its format is the file name's ending."""
    figure = Figure(figsize=(11, 1.2 + 4.2 * ((len(results) + 1) // 2)), layout="constrained")
    panels = figure.subplots((len(results) + 1) // 2, min(2, len(results)), squeeze=False).ravel()
    for panel in panels[len(results) :]:
        panel.remove()
    for panel, (problem, measured) in zip(panels, results.items(), strict=False):
        bars(panel, measured, floor(measured))
        panel.set_title(f"{problem}: {PROBLEMS[problem].title}", fontsize=10)
    handles = [Patch(color=COLOURS[kind], label=label) for kind, label in MEANING.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    beside = path.with_name(f".part-{path.name}")
    figure.savefig(beside, dpi=120)
    beside.replace(path)


def bars(panel: Axes, measured: dict[str, Measured], base: str | None) -> None:
    """One bar a candidate, the fastest at the top; hatched: it learned less."""
    seconds = {
        name: middle(m, lambda run: run.seconds)
        for name, m in measured.items()
        if m.rounds and (CANDIDATES[name].kind != "floor" or name == base)
    }
    less = learned_less(measured)
    names = sorted(seconds, key=lambda name: seconds[name])
    drawn = panel.barh(
        range(len(names)),
        [seconds[n] for n in names],
        color=[COLOURS[CANDIDATES[n].kind] for n in names],
        hatch=["//" if n in less else "" for n in names],
    )
    panel.bar_label(drawn, [number(seconds[n]) for n in names], padding=3, fontsize=8)
    panel.set_yticks(range(len(names)), [plain(n) for n in names], fontsize=8)
    panel.invert_yaxis()
    panel.set_xscale("log")
    if names:
        panel.set_xlim(min(seconds.values()) / 2, max(seconds.values()) * 2)
    panel.set_xlabel("seconds a run, log scale", fontsize=8)
    panel.tick_params(axis="x", which="both", labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
