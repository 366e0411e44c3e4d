"""This project's engines, each driven by the one loop of `manual.training.fit`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from manual import MLP, OPTIMIZERS
from manual.training.fit import Epoch, fit
from race.problems import LR, Problem


def engine(name: str, model: MLP, problem: Problem) -> Any:
    """The engine of that name for a network: Adam with its defaults. NumPy's need no torch."""
    loss = problem.spec.loss
    if name == "manual":
        from manual.buffered import BufferedEngine

        return BufferedEngine(model, loss, OPTIMIZERS["adam"](model.parameters, LR))
    if name == "compiled":
        from mlp_torch.engines import compiled

        optimizer = OPTIMIZERS["adam"](model.parameters, LR)
        return compiled(model, loss, optimizer, batch_size=problem.spec.batch)
    from mlp_torch.model import to_torch

    module = to_torch(model)
    if name == "torch":
        from mlp_torch.buffered import TorchEngine

        return TorchEngine(module, loss, "adam", {})
    from torch.optim import Adam

    from mlp_torch.autograd import AutogradEngine

    return AutogradEngine(module, loss, Adam(module.parameters(), lr=LR))


def chosen(problem: Problem) -> str:
    """What `mlp train --engine auto` takes for this network and batch on the CPU."""
    from manual.structure.architecture import Architecture
    from mlp_torch.config import Train
    from mlp_torch.engines import choose_engine

    spec = problem.spec
    config = Train(hidden=spec.sizes[1:-1], batch_size=spec.batch)
    given = config, Architecture(spec.sizes), "cross_entropy", "cpu", spec.steps
    return choose_engine(*given, lasting=True)[0]


class Engine:
    """One engine, from the problem's first weights and in its order."""

    def __init__(self, problem: Problem, name: str) -> None:
        self.problem, self.name = problem, chosen(problem) if name == "auto" else name
        self.threads: list[AbstractContextManager[None]] = []  # entered for the rest of the process

    def prepare(self, seed: int) -> None:
        """The network anew, and once the threads that `mlp train` would take."""
        if not self.threads:
            from mlp_torch.machine import threads

            numpys = self.name in ("compiled", "manual")
            self.threads.append(threads(self.problem.spec.sizes, self.problem.spec.batch, numpys))
            self.threads[0].__enter__()
        self.seed = seed
        model = MLP(self.problem.spec.sizes, seed=seed, dtype=np.float32)
        self.engine = engine(self.name, model, self.problem)

    def epochs(self) -> Iterator[Epoch]:
        """Train, epoch by epoch."""
        spec = self.problem.spec
        return fit(
            self.engine,
            self.problem.x,
            self.problem.y,
            epochs=spec.epochs,
            batch_size=spec.batch,
            lr=LR,
            seed=self.seed,
        )

    def warm_up(self) -> None:
        """Two batches, outside the clock."""
        n = 2 * self.problem.spec.batch
        x, y = self.problem.x[:n], self.problem.y[:n]
        for _ in fit(self.engine, x, y, epochs=1, batch_size=self.problem.spec.batch, lr=LR, seed=self.seed):
            pass

    def close(self) -> None:
        """Give the threads back, for another network in this process."""
        while self.threads:
            self.threads.pop().__exit__(None, None, None)

    def train(self) -> None:
        for _ in self.epochs():
            pass

    def weights(self) -> list[tuple[Any, Any]]:
        parameters = self.engine.parameters()
        layers = [f"layers.{i}" for i in range(len(self.problem.spec.sizes) - 1)]
        return [(parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]) for layer in layers]
