"""The race: one warm process a candidate, a round of one run each, in alternating order."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from race.candidates import CANDIDATES, Candidate, environment
from race.problems import Spec, write

SETTLED = 3  # rounds after which those that decide no ratio of the table stop


@dataclass(frozen=True)
class Run:
    """One run: seconds by the clock and of all cores, most MB held until its end, and what it learned.

    `passes` over the data, where they are not the problem's epochs.
    """

    seconds: float
    cpu: float
    peak: float
    loss: float | None
    accuracy: float | None
    digest: int
    passes: int | None = None


@dataclass
class Measured:
    """A candidate on a problem: seconds until everything was imported, the first run, the warm rounds.

    `missing` says why there are none.
    """

    startup: float = 0.0
    first: Run | None = None
    rounds: dict[int, Run] = field(default_factory=dict)
    missing: str = ""


Results = dict[str, dict[str, Measured]]  # by problem, by candidate


class WorkerError(RuntimeError):
    """A worker's own message, or that it died."""


class Worker:
    """The parent's end of a candidate's process; `target` is the loss that ends a run, if not epochs do."""

    def __init__(self, row: Candidate, spec: Spec, folder: Path, target: float | None = None) -> None:
        self.row, self.target = row, target
        self.log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # closed with the worker
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "race.worker", row.name, spec.name, str(spec.epochs), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **environment(row, spec.threads)},
        )
        try:
            self.answer()
        except WorkerError:
            self.close()
            raise
        self.startup = time.perf_counter() - start

    def answer(self) -> dict[str, Any]:
        """The next line. Raises WorkerError with the worker's reason if there is none."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": self.last_words()}
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def last_words(self) -> str:
        """The last line that the process wrote before it died, or its exit status."""
        status = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1] if lines else f"ended with status {status}"

    def run(self, seed: int) -> Run:
        """One run from the weights and in the order of `seed`."""
        assert self.process.stdin
        given = [seed] if self.target is None else [seed, self.target]
        try:
            print(*given, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerError(self.last_words()) from None
        return Run(**self.answer())

    def close(self) -> None:
        """End the process; a second call does nothing."""
        assert self.process.stdin
        assert self.process.stdout
        with suppress(BrokenPipeError):  # a line that it did not live to read
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def race(spec: Spec, names: Sequence[str], rounds: int, say: Callable[[str], None]) -> dict[str, Measured]:
    """Measure candidates side by side: a first run each, then rounds, forwards and backwards in turn."""
    measured = {name: Measured() for name in names}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write(spec, Path(folder))
        workers: dict[str, Worker] = {}

        def guarded(name: str, work: Callable[[], None]) -> None:
            try:
                work()
            except WorkerError as error:
                measured[name].missing = str(error)
                say(f"{spec.name} {name}: {error}")
                if name in workers:
                    workers.pop(name).close()

        def start(name: str) -> None:
            target = reached(measured) if CANDIDATES[name].kind == "full" else None
            worker = Worker(CANDIDATES[name], spec, Path(folder), target)
            stack.callback(worker.close)
            workers[name] = worker
            measured[name].startup = worker.startup
            measured[name].first = worker.run(0)

        def again(name: str, number: int) -> None:
            measured[name].rounds[number] = workers[name].run(number)

        for name in sorted(names, key=lambda name: CANDIDATES[name].kind == "full"):
            if missing := CANDIDATES[name].missing:
                measured[name].missing = missing
                continue
            say(f"{spec.name} {name}: first run")
            guarded(name, partial(start, name))
        for number in range(1, rounds + 1):
            if number == SETTLED + 1:
                for name in set(workers) - contenders(measured):
                    workers.pop(name).close()
            say(f"{spec.name} round {number} of {rounds}: {len(workers)} candidates")
            for name in list(workers)[:: 1 if number % 2 else -1]:
                guarded(name, partial(again, name, number))
    digests = {run.digest for m in measured.values() if (run := m.first)}
    if len(digests) > 1:
        raise RuntimeError(f"{spec.name}: the candidates had different data")
    return measured


def reached(measured: dict[str, Measured]) -> float | None:
    """The middle loss of the first runs of all on one path, where a method of the full batch may stop."""
    runs = [m.first for name, m in measured.items() if not CANDIDATES[name].own]
    losses = [run.loss for run in runs if run and run.loss is not None]
    return median(losses) if losses else None


def contenders(measured: dict[str, Measured]) -> set[str]:
    """Who runs on after the first rounds: of each kind the two fastest, of ours also without extras.

    The others decide no ratio of the table; their first rounds stay in it.
    """
    seconds = {n: median(r.seconds for r in m.rounds.values()) for n, m in measured.items() if m.rounds}
    ranked = sorted(seconds, key=lambda name: seconds[name])
    rows = [CANDIDATES[name] for name in ranked]
    kinds = "floor", "ours", "scan", "trainer", "full"
    groups = [[row for row in rows if row.kind == kind] for kind in kinds]
    groups.append([row for row in groups[1] if not row.extra])
    return {row.name for group in groups for row in group[:2]}
