"""What a check of the gradients costs as the network grows, against gradcheck; prints a Markdown table.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_growth.py

Networks k-k-10, tanh, mean squared error, N = 64, float64. `gradcheck` (its defaults) takes the loss as a
function of all weights and biases; `compare` certifies the hand-written gradient and autograd's, every
stage; `check_gradients` judges arrays, all right or with one fault to be named. All of them run in turn,
round by round, on one thread: a time is the median, a ratio the median of the rounds' ratios. gradcheck is
left out of the nets that would keep it for minutes.
"""

import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from bench_instrument import gaussian

from manual import MLP
from manual.numbers import Array
from manual.structure.trace import Trace, run
from mlp_torch.check import check_gradients
from mlp_torch.model import to_torch
from mlp_torch.verify import compare

ROUNDS, REPEATS = 5, 5
WIDTHS = (8, 16, 32, 64, 256, 1024)
WITH_GRADCHECK = (8, 16, 32, 64)
COLUMNS = ("gradcheck", "compare", "check, right", "check, fault named")
REFERENCE = COLUMNS[0]


def gradcheck(model: MLP, x: Array, y: Array) -> Callable[[], Any]:
    """The loss over every weight and bias, in double."""
    module = to_torch(model)
    names = [name for name, _ in module.named_parameters()]
    values = tuple(p.detach().clone().requires_grad_() for p in module.parameters())
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        output = torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), inputs)
        return torch.nn.functional.mse_loss(output, targets)

    return lambda: torch.autograd.gradcheck(loss, values)


def without_derivative(t: Trace) -> Trace:
    """The same pass with dz1 = da1."""
    stages = [replace(s, function=lambda da, *_, **__: da) if s.name == "dz1" else s for s in t]
    return run(stages, t.leaves)


def judged(model: MLP, t: Trace, x: Array, y: Array) -> Any:
    gradients = {stage.parameter: t[stage.name] for stage in t if stage.parameter is not None}
    return check_gradients(
        model.parameters,
        gradients,
        x,
        y,
        activations=["tanh", "identity"],
        loss="squared_error",
        reduction="mean_over_all",
        samples="rows",
        weight_layout="out,in",
    )


def candidates(width: int) -> tuple[int, dict[str, Callable[[], Any]]]:
    """The number of parameters, and the work of each column; each is seen to be right once."""
    model, x, y = gaussian((width, width, 10))
    module, t = to_torch(model), model.trace(x, y, "mse")
    wrong = without_derivative(t)
    work: dict[str, Callable[[], Any]] = {
        "gradcheck": gradcheck(model, x, y),
        "compare": lambda: compare(module, x, y, loss="mse"),
        "check, right": lambda: judged(model, t, x, y),
        "check, fault named": lambda: judged(model, wrong, x, y),
    }
    assert work["compare"]().passed
    assert work["check, right"]().passed
    assert work["check, fault named"]().faults[0].kind == "missing_activation_derivative"
    if width not in WITH_GRADCHECK:
        del work["gradcheck"]
    return sum(p.size for p in model.parameters.values()), work


def seconds(f: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measured(work: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Each column's time, round by round, in turn."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, f in work.items():
            found[name].append(seconds(f, 1 if name == REFERENCE else REPEATS))
    return found


def peak(f: Callable[[], Any]) -> int:
    tracemalloc.start()
    f()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def exponent(sizes: list[int], times: list[float]) -> float:
    """a in time ∝ parametersᵃ, least squares over the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def shown(time_s: float, ratio: float | None) -> str:
    text = f"{1e3 * time_s:.3g} ms" if time_s < 1 else f"{time_s:.3g} s"
    return text if ratio is None else f"{text} ({ratio:,.0f}×)"


def main() -> None:
    sizes: list[int] = []
    medians: dict[str, list[tuple[int, float]]] = {name: [] for name in COLUMNS}
    print(f"| network | parameters | {' | '.join(COLUMNS)} | peak of compare |")
    print("|---|" + "---|" * (len(COLUMNS) + 2))
    for width in WIDTHS:
        size, work = candidates(width)
        sizes.append(size)
        times = measured(work)
        cells = []
        for name in COLUMNS:
            if name not in times:
                cells.append("–")
                continue
            middle = statistics.median(times[name])
            medians[name].append((size, middle))
            ratios = [a / b for a, b in zip(times.get(REFERENCE, []), times[name], strict=False)]
            cells.append(shown(middle, statistics.median(ratios) if ratios and name != REFERENCE else None))
        memory = f"{peak(work['compare']) / 2**20:.3g} MiB"
        print(f"| {width}-{width}-10 | {size:,} | {' | '.join(cells)} | {memory} |", flush=True)
    for title, part in (("the nets with gradcheck", slice(0, 4)), ("the last two", slice(-2, None))):
        fits = []
        for name in COLUMNS:
            points = [point for point in medians[name] if point[0] in sizes[part]]
            fits.append("–" if len(points) < 2 else f"{exponent(*map(list, zip(*points, strict=True))):.2f}")
        print(f"| time ∝ parametersᵃ, {title} | a = | {' | '.join(fits)} | |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
