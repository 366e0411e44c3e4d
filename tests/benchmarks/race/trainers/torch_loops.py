"""Loops in plain torch: the one of the tutorials, compiled or not, and a careful one with resident data."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from race.problems import LR, Problem

CRITERIA = {"cross_entropy": nn.CrossEntropyLoss, "bce_with_logits": nn.BCEWithLogitsLoss}


def network(problem: Problem, seed: int) -> nn.Sequential:
    """Linear and ReLU in turn, with the problem's first weights."""
    layers: list[nn.Module] = []
    for (fan_in, fan_out), (weight, bias) in zip(
        pairwise(problem.spec.sizes), problem.initial(seed), strict=True
    ):
        linear = nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def weights(model: nn.Module) -> list[tuple[Any, Any]]:
    """Weights and biases of every linear layer."""
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in linear]


class Order(Sampler[int]):
    """The problem's permutation, a new one each time it is asked for, as RandomSampler would."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed, self.epoch = problem, seed, 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        yield from self.problem.order(self.seed, self.epoch).tolist()

    def __len__(self) -> int:
        return len(self.problem.x)


class Usual:
    """DataLoader, Adam as it comes, and the loss read after every step."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.x, self.y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
        self.criterion = CRITERIA[problem.spec.loss]()

    def prepare(self, seed: int) -> None:
        self.seed = seed
        self.model = network(self.problem, seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR)
        dataset = TensorDataset(self.x, self.y)
        self.loader = DataLoader(dataset, self.problem.spec.batch, sampler=Order(self.problem, seed))

    def train(self) -> None:
        for _ in range(self.problem.spec.epochs):
            total = 0.0
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(x)

    def weights(self) -> list[tuple[Any, Any]]:
        return weights(self.model)


class Eager(Usual):
    """Rows by `index_select` from resident tensors, fused Adam, the loss left alone within an epoch."""

    def prepare(self, seed: int) -> None:
        self.seed = seed
        self.model = network(self.problem, seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR, fused=True)

    def train(self) -> None:
        spec = self.problem.spec
        for epoch in range(1, spec.epochs + 1):
            order = torch.from_numpy(self.problem.order(self.seed, epoch))
            total = torch.zeros(())
            for rows in order.split(spec.batch):
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(self.x.index_select(0, rows)), self.y.index_select(0, rows))
                loss.backward()
                self.optimizer.step()
                total += loss.detach() * len(rows)
            total.item()


class Compiled(Usual):
    """The usual loop with `torch.compile` of the model, once; a run sets its weights anew."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.plain = network(problem, 0)
        self.compiled = torch.compile(self.plain)

    def prepare(self, seed: int) -> None:
        super().prepare(seed)
        self.plain.load_state_dict(self.model.state_dict())
        self.model, self.optimizer = self.compiled, torch.optim.Adam(self.plain.parameters(), lr=LR)
