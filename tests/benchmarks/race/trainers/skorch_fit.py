"""skorch's NeuralNet without a validation split, a log or callbacks."""

from typing import Any

import torch
from skorch import NeuralNet

from race.problems import LR, Problem
from race.trainers.torch_loops import CRITERIA, Order, network, weights


class Skorch:
    """`partial_fit` of an initialized net, so that the first weights can be given."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def prepare(self, seed: int) -> None:
        spec = self.problem.spec
        self.net = NeuralNet(
            network(self.problem, seed),
            CRITERIA[spec.loss],
            optimizer=torch.optim.Adam,
            lr=LR,
            max_epochs=spec.epochs,
            batch_size=spec.batch,
            train_split=None,
            callbacks="disable",
            verbose=0,
            iterator_train__sampler=Order(self.problem, seed),
        ).initialize()

    def train(self) -> None:
        self.net.partial_fit(self.problem.x, self.problem.y)

    def weights(self) -> list[tuple[Any, Any]]:
        return weights(self.net.module_)
