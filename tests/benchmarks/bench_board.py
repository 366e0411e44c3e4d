"""What TensorBoard costs: `mlp train` on digits at each level of `--log`, side by side; prints Markdown.

    python tests/benchmarks/bench_board.py               # a minute
    python tests/benchmarks/bench_board.py --rounds 40   # steadier

All runs are of one seed, in one warm process, the levels in turn, in an order that turns round each time.
Seconds are those of the processor in the main thread, which other programs on the machine move least: of
the training (all epochs, with their evaluation and files), and of the board within the run (what it is
shown at the beginning, after epochs and at the end, made and written). What a level costs is what its board
takes more than that of `minimal` in the same round, held against `minimal`'s training. Figures are medians
over the rounds. Below, each part by itself, as the level `full` makes it.
"""

import argparse
import contextlib
import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from mlp_torch.board import board
from mlp_torch.board.moment import Moment
from mlp_torch.board.parts import PARTS, Part
from mlp_torch.config import LEVELS, Train
from mlp_torch.training.command import run
from mlp_torch.training.loop import Training

ENGINES = ("compiled", "manual")


@dataclass(frozen=True)
class Seconds:
    """Of one run: all epochs, and what the board took, in them, before and after."""

    training: float
    board: float


@contextlib.contextmanager
def clocked(kind: type, *methods: str) -> Iterator[list[float]]:
    """The seconds of each call of these methods, as they come."""
    spent: list[float] = []

    def clock(method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            started = time.thread_time()
            try:
                return method(*given)
            finally:
                spent.append(time.thread_time() - started)

        return timed

    with contextlib.ExitStack() as patches:
        for name in methods:
            patches.enter_context(patch.object(kind, name, clock(getattr(kind, name))))
        yield spent


def once(engine: str, level: str, folder: Path) -> Seconds:
    """One run of `mlp train` on digits."""
    config = Train(engine=engine, log=level, runs_dir=folder, name=f"{engine}-{level}-{time.time_ns()}")
    shown = clocked(board.Board, "begin", "epoch", "end")
    with clocked(Training, "train") as training, shown as spent, contextlib.redirect_stdout(io.StringIO()):
        code = run(config)
    assert code == 0
    return Seconds(sum(training), sum(spent))


def rounds(engine: str, levels: tuple[str, ...], count: int, folder: Path) -> list[dict[str, Seconds]]:
    """So many rounds of all levels, after one that warms up."""
    found = []
    for i in range(count + 1):
        order = levels if i % 2 else levels[::-1]
        found.append({level: once(engine, level, folder) for level in order})
    return found[1:]


def cost(found: Iterable[Mapping[str, Seconds]], level: str) -> tuple[float, float]:
    """What a level's board takes more than `minimal`'s: seconds, and their share of its training."""
    pairs = [(one[level].board - one[LEVELS[0]].board, one[LEVELS[0]].training) for one in found]
    return median(more for more, _ in pairs), median(more / training for more, training in pairs)


def parts(engine: str, folder: Path) -> dict[str, list[float]]:
    """The seconds of every part of a full run, each time that it is shown."""
    found: dict[str, list[float]] = defaultdict(list)

    def clock(part: Part) -> Part:
        def make(moment: Moment) -> list[Any]:
            started = time.thread_time()
            made = list(part.make(moment))
            found[part.name].append(time.thread_time() - started)
            return made

        return replace(part, make=make)

    with patch.object(board, "PARTS", tuple(map(clock, PARTS))):
        once(engine, LEVELS[-1], folder)
    return found


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["--:"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(count: int, say: Callable[[str], None] = print) -> None:
    """Both tables."""
    with tempfile.TemporaryDirectory() as path:
        folder, rows = Path(path), []
        for engine in ENGINES:
            found = rounds(engine, LEVELS, count, folder)
            for level in LEVELS:
                more, share = cost(found, level)
                training, shown = (median(getattr(r[level], f) for r in found) for f in ("training", "board"))
                cells = (f"{training * 1e3:.0f} ms", f"{shown * 1e3:.1f} ms", f"{more * 1e3:.1f} ms")
                rows.append((engine, level, *cells, f"{share:.1%}"))
        say(table(("engine", "--log", "training", "board", "more", "of training"), rows))
        found_parts = parts(ENGINES[0], folder)
        level = {part.name: part.level for part in PARTS}
        made = [
            (name, level[name], str(len(s)), f"{median(s) * 1e3:.2f} ms") for name, s in found_parts.items()
        ]
        say("\n" + table(("part", "from level", "times in `full`", "each, made"), made))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    report(parser.parse_args().rounds)
