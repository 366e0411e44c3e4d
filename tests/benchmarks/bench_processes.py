"""What more processes are worth: two on two cores against one on one, and what one under torchrun costs.

    python tests/benchmarks/bench_processes.py            seconds of an epoch, B and D of the race
    python tests/benchmarks/bench_processes.py --memory   the most memory of a rank of 1, 2 and 4

Every candidate is warm, and waits while another has its turn; each process has a core of its own where there
are as many. The ratios are medians of the rounds' own. A quiet machine is needed for the seconds on the
clock; on a busy one the seconds of CPU of the rank that takes most of them are the better hint.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROUNDS = 7
# sizes, samples, batch: an epoch of steps alone, without evaluation
PROBLEMS = {"B": ((784, 256, 128, 10), 60_000, 128), "D": ((784, 2048, 2048, 10), 20_000, 512)}
# One row a candidate: how many processes, and which engine.
CANDIDATES = {
    "plain": (1, "autograd"),
    "one": (1, "ddp"),
    "two": (2, "ddp"),
    "one, reproducible": (1, "reproducible"),
    "two, reproducible": (2, "reproducible"),
}
CLOCK, CPU = 0, 1  # the two kinds of seconds
# What is claimed of a ratio of epochs' seconds, and its bound.
CLAIMS = (("plain", "two", ">=", 1.5), ("one", "plain", "<=", 1.03))
ROWS, COLUMNS = 300_000, 150  # of the table whose memory is measured: 180 MB as float32


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def ranks(n: int, arguments: list[str], **more: Any) -> list["subprocess.Popen[str]"]:
    """n processes of Python, as torchrun starts them; rank 0 with pipes."""
    port = free_port()
    given = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | given | {"RANK": str(r), "LOCAL_RANK": str(r)},
            **(pipes if r == 0 else {"stdout": subprocess.DEVNULL}), **more,
        )
        for r in range(n)
    ]  # fmt: skip


def work(name: str, problem: str) -> None:
    """A process of a candidate: an epoch for each line that rank 0 reads, and its seconds of both kinds."""
    import torch

    from mlp_torch.autograd import AutogradEngine
    from mlp_torch.distributed.engine import DDPEngine
    from mlp_torch.distributed.group import join, leave
    from mlp_torch.distributed.parts import OwnRows
    from mlp_torch.model import MLP

    (sizes, n, batch), (_, kind) = PROBLEMS[problem], CANDIDATES[name]
    group = join(600, "cpu")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[group.rank % len(cores)]})
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.random((n, sizes[0]), dtype=np.float32)
    y = (x @ rng.normal(size=(sizes[0], sizes[-1]))).argmax(axis=1)  # what can be learned: no unit dies
    rows: Any = x
    if group.size > 1:
        holder = OwnRows(group)
        mine = holder.rows(n, x.nbytes)
        rows = holder.inputs(x[mine].copy(), mine.start, n, x.nbytes)
        rows.name, x = "train", x[:0]
    module = MLP(sizes)
    optimizer = torch.optim.Adam(module.parameters(), fused=kind != "autograd")
    engine: Any = AutogradEngine(module, "cross_entropy", optimizer)
    if kind != "autograd":
        engine = DDPEngine(module, "cross_entropy", optimizer, group=group, reproducible=kind != "ddp")
    rates, epoch = np.full(-(-n // batch), 1e-3), 0
    while True:
        if group.rank == 0:
            line = sys.stdin.readline()
            if not line:
                group.tell("end")
                break
            epoch += 1
            group.tell("begin")
            before, started = group.collected(time.process_time()), time.perf_counter()
            engine.epoch(rows, y, np.random.default_rng(epoch).permutation(n), batch, rates)
            seconds = time.perf_counter() - started
            group.tell("ended")
            after = group.collected(time.process_time())
            print(json.dumps([seconds, max(b - a for a, b in zip(before, after, strict=True))]), flush=True)
            continue
        word, *given = group.hear()
        if word == "end":
            break
        if word == "epoch":
            engine.steps(rows, y, None, *given[3:])
        else:
            group.collected(time.process_time())
    leave()


Found = dict[str, list[tuple[float, float]]]


def race(problem: str) -> Found:
    """The seconds of both kinds of every candidate's epochs, a list each, in rounds that take turns."""
    started = {name: ranks(n, [__file__, name, problem]) for name, (n, _) in CANDIDATES.items()}
    found: Found = {name: [] for name in CANDIDATES}
    for number in range(ROUNDS + 1):
        order = list(CANDIDATES) if number % 2 else list(reversed(CANDIDATES))
        for name in order:
            first = started[name][0]
            assert first.stdin is not None
            assert first.stdout is not None
            first.stdin.write("go\n")
            first.stdin.flush()
            clock, cpu = json.loads(first.stdout.readline())
            if number:  # the first epoch warms up
                found[name].append((clock, cpu))
    for processes in started.values():
        processes[0].communicate()
        for process in processes[1:]:
            process.wait()
    return found


def ratio(found: Found, ours: str, theirs: str, kind: int) -> float:
    """How many times as long `ours` takes: the median of the rounds."""
    return median(a[kind] / b[kind] for a, b in zip(found[ours], found[theirs], strict=True))


def memory() -> dict[int, list[float]]:
    """By the number of processes, the most memory of each rank in MB, of `mlp train` on a table.

    At 0 that of one on 2,000 rows of it: what a run takes without its data.
    """
    import polars as pl

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        table = {f"x{i}": rng.random(ROWS, dtype=np.float32) for i in range(COLUMNS)}
        frame = pl.DataFrame(table | {"y": rng.integers(0, 2, ROWS)})
        frame.write_parquet(Path(folder, "table.parquet"), row_group_size=20_000)  # what is read at once
        frame[:2000].write_parquet(Path(folder, "small.parquet"))
        del table, frame
        line = "-m mlp_torch train --engine ddp --target y --epochs 1 --batch-size 512 --hidden 32 --data"
        for n, name in ((0, "small"), (1, "table"), (2, "table"), (4, "table")):
            started = ranks(max(1, n), [*line.split(), f"{name}.parquet", "--name", f"n{n}"], cwd=folder)
            assert started[0].stdin is not None
            started[0].stdin.close()
            found[n] = [os.wait4(process.pid, 0)[2].ru_maxrss / 1024 for process in started]
    return found


def main() -> None:
    if "--memory" in sys.argv:
        for n, most in memory().items():
            print(f"{n} processes: {', '.join(f'{m:.0f}' for m in most)} MB")
        return
    for problem in PROBLEMS:
        found = race(problem)
        for kind, words in ((CLOCK, "seconds"), (CPU, "seconds of CPU")):
            times = {name: round(median(v[kind] for v in values), 3) for name, values in found.items()}
            print(problem, words, json.dumps(times))
            for ours, theirs, sign, bound in CLAIMS:
                value = ratio(found, ours, theirs, kind)
                print(f"  {ours} / {theirs}: {value:.3f} (claimed {sign} {bound})")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        work(*sys.argv[1:])
    else:
        main()
