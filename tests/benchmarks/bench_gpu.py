"""The torch engine on a GPU, in multiples of what the device cannot avoid; prints a Markdown table.

    python tests/benchmarks/bench_gpu.py                 # A to D and a 4096-wide network, ieee and tf32
    python tests/benchmarks/bench_gpu.py --device cpu    # only to see that it runs: there are no limits there

The limits are measured first: what one kernel of a recorded graph costs, how many bytes a second are
copied, how many operations a second a large product takes in each precision. A step's floor is the
largest of its three shares: kernels that it launches, bytes that it must move, operations of its products.
Nothing here has been run on a GPU so far.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import torch
from race.problems import PROBLEMS, Problem, Spec, images
from race.table import header, number, row

from manual import MLP
from manual.training.fit import fit
from mlp_torch.buffered import TorchEngine
from mlp_torch.buffered.products import precision
from mlp_torch.model import to_torch

WIDE = Spec(
    "W", "images, 784-4096-4096-10", (784, 4096, 4096, 10), "cross_entropy", 60000, 1024, 1, 2, images
)
ROUNDS = 5


def seconds(device: torch.device, run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The median time of a run, the device waited for; one run before is not counted."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    run()
    times = []
    for _ in range(rounds):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return median(times)


def per_launch(device: torch.device, kernels: int = 1000) -> float:
    """Seconds that one tiny kernel takes inside a recorded graph (on a CPU: one after the other)."""
    one = torch.zeros(1, device=device)

    def run() -> None:
        for _ in range(kernels):
            one.add_(1)

    if device.type != "cuda":
        return seconds(device, run) / kernels
    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return seconds(device, graph.replay) / kernels


def per_byte(device: torch.device) -> float:
    """Seconds a byte that is read or written, of a copy that fits no cache."""
    source = torch.zeros(2**26 if device.type == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    return seconds(device, lambda: target.copy_(source)) / (2 * source.nbytes)


def per_operation(device: torch.device, words: str) -> float:
    """Seconds an operation of a large float32 product in that precision."""
    n = 8192 if device.type == "cuda" else 1024
    a, b, out = (torch.rand(n, n, device=device) for _ in range(3))
    with precision(device.type, words):
        return seconds(device, lambda: torch.mm(a, b, out=out)) / (2 * n**3)


def work(spec: Spec, launches: int) -> tuple[float, float, float]:
    """What a step launches, the bytes that it moves at least, and the operations of its products.

    Bytes, in floats: a weight is read forward and backward, its gradient written and read, Adam reads
    and writes it and two moments (10); a row of x is gathered (2) and read twice; an activation and its
    gradient are each written and read twice (6).
    """
    weights = sum(a * b + b for a, b in pairwise(spec.sizes))
    units = sum(spec.sizes[1:])
    floats = 10 * weights + spec.batch * (4 * spec.sizes[0] + 6 * units)
    return launches, 4.0 * floats, 6.0 * spec.batch * sum(a * b for a, b in pairwise(spec.sizes))


def trained(problem: Problem, words: str, device: torch.device) -> tuple[float, int, float]:
    """Seconds a step, kernels a step, and the loss of the last epoch."""
    spec = problem.spec
    module = to_torch(MLP(spec.sizes, seed=0, dtype=np.float32)).to(device)
    engine = TorchEngine(module, spec.loss, "adam", {}, fp32_precision=words)
    found: list[float] = []

    def run() -> None:
        options = {"epochs": spec.epochs, "batch_size": spec.batch, "lr": 1e-3}
        found.append([e.loss for e in fit(engine, problem.x, problem.y, **options)][-1])

    took = seconds(device, run, 3) / spec.steps
    chunk = max(engine.chunks.values(), key=lambda c: c.steps)
    return took, len(chunk.ops[0]) + len(chunk.gather) // chunk.steps, found[0]


def table(device: torch.device, specs: list[Spec], precisions: list[str]) -> str:
    lines = header(
        "problem",
        [
            "precision",
            "µs a step",
            "kernels",
            "launches µs",
            "bytes µs",
            "products µs",
            "× the floor",
            "loss",
        ],
    )
    launch, byte = per_launch(device), per_byte(device)
    operation = {words: per_operation(device, words) for words in precisions}
    for spec in specs:
        x, labels = spec.read(spec.rows)
        real = spec.loss != "cross_entropy"
        y = labels.reshape(-1, 1).astype(np.float32) if real else labels.astype(np.int64)
        problem = Problem(spec, np.ascontiguousarray(x, np.float32), y)
        for words in precisions:
            took, launches, loss = trained(problem, words, device)
            shares = [
                a * b for a, b in zip(work(spec, launches), (launch, byte, operation[words]), strict=True)
            ]
            figures = [number(1e6 * took), str(launches), *(number(1e6 * share) for share in shares)]
            lines.append(row([spec.title, words, *figures, f"{took / max(shares):.2f}", f"{loss:.4f}"]))
    rates = ", ".join(f"{words} {1e-12 / operation[words]:.3g} TFLOP/s" for words in precisions)
    limits = f"a kernel {1e6 * launch:.2f} µs, {1e-9 / byte:.4g} GB/s, {rates}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    return "\n".join([f"{name}, torch {torch.__version__}: {limits}.", "", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--only", nargs="+", choices=[*PROBLEMS, "W"], default=[*PROBLEMS, "W"])
    parser.add_argument("--quick", action="store_true", help="a tenth of every problem")
    flags = parser.parse_args()
    if flags.device == "cuda" and not torch.cuda.is_available():
        sys.exit("bench_gpu: torch finds no GPU here; --device cpu shows that the benchmark runs")
    specs = [s for s in [*PROBLEMS.values(), WIDE] if s.name in flags.only]
    specs = [s.quick() for s in specs] if flags.quick else specs
    precisions = ["ieee", "tf32"] if flags.device == "cuda" else ["ieee"]
    specs = [replace(s, rows=max(s.rows, 16 * s.batch)) for s in specs]
    print(table(torch.device(flags.device), specs, precisions))


if __name__ == "__main__":
    main()
