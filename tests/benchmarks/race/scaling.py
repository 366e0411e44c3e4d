"""Does the cost grow as the work does? Our engines on net C: rows, epochs, and how long a run has been.

    python -m race.scaling ENGINE DECADES

prints one JSON line a measurement; `scaling` makes one such process an engine and reads them. On one
thread; a step is one batch of 16.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from race.candidates import CANDIDATES, environment
from race.problems import PROBLEMS, Problem, moons
from race.table import header, number, row

ROWS, EPOCHS = (1_000, 10_000, 100_000, 1_000_000), (1, 10, 100, 1_000)


def epochs_timed(name: str, rows: int, epochs: int) -> list[float]:
    """The seconds of every epoch of one run."""
    import numpy as np

    from race.trainers.ours import Engine

    x, labels = moons(rows)
    spec = replace(PROBLEMS["C"], rows=rows, epochs=epochs)
    problem = Problem(spec, x.astype(np.float32), labels.reshape(-1, 1).astype(np.float32))
    engine = Engine(problem, name)
    engine.prepare(0)
    seconds, last = [], time.perf_counter()
    for _ in engine.epochs():
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
    return seconds


def measure(name: str, decades: int) -> Iterator[dict[str, float]]:
    """Microseconds a step: by rows in one epoch, by epochs of 1,000 rows, and along the longest run."""
    batch = PROBLEMS["C"].batch
    epochs_timed(name, 1_000, 3)  # compiled and warm
    for rows in ROWS[:decades]:
        repeats = max(1, 10_000 // rows)
        seconds = median(epochs_timed(name, rows, 1)[0] for _ in range(repeats))
        yield {"rows": rows, "seconds": seconds, "step": 1e6 * seconds / -(-rows // batch)}
    steps = -(-1_000 // batch)
    for epochs in EPOCHS[:decades]:
        repeats = max(1, 10 // epochs)
        times = min((epochs_timed(name, 1_000, epochs) for _ in range(repeats)), key=sum)
        yield {"epochs": epochs, "seconds": sum(times), "step": 1e6 * sum(times) / (steps * epochs)}
    tenth = len(times) // 10
    yield {"first": 1e6 * median(times[:tenth]) / steps, "last": 1e6 * median(times[-tenth:]) / steps}


def scaling(names: Sequence[str], quick: bool = False) -> str:
    """The table of these candidates, as far as they are engines, each in a process of its own."""
    decades = 3 if quick else 4
    columns = [f"{r:,} rows" for r in ROWS[:decades]] + [f"{e:,} epochs" for e in EPOCHS[:decades]]
    lines = header("µs a step", [*columns, "last tenth of the longest run / first"])
    here = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    for candidate in (CANDIDATES[name] for name in names):
        if candidate.module != "ours" or candidate.arguments == ("auto",):
            continue
        done = subprocess.run(
            [sys.executable, "-m", "race.scaling", candidate.arguments[0], str(decades)],
            env={**os.environ, **environment(candidate, 1), "PYTHONPATH": path},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            why = candidate.missing or (done.stderr.strip().splitlines() or ["no message"])[-1]
            lines.append(row([candidate.label, f"missing: {why}", *[""] * len(columns)]))
            continue
        found = [json.loads(line) for line in done.stdout.splitlines()]
        tenths = found[-1]["last"] / found[-1]["first"]
        lines.append(row([candidate.label, *(number(m["step"]) for m in found[:-1]), f"{tenths:.2f}"]))
    return "\n".join(lines)


if __name__ == "__main__":
    for measurement in measure(sys.argv[1], int(sys.argv[2])):
        print(json.dumps(measurement), flush=True)
