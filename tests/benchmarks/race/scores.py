"""What the rounds say: medians, medians of ratios within a round, who is fastest, who learned less."""

from collections.abc import Callable
from statistics import median

from race.candidates import CANDIDATES, Candidate
from race.rounds import Measured, Run

# How far above the others' loss a candidate may end. With the same weights and order it walks the same
# path but for rounding; with an order of its own it ends where another seed would.
SAME_PATH, OWN_PATH = 0.05, 0.25


def middle(m: Measured, value: Callable[[Run], float]) -> float:
    """The median over the warm rounds."""
    return median(value(run) for run in m.rounds.values())


def ratio(a: Measured, b: Measured) -> float:
    """a's seconds over b's: the median of the ratios in the rounds that both ran."""
    return median(a.rounds[r].seconds / b.rounds[r].seconds for r in a.rounds.keys() & b.rounds.keys())


def fastest(measured: dict[str, Measured], of: Callable[[Candidate], bool]) -> str | None:
    """The candidate with the least median among those; one that learned less is no result."""
    less = learned_less(measured)
    seconds = {
        name: middle(m, lambda run: run.seconds)
        for name, m in measured.items()
        if m.rounds and of(CANDIDATES[name]) and name not in less
    }
    return min(seconds, key=lambda name: seconds[name], default=None)


def floor(measured: dict[str, Measured]) -> str | None:
    """The fastest way to the matrix products alone."""
    return fastest(measured, lambda row: row.kind == "floor")


def learned_less(measured: dict[str, Measured]) -> dict[str, float]:
    """Whose loss ends too far above the middle one of those on the same path, and by what factor.

    The median over the rounds; the middle of a round is that of all who took its weights and order.
    """
    losses = {
        name: {r: run.loss for r, run in m.rounds.items() if run.loss is not None}
        for name, m in measured.items()
    }
    same = [name for name in losses if not CANDIDATES[name].own]
    factors = {}
    for name, of_rounds in losses.items():
        compared = []
        for r, loss in of_rounds.items():
            others = [losses[n][r] for n in same if r in losses[n]]
            if others:
                compared.append(loss / median(others))
        if compared:
            allowed = OWN_PATH if CANDIDATES[name].own else SAME_PATH
            if not median(compared) <= 1 + allowed:  # NaN too
                factors[name] = median(compared)
    return factors
