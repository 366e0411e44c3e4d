"""One warm process for one candidate and one problem: a seed a line comes in, a JSON line goes out.

    python -m race.worker CANDIDATE PROBLEM EPOCHS FOLDER

The first line out says that everything is imported; the parent takes the time until then.
"""

import gc
import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any


def peak() -> float:
    """The most memory that this process held at once, in MB.

    Linux counts into `ru_maxrss` what the parent held when it forked, so the process' own high-water
    mark is read there; macOS gives bytes.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def serve(name: str, problem_name: str, epochs: int, folder: Path) -> None:
    """Answer until the parent closes the pipe."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not ours

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=out, flush=True)

    from race.candidates import CANDIDATES

    row = CANDIDATES[name]
    trainer_class = getattr(importlib.import_module(f"race.trainers.{row.module}"), row.trainer)
    for package in row.packages:
        importlib.import_module(package)
    say(imported=True)

    from race import problems

    problem = problems.read(problem_name, epochs, folder)
    trainer = None
    for line in sys.stdin:
        try:
            start, cpu = time.perf_counter(), time.process_time()
            if (
                trainer is None
            ):  # what is built once (data on the device, compiled functions) is the first run's
                trainer = trainer_class(problem, *row.arguments)
                trainer.prepare(int(line))
            else:
                trainer.prepare(int(line))
                gc.collect()
                start, cpu = time.perf_counter(), time.process_time()
            trainer.train()
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            most, weights = peak(), trainer.weights()
            loss, accuracy = problem.evaluate(weights) if weights else (None, None)
            digest = problem.digest()
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}".splitlines()[0])
            raise
        say(seconds=seconds, cpu=cpu, peak=most, loss=loss, accuracy=accuracy, digest=digest)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
