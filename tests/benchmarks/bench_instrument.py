"""The smallest planted fault that each checker sees, and the time it takes; prints Markdown tables.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_instrument.py

Network 64-64-10, tanh, mean squared error, N = 64, float64. A fault multiplies one array of the
hand-written gradient (a weight's, all of its entries) by 1 + ε; ε falls by tens until the checker is
silent. For `gradcheck` the faulty gradient is the backward of an autograd function, held against
finite differences; for the others it is held against autograd's array. Times are medians, one thread.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from manual import MLP
from manual.numbers import Array
from manual.structure.architecture import Architecture
from manual.structure.trace import Trace, run
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.dyadic import problem
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.twin import compare_problem

ROUNDS = 7
STAGES = {"dW2": "layers.1.weight", "dW1": "layers.0.weight"}


def median(f: Callable[[], Any], rounds: int = ROUNDS) -> float:
    f()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def scaled(t: Trace, name: str, epsilon: float) -> Trace:
    """The same pass with one stage multiplied by 1 + ε."""

    def wrong(right: Any) -> Any:
        return lambda *a, **o: right(*a, **o) * (1 + epsilon)

    return run([replace(s, function=wrong(s.function)) if s.name == name else s for s in t], t.leaves)


def gaussian(sizes: tuple[int, ...]) -> tuple[MLP, Array, Array]:
    rng = np.random.default_rng(0)
    return (
        MLP(sizes, activation="tanh", seed=0),
        rng.normal(size=(64, sizes[0])),
        rng.normal(size=(64, sizes[-1])),
    )


def gradcheck_sees(model: MLP, x: Array, y: Array, stage: str, epsilon: float) -> bool:
    """torch.autograd.gradcheck, its defaults, of the loss as a function of one weight."""
    name = STAGES[stage]
    ours = scaled(model.trace(x, y, "mse"), stage, epsilon)
    module = to_torch(model)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: torch.Tensor) -> torch.Tensor:
            output = torch.func.functional_call(module, {name: weight.detach()}, torch.from_numpy(x))
            return torch.nn.functional.mse_loss(output, torch.from_numpy(y)).detach()

        @staticmethod
        def backward(ctx: Any, upstream: torch.Tensor) -> torch.Tensor:
            return upstream * torch.from_numpy(np.ascontiguousarray(ours[stage]))

    weight = torch.from_numpy(model.parameters[name].copy()).requires_grad_()
    return not torch.autograd.gradcheck(Loss.apply, (weight,), raise_exception=False)


def smallest(sees: Callable[[float], bool], largest: float = 1.0) -> str:
    """The last ε of 1, 0.1, 0.01, … that is seen."""
    found = None
    for exponent in range(17):
        if not sees(largest * 10.0**-exponent):
            break
        found = exponent
    return "none" if found is None else f"1e-{found}"


def smallest_faults() -> None:
    model, x, y = gaussian((64, 64, 10))
    theirs = trace(to_torch(model), x, y, "mse")
    ours = model.trace(x, y, "mse")
    twin = problem(Architecture((64, 64, 10), "relu"), "mse", 64, dtype=np.float64, seed=0)

    def close(stage: str) -> dict[str, Callable[[float], bool]]:
        right = torch.from_numpy(theirs[stage])

        def assert_close(epsilon: float) -> bool:
            try:
                torch.testing.assert_close(torch.from_numpy(ours[stage] * (1 + epsilon)), right)
            except AssertionError:
                return True
            return False

        def on_the_twin(epsilon: float) -> bool:
            off = scaled(twin.trace(), stage, epsilon)
            return not np.array_equal(off[stage], twin.trace()[stage])

        return {
            "torch.autograd.gradcheck": lambda e: gradcheck_sees(model, x, y, stage, e),
            "np.allclose": lambda e: not np.allclose(ours[stage] * (1 + e), theirs[stage]),
            "torch.testing.assert_close": assert_close,
            "local certificate (T2)": lambda e: (
                certify(scaled(ours, stage, e), stage)[stage].verdict == "wrong"
            ),
            "dyadic twin (T1)": on_the_twin,
        }

    tables = {stage: close(stage) for stage in STAGES}
    all_of_it = {
        "torch.autograd.gradcheck": lambda: [gradcheck_sees(model, x, y, s, 0.0) for s in STAGES],
        "np.allclose": lambda: [np.allclose(ours[s], theirs[s]) for s in STAGES],
        "torch.testing.assert_close": lambda: [
            torch.testing.assert_close(torch.from_numpy(ours[s]), torch.from_numpy(theirs[s])) for s in STAGES
        ],
        "local certificate (T2)": lambda: certify(ours),
        "dyadic twin (T1)": lambda: compare_problem(twin),
    }
    size = np.abs(theirs["dW1"]).max(), np.abs(theirs["dW2"]).max()
    print(f"Largest entries: dW1 {size[0]:.1e}, dW2 {size[1]:.1e}.\n")
    print("| checker | smallest ε seen in dW2 | in dW1 | what was timed | time |")
    print("|---|---|---|---|---|")
    timed = {
        "local certificate (T2)": "all stages of one engine",
        "dyadic twin (T1)": "both engines, all stages",
    }
    for checker, work in all_of_it.items():
        found = [smallest(tables[stage][checker]) for stage in ("dW2", "dW1")]
        what = timed.get(checker, "both weights")
        print(f"| {checker} | {found[0]} | {found[1]} | {what} | {1e3 * median(work):.3g} ms |")


def costs() -> None:
    model, x, y = gaussian((64, 64, 64, 10))
    ours, module = model.trace(x, y, "mse"), to_torch(model)
    work = {
        "manual pass": lambda: model.trace(x, y, "mse"),
        "autograd pass, traced": lambda: trace(module, x, y, "mse"),
        "global bound": lambda: propagate(ours),
        "local certificate": lambda: certify(ours),
    }
    print("\n| 64-64-64-10, N = 64, tanh | time |")
    print("|---|---|")
    for name, f in work.items():
        print(f"| {name} | {1e3 * median(f, 15):.3g} ms |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    smallest_faults()
    costs()
