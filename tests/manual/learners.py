"""A learner of either engine in one line, and the problem and rules that tests of the buffered one share."""

from typing import Any

from manual import MLP, OPTIMIZERS
from manual.training.recipe import Recipe
from tests.problems import Problem

PROBLEM = Problem(11, (3, 7, 5, 2), 0)
RULES: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2},
        {"momentum": 0.8, "nesterov": True},
    ],
    "rmsprop": [{}, {"momentum": 0.7, "weight_decay": 1e-2}],
    "adagrad": [{"lr_decay": 0.1}, {"weight_decay": 1e-2}],
    "adam": [{}, {"betas": (0.7, 0.95), "weight_decay": 1e-2}],
    "adamw": [{}, {"weight_decay": 0.1}],
    "lion": [{}, {"weight_decay": 0.1}],
}


def engine(kind: Any, model: MLP, loss: str, optimizer: str = "sgd", l1: float = 0.0, **options: Any) -> Any:
    return kind(model, loss, OPTIMIZERS[optimizer](model.parameters, **options), Recipe(l1=l1))
