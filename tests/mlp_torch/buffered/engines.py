"""The torch engine beside autograd's on one problem: same weights, data, options and random state."""

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.autograd import AutogradEngine
from mlp_torch.buffered import TorchEngine
from mlp_torch.model import MLP, OPTIMIZERS, to_torch
from tests.problems import Problem

# Every option of every optimizer, somewhere.
RULES: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2}),
    ("sgd", {"momentum": 0.8, "nesterov": True}),
    ("rmsprop", {}),
    ("rmsprop", {"momentum": 0.5, "alpha": 0.9, "eps": 1e-6, "weight_decay": 1e-2}),
    ("adagrad", {}),
    ("adagrad", {"lr_decay": 0.1, "eps": 1e-6, "weight_decay": 1e-2}),
    ("adam", {}),
    ("adam", {"betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 1e-2}),
    ("adamw", {}),
    ("adamw", {"betas": (0.8, 0.9), "weight_decay": 0.1}),
]

NETWORKS = st.fixed_dictionaries(
    {"normalization": st.sampled_from(NORMALIZATIONS), "dropout": st.sampled_from([0.0, 0.4])}
)


def module(problem: Problem, dtype: Any = np.float64, **rows: Any) -> MLP:
    """The problem's network as a module of its own."""
    return to_torch(problem.model(dtype, **rows))


def both(
    problem: Problem, loss: str, rule: tuple[str, dict[str, Any]], dtype: Any = np.float64, **more: Any
) -> tuple[TorchEngine, AutogradEngine]:
    """The two engines with the same weights."""
    recipe = more.pop("recipe", PLAIN)
    ours, theirs = module(problem, dtype, **more), module(problem, dtype, **more)
    optimizer = OPTIMIZERS[rule[0]](theirs.parameters(), lr=1.0, **rule[1])
    return TorchEngine(ours, loss, *rule, recipe), AutogradEngine(theirs, loss, optimizer, recipe)


def masks(problem: Problem, dropout: float, dtype: Any = np.float64) -> dict[str, Array]:
    """A drawn dropout mask for each hidden layer."""
    rng = problem.generator()
    return {
        f"mask{i}": ((rng.random((problem.n, size)) >= dropout) / (1 - dropout)).astype(dtype)
        for i, size in enumerate(problem.sizes[1:-1], start=1)
        if dropout > 0
    }


def far_apart(ours: TorchEngine, theirs: AutogradEngine, rtol: float) -> list[str]:
    """The gradients and parameters that differ by more than `rtol` of their norm.

    A bias before batch_norm has gradient 0 in truth: what it is given is rounding, and where it goes
    the running mean follows. Both are left out there.
    """
    found = []
    for kind in ("gradients", "parameters"):
        a, b = (getattr(e, kind) for e in (ours, theirs))
        a, b = (v if isinstance(v, dict) else v() for v in (a, b))
        assert list(a) == list(b)
        for name in a:
            part, index, last = name.split(".")
            normalized = ours.model.architecture.normalization == "batch_norm"
            hidden = int(index) + 1 < ours.model.architecture.depth
            if normalized and hidden and ((part == "layers" and last == "bias") or last == "running_mean"):
                continue
            if not np.linalg.norm(a[name] - b[name]) <= rtol * np.linalg.norm(b[name]) + 1e-14:
                found.append(f"{kind} {name}")
    return found


def seeded(seed: int, engine: Any, *epochs: Any) -> list[Array]:
    """The losses of some epochs, with torch's generator started at that seed."""
    torch.manual_seed(seed)
    return [engine.epoch(*epoch) for epoch in epochs]


WIDE = Problem(0, (7, 13, 11, 3), seed=1)


def data(n: int, seed: int = 0) -> tuple[Array, Array]:
    """x (n, 7) and labels of WIDE's three classes."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (n, 7)).astype(np.float32), rng.integers(0, 3, n)


def engine(rule: Any = ("adam", {}), **more: Any) -> TorchEngine:
    """The torch engine on WIDE in float32."""
    return TorchEngine(module(WIDE, np.float32, **more), "cross_entropy", *rule, Recipe(l1=1e-4))


def train(trained: TorchEngine, x: Any, y: Any, epochs: int = 3, batch_size: int = 5) -> list[Any]:
    """Epochs at falling rates from one seed; the losses of each."""
    torch.manual_seed(1)
    rates = np.linspace(1e-2, 1e-3, -(-len(x) // batch_size))
    order = [np.random.default_rng(e).permutation(len(x)) for e in range(epochs)]
    return [trained.epoch(x, y, o, batch_size, rates) for o in order]
