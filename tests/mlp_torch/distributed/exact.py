"""What each of N processes does to dyadic problems: the shares' gradients against the plain formulas', by ==.

Run by `test_exact`, in every rank; a line a problem that differs.
"""

import numpy as np
import torch

from manual.structure.architecture import Architecture
from manual.training.recipe import Recipe
from mlp_torch.distributed.engine import DDPEngine
from mlp_torch.distributed.group import join, leave
from mlp_torch.model import to_torch
from mlp_torch.verify.dyadic import problem
from mlp_torch.verify.ledger import RefusedError

# One row a kind: sizes, activation, loss, samples.
ROWS = [
    ((3, 5, 2), "relu", "mse", 8),
    ((4, 3, 3, 1), "hardtanh", "half_squared_error", 16),
    ((5, 7, 1), "leaky_relu", "hinge", 32),
    ((2, 3, 4), "sigmoid", "cross_entropy", 8),
    ((3, 4, 1), "tanh", "bce_with_logits", 16),
]


def main() -> int:
    """How many problems differ in a bit, on this rank."""
    group, wrong, proved = join(30, "cpu"), 0, 0
    for number, (sizes, activation, loss, n) in enumerate(ROWS):
        for weighted in (False, True):
            for dtype in (np.float32, np.float64):
                architecture = Architecture(sizes, activation, dropout=0.5 * (number % 2))
                recipe = Recipe(l2=0.25 * (number % 2))
                options = {"dtype": dtype, "seed": number, "weighted": weighted, "recipe": recipe}
                try:
                    made = problem(architecture, loss, n, **options)
                except RefusedError:
                    continue
                if made.reduction != "mean":
                    continue
                proved += 1
                wrong += sum(
                    differs(made, group, tree) for tree in (False, True) if not tree or group.size != 3
                )
    print(proved, wrong)
    leave()
    return wrong


def differs(made, group, tree) -> bool:
    """Whether an entry of a gradient does."""
    module = to_torch(made.model)
    engine = DDPEngine(
        module, made.loss, torch.optim.SGD(module.parameters(), lr=0.5), made.recipe,
        group=group, reproducible=tree,
    )  # fmt: skip
    engine.gradient(made.x, made.y, made.masks, made.weights)
    expected = {s.parameter: made.trace()[s.name] for s in made.trace() if s.parameter is not None}
    return any(not np.array_equal(engine.gradients[name], value) for name, value in expected.items())
