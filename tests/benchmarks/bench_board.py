"""What TensorBoard costs: `mlp train` on digits at each level of `--log`, side by side; prints Markdown.

    python tests/benchmarks/bench_board.py               # a minute
    python tests/benchmarks/bench_board.py --rounds 40   # steadier

All runs are of one seed, in one warm process, the levels in turn, in an order that turns round each time.
What a level costs is its seconds less those of `minimal` in the same round, held against `minimal`'s: of
the training (all epochs, with their evaluation and files) and of the whole command, from the flags to the
last picture. Figures are medians over the rounds, seconds those of the processor, which other programs on the
machine move least. Below, each part by itself, as the level `full` makes it.
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
from mlp_torch.train import run
from mlp_torch.training import Training

ENGINES = ("compiled", "manual")


@dataclass(frozen=True)
class Seconds:
    """Of one run: all epochs, and the whole command."""

    training: float
    command: float


@contextlib.contextmanager
def clocked(spent: list[float]) -> Iterator[None]:
    """The seconds of `Training.train` are added to `spent`."""
    train = Training.train

    def timed(self: Training) -> None:
        started = time.process_time()
        train(self)
        spent.append(time.process_time() - started)

    with patch.object(Training, "train", timed):
        yield


def once(engine: str, level: str, folder: Path) -> Seconds:
    """One run of `mlp train` on digits."""
    spent: list[float] = []
    name = f"{engine}-{level}-{time.time_ns()}"
    started = time.process_time()
    with clocked(spent), contextlib.redirect_stdout(io.StringIO()):
        code = run(Train(engine=engine, log=level, runs_dir=folder, name=name))
    assert code == 0
    return Seconds(spent[0], time.process_time() - started)


def rounds(engine: str, levels: tuple[str, ...], count: int, folder: Path) -> list[dict[str, Seconds]]:
    """So many rounds of all levels, after one that warms up."""
    found = []
    for i in range(count + 1):
        order = levels if i % 2 else levels[::-1]
        found.append({level: once(engine, level, folder) for level in order})
    return found[1:]


def cost(found: Iterable[Mapping[str, Seconds]], level: str, what: str) -> tuple[float, float]:
    """What a level adds to `minimal`: seconds, and their share of it."""
    pairs = [(getattr(one[level], what), getattr(one[LEVELS[0]], what)) for one in found]
    return median(a - b for a, b in pairs), median(a / b for a, b in pairs) - 1


def parts(engine: str, folder: Path) -> dict[str, list[float]]:
    """The seconds of every part of a full run, each time that it is shown."""
    found: dict[str, list[float]] = defaultdict(list)

    def clock(part: Part) -> Part:
        def make(moment: Moment) -> list[Any]:
            started = time.process_time()
            made = list(part.make(moment))
            found[part.name].append(time.process_time() - started)
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
                cells = [engine, level]
                for what in ("training", "command"):
                    more, share = cost(found, level, what)
                    whole = median(getattr(one[level], what) for one in found)
                    cells += [f"{whole * 1e3:.0f} ms", f"{more * 1e3:+.1f} ms", f"{share:+.1%}"]
                rows.append(cells)
        say(table(("engine", "--log", "training", "more", "share", "command", "more", "share"), rows))
        shown = parts(ENGINES[0], folder)
        level = {part.name: part.level for part in PARTS}
        made = [(name, level[name], str(len(s)), f"{median(s) * 1e3:.2f} ms") for name, s in shown.items()]
        say("\n" + table(("part", "from level", "times in `full`", "each, made"), made))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    report(parser.parse_args().rounds)
