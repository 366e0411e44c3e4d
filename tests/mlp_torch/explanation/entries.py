"""One entry of a random network's gradient, explained."""

import numpy as np

from mlp_torch.explanation.chain import Explanation, explain
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.problems import DTYPES, Problem

FIXED = Problem(5, (3, 7, 11, 2), seed=4)
EVERY_KIND = {"activation": "prelu", "normalization": "batch_norm", "dropout": 0.3}


def explained(problem, loss, parameter=None, choose=0, dtype="float64", **rows) -> Explanation:
    """One entry of a random network's gradient, explained; `choose` settles which where it is not named."""
    model = problem.model(DTYPES[dtype], **rows)
    x, y = problem.batch(loss, DTYPES[dtype])
    masks = model.draw_masks(len(x))
    ours = model.trace(x, y, loss, masks=masks)
    theirs = trace(to_torch(model), x, y, loss, masks=masks)
    names = list(model.parameters)
    parameter = parameter or names[choose % len(names)]
    shape = model.parameters[parameter].shape
    index = np.unravel_index(choose // len(names) % int(np.prod(shape)), shape)
    return explain(ours, theirs, parameter, tuple(int(i) for i in index), "a random network")
