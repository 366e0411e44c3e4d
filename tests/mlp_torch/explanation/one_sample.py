"""One entry of a small network's gradient, explained on one sample."""

import numpy as np

from manual import MLP
from mlp_torch.explanation.chain import Explanation, explain
from mlp_torch.model import to_torch
from mlp_torch.trace import trace


def explained(
    model: MLP, parameter="layers.0.weight", index=(0, 0), x=(0.7, -0.4), dropped=False
) -> Explanation:
    x, y = np.array([x]), np.array([[1.0]])
    masks = {"mask1": np.zeros((1, 3)), "mask2": np.ones((1, 2))} if dropped else model.draw_masks(1)
    ours = model.trace(x, y, "bce_with_logits", masks=masks)
    theirs = trace(to_torch(model), x, y, "bce_with_logits", masks=masks)
    return explain(ours, theirs, parameter, index, "one sample")


def network(activation="tanh", **rows) -> MLP:
    return MLP((2, 3, 2, 1), activation=activation, seed=1, **rows)
