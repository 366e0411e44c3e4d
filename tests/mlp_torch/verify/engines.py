"""Both engines on one model, batch and dropout mask."""

import numpy as np
import torch

from manual import MLP
from manual.losses import Reduction
from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from manual.structure.trace import Trace
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.mlp_torch.verify.edges import TRUE_ACTIVATIONS, TRUE_LOSSES
from tests.problems import DTYPES, Problem


def engines(
    model: MLP, x: Array, y: Array, loss: str, reduction: Reduction = "mean", seed: int = 0
) -> tuple[Trace, Trace]:
    """The manual trace and autograd's, on one model, batch and dropout mask."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = trace(to_torch(model), x, y, loss, reduction=reduction)
    masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
    with np.errstate(all="ignore"):
        return model.trace(x, y, loss, reduction=reduction, masks=masks), theirs


def drawn(seed: int) -> tuple[tuple[MLP, Array, Array, str, Reduction], str]:
    """A random network and batch, any row of any table, ordinary or ill-scaled; and what it is."""
    rng = np.random.default_rng([20, seed])
    dtype, loss = DTYPES[str(rng.choice([*DTYPES]))], str(rng.choice(TRUE_LOSSES))
    sizes = tuple(int(v) for v in rng.integers(1, 6, rng.integers(2, 4)))
    if loss == "multi_margin" and sizes[-1] == 1:  # torch: one class has no margin
        sizes = (*sizes[:-1], 2)
    rows = {
        "activation": TRUE_ACTIVATIONS[seed % len(TRUE_ACTIVATIONS)],
        "output_activation": str(rng.choice(["identity", "identity", *TRUE_ACTIVATIONS])),
        "normalization": NORMALIZATIONS[seed // 14 % 3],
        "dropout": float(rng.choice([0, 0.25, 0.5])),
    }
    p = Problem(int(rng.integers(2, 6)), sizes, int(rng.integers(2**31)))
    model = p.model(dtype, **rows)
    model.training = bool(rng.integers(2))
    x, y = p.batch(loss, dtype, loss == "cross_entropy" and rng.random() < 0.3)
    reduction: Reduction = "mean" if rng.integers(2) else "sum"
    if rng.random() < 0.3:  # ill-scaled: nearly constant features, saturated units, cancelling sums
        weight, bias, size = (
            10.0 ** rng.integers(-4, 5),
            10.0 ** rng.integers(0, 5),
            10.0 ** rng.integers(-8, 5),
        )
        for name, value in model.parameters.items():
            if name.startswith("layers"):
                scaled = value * weight if name.endswith("weight") else value + bias
                model.parameters[name] = scaled.astype(dtype)
        x = (x * size).astype(dtype)
    text = f"seed {seed}: {p} {rows} {loss} {reduction} {dtype.__name__} training {model.training}"
    return (model, x, y, loss, reduction), text
