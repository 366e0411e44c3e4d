"""What a moment below the smallest normal number costs an epoch, with and without flush-to-zero.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_subnormals.py

A network whose inputs are 0 but for three: the gradient of all other weights of the first layer is 0, and
their moments, which decay, are put to 4 · 2^−149, where they would come to by themselves after some hundred
steps. Seconds of CPU of 20 epochs of 20 steps in float32, the least of 5 rounds that take turns.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch

import manual
from manual.buffered import BufferedEngine
from manual.compiled import CompiledEngine
from mlp_torch.buffered import TorchEngine
from mlp_torch.model import to_torch

SIZES, BATCH, STEPS, EPOCHS, ROUNDS = (500, 64, 10), 32, 20, 20, 5
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9}, "rmsprop": {"momentum": 0.9}, "adagrad": {}, "adam": {}, "adamw": {},
}  # fmt: skip
LEAST = np.float32(4e-45)


def engine_of(kind: str, optimizer: str) -> Any:
    model, options = manual.MLP(SIZES, seed=0, dtype=np.float32), OPTIMIZERS[optimizer]
    if kind == "torch":
        return TorchEngine(to_torch(model), "mse", optimizer, options)
    rule = manual.OPTIMIZERS[optimizer](model.parameters, 1e-3, **options)
    return (CompiledEngine if kind == "compiled" else BufferedEngine)(model, "mse", rule)


@contextlib.contextmanager
def nothing(*given: object) -> Iterator[None]:
    yield


@contextlib.contextmanager
def unflushed() -> Iterator[None]:
    rooms = ("manual.compiled.engine", "manual.buffered.engine", "mlp_torch.buffered.engine")
    with contextlib.ExitStack() as stack:
        for room in rooms:
            stack.enter_context(mock.patch(f"{room}.flushing", nothing))
        yield


def seconds(kind: str, optimizer: str, around: Callable[[], Any]) -> float:
    rng, n = np.random.default_rng(0), BATCH * STEPS
    x, y = np.zeros((n, SIZES[0]), np.float32), rng.normal(size=(n, SIZES[-1])).astype(np.float32)
    x[:, :3] = rng.normal(size=(n, 3))
    engine, rates = engine_of(kind, optimizer), np.full(STEPS, 1e-3)
    with around():
        engine.epoch(x, y, np.arange(n), BATCH, rates)
        state = engine.state()
        for name, array in state.arrays.items():
            if name.startswith("moments/") and array.ndim:
                array[...] = np.where(array == 0, LEAST, array)
        engine.resume(state)
        start = time.process_time()
        for _ in range(EPOCHS):
            engine.epoch(x, y, np.arange(n), BATCH, rates)
        return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    print("| engine, optimizer | as it is, s | flushed, s | times |\n|---|---|---|---|")
    for kind in ("compiled", "manual", "torch"):
        for optimizer in OPTIMIZERS:
            pairs = [
                (seconds(kind, optimizer, unflushed), seconds(kind, optimizer, contextlib.nullcontext))
                for _ in range(ROUNDS)
            ]
            plain, flushed = (min(pair[i] for pair in pairs) for i in (0, 1))
            print(
                f"| {kind}, {optimizer} | {plain:.4f} | {flushed:.4f} | {plain / flushed:.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
