"""This project's engines, each driven by the one loop of `manual.training.fit`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from manual import MLP, OPTIMIZERS
from manual.training import Epoch, ManualEngine, fit
from race.problems import LR, Problem


def engine(name: str, model: MLP, loss: str, optimizer: str, lr: float) -> Any:
    """The engine of that name for a network, a loss and an optimizer with its defaults."""
    if name == "manual":
        return ManualEngine(model, loss, OPTIMIZERS[optimizer](model.parameters, lr))
    from mlp_torch import engines
    from mlp_torch import model as torch_model

    module = torch_model.to_torch(model)
    return engines.AutogradEngine(module, loss, torch_model.OPTIMIZERS[optimizer](module.parameters(), lr=lr))


class Engine:
    """One engine, from the problem's first weights and in its order."""

    def __init__(self, problem: Problem, name: str) -> None:
        self.problem, self.name = problem, name

    def prepare(self, seed: int) -> None:
        spec = self.problem.spec
        self.seed = seed
        self.engine = engine(self.name, MLP(spec.sizes, seed=seed, dtype=np.float32), spec.loss, "adam", LR)

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

    def train(self) -> None:
        for _ in self.epochs():
            pass

    def weights(self) -> list[tuple[Any, Any]]:
        parameters = self.engine.parameters()
        layers = [f"layers.{i}" for i in range(len(self.problem.spec.sizes) - 1)]
        return [(parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]) for layer in layers]
