"""One warm process for one candidate and one problem: a seed a line comes in, a JSON line goes out.

Behind the seed may stand a loss: the trainer's `target`, at which it stops.

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
            seed, *target = line.split()
            start, cpu = time.perf_counter(), time.process_time()
            first = (
                trainer is None
            )  # what is built once (data on the device, compiled functions) is in its time
            trainer = trainer or trainer_class(problem, *row.arguments)
            if target:
                trainer.target = float(target[0])
            trainer.prepare(int(seed))
            if not first:
                gc.collect()
                start, cpu = time.perf_counter(), time.process_time()
            trainer.train()
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            most, weights = peak(), trainer.weights()
            loss, accuracy = problem.evaluate(weights) if weights else (None, None)
            digest, passes = problem.digest(), getattr(trainer, "passes", None)
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}".splitlines()[0])
            raise
        told = {"loss": loss, "accuracy": accuracy, "digest": digest, "passes": passes}
        say(seconds=seconds, cpu=cpu, peak=most, **told)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
