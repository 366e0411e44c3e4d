"""The compiled engine beside the plain one, and what both are compared on."""

import copy
from typing import Any

from hypothesis import strategies as st

from manual import ACTIVATIONS, MLP, OPTIMIZERS
from manual.compiled import CompiledEngine
from manual.training.engine import ManualEngine
from manual.training.recipe import Recipe

# Every optimizer with each of its options; eps is not small, or Adam steps on the rounding of what cancels.
OPTIMIZER_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.01}),
    ("sgd", {"momentum": 0.9, "dampening": 0.3}),
    ("sgd", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("rmsprop", {"eps": 1e-3}),
    ("rmsprop", {"alpha": 0.9, "momentum": 0.7, "eps": 1e-3, "weight_decay": 0.1}),
    ("adagrad", {"eps": 1e-3}),
    ("adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-3}),
    ("adam", {"eps": 1e-3}),
    ("adam", {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("adamw", {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
]
# A few dozen steps of a few hundred roundings each, which the steps may add up but hardly magnify:
# 10⁴ · 2⁻⁵³ and 10³ · 2⁻²⁴ of the largest number.
CLOSE = {"float64": 1e-12, "float32": 1e-4}
rows = {
    "activation": st.sampled_from(list(ACTIVATIONS)),
    "output_activation": st.sampled_from(list(ACTIVATIONS)),
    "dropout": st.sampled_from([0.0, 0.4]),
    "negative_slope": st.sampled_from(["0.01", 0.3]),
}


def pair(
    model: MLP, loss: str, optimizer: str = "sgd", l1: float = 0.0, threads: int = 1, **options: Any
) -> tuple[ManualEngine, CompiledEngine]:
    """Both engines on copies of one network."""
    plain, ours = copy.deepcopy(model), copy.deepcopy(model)
    rule = OPTIMIZERS[optimizer]
    return (
        ManualEngine(plain, loss, rule(plain.parameters, 0.1, **options), Recipe(l1=l1)),
        CompiledEngine(ours, loss, rule(ours.parameters, 0.1, **options), Recipe(l1=l1), threads),
    )
