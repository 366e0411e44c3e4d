"""Lightning's Trainer with bar, logger, summary and checkpoints off."""

import logging
import warnings
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from race.problems import LR, Problem
from race.trainers.torch_loops import CRITERIA, Order, network, weights

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=UserWarning, module="lightning")


class Module(lightning.LightningModule):
    """The network with its loss and Adam."""

    def __init__(self, model: Any, criterion: Any) -> None:
        super().__init__()
        self.model, self.criterion = model, criterion

    def training_step(self, batch: Any, index: int) -> Any:
        x, y = batch
        return self.criterion(self.model(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=LR)


class Lightning:
    """A new Trainer a run, made outside the clock."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.dataset = TensorDataset(torch.from_numpy(problem.x), torch.from_numpy(problem.y))

    def prepare(self, seed: int) -> None:
        spec = self.problem.spec
        self.module = Module(network(self.problem, seed), CRITERIA[spec.loss]())
        self.loader = DataLoader(self.dataset, spec.batch, sampler=Order(self.problem, seed))
        self.trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=spec.epochs,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )

    def train(self) -> None:
        self.trainer.fit(self.module, self.loader)

    def weights(self) -> list[tuple[Any, Any]]:
        return weights(self.module)
