"""Does the cost grow as the work does? Microseconds a sample of every engine, beside the products alone.

    python -m race.scaling ENGINE

answers a JSON line, a point, with the seconds of its epochs; `scaling` asks one such process an engine
and number of threads, each point in rounds that take turns.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from race.candidates import CANDIDATES, environment
from race.files_beyond import Whole, whole
from race.growth import QUANTITIES, Point, quick
from race.problems import Problem
from race.table import header, number, row

FLOOR = "floor"
ENGINES = (FLOOR, "compiled", "manual", "torch", "autograd")
ROUNDS, SHORT, LONGEST = 3, 4.0, 25.0  # a run beyond SHORT seconds runs once, one beyond LONGEST not at all


def problem_of(point: Point) -> Problem:
    """Uniform inputs and random labels, from seed 0."""
    rng = np.random.default_rng(0)
    x = rng.random((point.rows, point.sizes[0]), dtype=np.float32)
    x -= np.float32(0.5)
    return Problem(point.spec(), x, rng.integers(point.sizes[-1], size=point.rows))


def trainer(name: str, problem: Problem) -> Any:
    """The floor, or the engine of that name; both have been run on two batches."""
    from race.trainers.floor import AnyDepth
    from race.trainers.ours import Engine

    made = AnyDepth(problem) if name == FLOOR else Engine(problem, name)
    made.prepare(0)
    made.warm_up()
    return made


def serve(name: str) -> None:
    """Answer until the parent closes the pipe."""
    current, made = None, None
    for line in sys.stdin:
        point = Point(**{k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(line).items()})
        if point != current:
            if made is not None:
                made.close()
            made = None  # before the next is made: there may not be room for both
            current, made = point, trainer(name, problem_of(point))
        assert made is not None
        seconds, last = [], time.perf_counter()
        for _ in made.epochs():
            now = time.perf_counter()
            seconds.append(now - last)
            last = now
        print(json.dumps(seconds), flush=True)


class Asked:
    """The parent's end of one process."""

    def __init__(self, name: str, threads: int) -> None:
        row = CANDIDATES["floor-numba" if name == FLOOR else f"engine-{name}"]
        self.missing = row.missing
        self.process = subprocess.Popen(
            [sys.executable, "-m", "race.scaling", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment(row, threads)},
        )

    def run(self, point: Point) -> list[float] | None:
        """The seconds of its epochs; nothing if it died of it."""
        assert self.process.stdin
        assert self.process.stdout
        with suppress(BrokenPipeError):
            print(json.dumps(asdict(point)), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        assert self.process.stdout
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@dataclass(frozen=True)
class Growth:
    """Of each quantity, engine and value: microseconds a sample in every round; and of whole commands.

    `late` are the last tenth's epochs over the first tenth's, of the run of most epochs.
    """

    found: dict[str, dict[str, dict[int, list[float]]]]
    late: dict[str, float]
    files: list[Whole]


def expected(point: Point, before: Point | None, times: Sequence[float]) -> float:
    """The seconds that a point will take, if the cost grows as the products do since the one before."""
    if before is None or not times:
        return 0.0
    return 1e-6 * median(times) * point.samples * max(1.0, point.operations / before.operations)


def measured(
    points: Sequence[Point], asked: dict[tuple[str, int], Any]
) -> tuple[dict[str, dict[int, list[float]]], dict[str, float]]:
    """Microseconds a sample by engine and value, the engines in turn; and how late epochs compare."""
    found: dict[str, dict[int, list[float]]] = {name: {} for name in ENGINES}
    late: dict[str, float] = {}
    before: Point | None = None
    for point in points:
        going = [
            name
            for name in ENGINES
            if expected(point, before, found[name].get(before.value if before else 0, [])) <= LONGEST
            and (before is None or before.value in found[name])
        ]
        for turn in range(ROUNDS):
            for name in going[:: -1 if turn % 2 else 1]:
                done = found[name].get(point.value, [])
                if done and 1e-6 * done[0] * point.samples > SHORT:
                    continue
                seconds = asked[name, point.threads].run(point)
                if seconds is None:
                    continue
                found[name].setdefault(point.value, []).append(1e6 * sum(seconds) / point.samples)
                if (tenth := len(seconds) // 10) >= 10:
                    late[name] = median(seconds[-tenth:]) / median(seconds[:tenth])
        before = point
    return found, late


def scaling(small: bool, say: Callable[[str], None]) -> Growth:
    """All quantities, and whole commands on files; `small`: the first two points of each."""
    rows = [quick(q) if small else q for q in QUANTITIES.values()]
    found, late, asked = {}, {}, {}  # by quantity; by engine; by engine and threads
    with ExitStack() as stack:
        for quantity in rows:
            say(f"{quantity.name}: {', '.join(f'{p.value:,}' for p in quantity.points)}")
            for key in {(name, point.threads) for name in ENGINES for point in quantity.points} - set(asked):
                asked[key] = Asked(*key)
                stack.callback(asked[key].close)
                if asked[key].missing:
                    say(f"{key[0]} is left out: {asked[key].missing}")
            found[quantity.name], tenths = measured(quantity.points, asked)
            if quantity.name == "epochs":
                late = tenths
    say("files: mlp train")
    return Growth(found, late, whole(2 if small else 5, say))


def ratio(ours: list[float], floor: list[float]) -> float:
    """The median of the ratios in the rounds that both ran."""
    return median(a / b for a, b in zip(ours, floor, strict=False))


def tables(growth: Growth) -> str:
    """One table a quantity: microseconds a sample, in brackets the multiple of the floor."""
    parts = []
    for name, by_engine in growth.found.items():
        floor = by_engine[FLOOR]
        values = sorted({value for times in by_engine.values() for value in times})
        engines = [e for e in ENGINES if e != FLOOR]
        lines = header(f"{name}: µs a sample (× floor)", ["the products alone", *engines])
        for value in values:
            cells = [number(median(floor[value])) if value in floor else "–"]
            for engine in engines:
                times = by_engine[engine].get(value)
                if times is None:
                    cells.append("–")
                    continue
                over = f" ({number(ratio(times, floor[value]))}×)" if value in floor else ""
                cells.append(number(median(times)) + over)
            lines.append(row([f"{value:,}", *cells]))
        if name == "epochs" and growth.late:
            shown = [f"{growth.late[e]:.2f}" if e in growth.late else "–" for e in ENGINES]
            lines.append(row(["last tenth of the longest run / first", *shown]))
        parts += [f"**{name}** ({QUANTITIES[name].title})", "\n".join(lines)]
    columns = ["file, MB", "inputs lie", "all of it, s", "training, µs a sample", "peak, MB"]
    lines = header("`mlp train` on a file of so many rows", columns)
    for w in growth.files:
        cells = [f"{w.file:.1f}", w.where, number(w.seconds), number(w.sample), f"{w.peak:.0f}"]
        lines.append(row([f"{w.rows:,}", *cells]))
    parts += [
        "**files** (Parquet, 30 columns of numbers, 30-32-16-1, batches of 128, compiled)",
        "\n".join(lines),
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    serve(sys.argv[1])
