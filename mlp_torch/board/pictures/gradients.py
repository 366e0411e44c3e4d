"""The gradient check as a picture: a panel a parameter, by hand against autograd, and the errors below.

The axes of a panel are linear around 0 and logarithmic beyond (matplotlib's symlog): an entry that is a
thousandth of the largest is seen, and both signs are. Each panel has its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from manual.numbers import Array
from mlp_torch.board.pictures.style import (
    BLUE,
    GREY,
    LABEL,
    LINE,
    SMALL,
    TITLE,
    VERMILION,
    WIDTH,
    every,
    place,
    sheet,
)

ACROSS, PANELS = 4, 12  # panels in a row, and in all; beyond, the last one holds all the others
DRAWN = 4000  # entries of a panel: beyond, the furthest from y = x, the largest, and evenly drawn ones
SMALLEST, LARGEST = 1e-280, 1e300  # below and beyond matplotlib's limits give out
DECADES = 4.0  # that a panel shows on each side of 0
NAMED = 12  # parameters that are named below the errors
FLOOR, CEILING = 1e-5, 1e12  # errors below and above so much of their bound are drawn there
TOP, BOTTOM = 0.85, 2.5  # inches above and below the panels


@dataclass(frozen=True)
class Gradient:
    """One parameter's gradient by hand and by autograd, in one shape, and the errors of both.

    The errors are in units of their bound, entry by entry (`verify.certificate.shares`), or None where
    they could not be judged.
    """

    ours: Array
    theirs: Array
    our_errors: Array | None = None
    their_errors: Array | None = None

    @property
    def used(self) -> float:
        """The largest share of the bound that an engine uses; inf where nothing could be judged."""
        found = [_largest(e) for e in (self.our_errors, self.their_errors) if e is not None]
        return max(found, default=np.inf)


def _largest(errors: Array) -> float:
    return float(np.where(np.isnan(errors), np.inf, errors).max(initial=0))


def gradients(found: Mapping[str, Gradient], title: str) -> Figure:
    """The picture of these gradients, by the parameters' names in the order of layers.

    Up to 12 parameters have a panel each; of more, the 11 that come nearest to their bound have, and the
    last panel holds all the others. Every parameter has its place among the errors below.
    """
    panels = arrange(found)
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    side = WIDTH / across if across > 2 else 2.4
    high = TOP + side * down + BOTTOM
    figure = sheet(high)
    figure.text(0.5, 1 - 0.32 / high, verdict(found), ha="center", va="center", fontsize=TITLE)
    figure.text(0.5, 1 - 0.65 / high, title, ha="center", va="center", fontsize=LABEL)
    for at, (name, group) in enumerate(panels.items()):
        row, column = divmod(at, across)
        left = (WIDTH - side * across) / 2 + side * (column + 0.1)
        bottom = high - TOP - side * (row + 0.84)
        axes = place(figure, left / WIDTH, bottom / high, 0.8 * side / WIDTH, 0.66 * side / high)
        panel(axes, name, [found[n] for n in group])
    errors(place(figure, 0.14, 0.48 / high, 0.84, 1.6 / high), found)
    return figure


def arrange(found: Mapping[str, Gradient]) -> dict[str, list[str]]:
    """The parameters of each panel, by its title, in the order of the parameters."""
    if len(found) <= PANELS:
        return {name: [name] for name in found}
    nearest = sorted(found, key=lambda name: -found[name].used)[: PANELS - 1]
    others = [name for name in found if name not in nearest]
    return {name: [name] for name in found if name in nearest} | {f"{len(others)} others": others}


def verdict(found: Mapping[str, Gradient]) -> str:
    """What the picture shows, in words."""
    beyond = [name for name, g in found.items() if 1 < g.used < np.inf or _wrong(g)]
    if beyond:
        return f"Beyond the bound: {', '.join(beyond[:4])}{' …' if len(beyond) > 4 else ''}"
    unjudged = [name for name, g in found.items() if g.used == np.inf]
    if unjudged:
        return f"Not judged: {', '.join(unjudged[:4])}{' …' if len(unjudged) > 4 else ''}"
    return "Gradients: by hand (up), by autograd (across)"


def _wrong(gradient: Gradient) -> bool:
    """Whether an entry lies infinitely far beyond a bound that is known."""
    known = [e for e in (gradient.our_errors, gradient.their_errors) if e is not None]
    return any(bool(np.isposinf(e).any()) for e in known)


def panel(axes: Axes, name: str, group: Sequence[Gradient]) -> None:
    """The entries of some parameters, up: by hand, across: by autograd; those beyond the bound stand out."""
    theirs, ours, off = (np.concatenate(parts) for parts in zip(*map(_entries, group), strict=True))
    finite = (np.abs(theirs) < LARGEST) & (np.abs(ours) < LARGEST)
    theirs, ours, off = theirs[finite], ours[finite], off[finite]
    sizes = np.abs(np.concatenate([theirs, ours]))
    sizes = sizes[sizes > SMALLEST]
    reach = float(sizes.max()) if sizes.size else 1.0
    least = float(sizes.min()) if sizes.size else reach
    straight = min(max(reach * 10**-DECADES, least), reach / 10)
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("symlog", linthresh=straight)
    end = 1.6 * reach
    axes.plot([-end, end], [-end, end], color=GREY, linewidth=LINE)
    rows = _drawn(theirs, ours, off)
    for mask, colour, size, alpha in ((~off[rows], BLUE, 5, 0.6), (off[rows], VERMILION, 9, 1.0)):
        at = rows[mask]
        axes.plot(theirs[at], ours[at], "o", color=colour, ms=size, alpha=alpha, mew=0, rasterized=True)
    decade = 10.0 ** np.floor(np.log10(reach)) if sizes.size else 1.0
    axes.set(xlim=(-end, end), ylim=(-end, end))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([-decade, 0.0, decade])
        axis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"−{power(decade)}", "", power(decade)], fontsize=10)
    if axes.transAxes.inverted().transform(axes.transData.transform((decade, 0.0)))[0] > 0.8:
        below, _, above = axes.get_xticklabels()
        below.set_horizontalalignment("left")  # the edges of the panel are near
        above.set_horizontalalignment("right")
    axes.set_yticklabels([])
    axes.set_title(named(name), fontsize=TITLE, pad=3, color=VERMILION if off.any() else "black")
    lost = len(finite) - int(finite.sum())
    nothing = f"all below {power(SMALLEST)}" if ours.any() or theirs.any() else "all 0"
    said = f"{lost:,} not finite" if lost else "" if sizes.size else nothing
    axes.text(0.95, 0.07, said, ha="right", fontsize=SMALL, transform=axes.transAxes)


def _entries(gradient: Gradient) -> tuple[Array, Array, Array]:
    """(by autograd, by hand, whether an error of either is beyond its bound), flat."""
    ours = np.asarray(gradient.ours, dtype=np.float64).ravel()
    off = np.zeros(ours.size, dtype=bool)
    for share in (gradient.our_errors, gradient.their_errors):
        off |= False if share is None else np.ravel(share) > 1
    return np.asarray(gradient.theirs, dtype=np.float64).ravel(), ours, off


def _drawn(theirs: Array, ours: Array, off: Array) -> Array:
    """The entries that are drawn, so many that the picture is the same: see `DRAWN`."""
    if len(ours) <= DRAWN:
        return np.arange(len(ours))
    quarter = DRAWN // 4
    with np.errstate(over="ignore"):
        keys = (np.abs(ours - theirs), np.abs(theirs), off)
    ends = [np.argpartition(key, -quarter)[-quarter:] for key in keys]
    return np.unique(np.concatenate([*ends, np.arange(0, len(ours), -(-len(ours) // quarter))]))


def named(stage: str) -> str:
    """A stage's name, shorter: dγ1 for dgamma1."""
    return stage.replace("gamma", "γ").replace("beta", "β")


def power(value: float) -> str:
    """10⁻³ for .001."""
    exponent = round(float(np.log10(value)))
    if exponent == 0:
        return "1"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def errors(axes: Axes, found: Mapping[str, Gradient]) -> None:
    """For each parameter the share of the bound that the errors use, median to largest, both engines."""
    names = list(found)
    ours = {i: g.our_errors for i, g in enumerate(found.values()) if g.our_errors is not None}
    theirs = {i: g.their_errors for i, g in enumerate(found.values()) if g.their_errors is not None}
    top = 30.0
    for sides, offset, colour, marker, label in (
        (ours, -0.17, BLUE, "o", "by hand"),
        (theirs, 0.17, VERMILION, "s", "autograd"),
    ):
        at = np.array(list(sides)) + offset
        ends = np.array([_ends(e) for e in sides.values()]).reshape(-1, 2)
        axes.vlines(at, ends[:, 0], ends[:, 1], color=colour, linewidth=2.5)
        axes.plot(at, ends[:, 1], marker, color=colour, ms=7 if len(names) <= NAMED else 4, label=label)
        top = max(top, 10 * float(ends.max(initial=0)))
    for i in set(range(len(names))) - set(ours) - set(theirs):
        axes.text(i, 10 * FLOOR, "?", ha="center", fontsize=TITLE, color=GREY)
    axes.axhline(1, color="black", linewidth=2, linestyle="--")
    axes.set_yscale("log")
    ticks = every(len(names), NAMED)
    axes.set_xticks(ticks, [named(names[i]) for i in ticks], fontsize=LABEL if len(names) <= 8 else 9)
    axes.set(xlim=(-0.7, len(names) - 0.3), ylim=(FLOOR / 3, top))
    axes.set_yticks([FLOOR, 1e-3, 1.0], ["10⁻⁵", "10⁻³", "1"], fontsize=SMALL)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title("error / rounding bound", fontsize=LABEL, pad=5, loc="left")
    if ours or theirs:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.02, 0.955), fontsize=LABEL, ncols=2, frameon=False,
            handletextpad=0.1, columnspacing=0.8,
        )  # fmt: skip


def _ends(shares: Array) -> tuple[float, float]:
    """(median of those above 0, largest), from the floor to the ceiling of the picture."""
    entries = np.nan_to_num(np.ravel(shares).astype(np.float64), nan=CEILING, posinf=CEILING)
    above = entries[entries > 0]
    ends = np.array([np.median(above), above.max()]) if above.size else np.zeros(2)
    low, high = np.clip(ends, FLOOR, CEILING).tolist()
    return low, high
