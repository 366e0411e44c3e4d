"""The hand-written steps, one row of `STEPS` each: what `mlp train` may take and `mlp compare` judges.

All compute the same stages; they differ in where the arrays lie and who runs the loops. A row gives the
pass of its step on a module's weights, as a trace.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from manual.buffered import BufferedEngine
from manual.numbers import Array
from manual.optimizers import SGD
from manual.structure.architecture import Architecture
from manual.structure.trace import Trace
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.engines import compiled, compiled_unsupported
from mlp_torch.kernels import lacking
from mlp_torch.model import MLP, to_manual

# trace(x, y, masks=…, reduction=…, weights=…), as manual.MLP.trace without the loss
Pass = Callable[..., Trace]


@dataclass(frozen=True)
class StepEntry:
    """One row: `trace(module, loss, recipe)` gives its pass; `unsupported(architecture, loss)` says why it
    cannot, or None.
    """

    trace: Callable[[MLP, str, Recipe], Pass]
    unsupported: Callable[[Architecture, str], str | None] = lambda architecture, loss: None


def _plain(module: MLP, loss: str, recipe: Recipe) -> Pass:
    return partial(to_manual(module).trace, loss=loss, recipe=recipe)


def _buffered(module: MLP, loss: str, recipe: Recipe) -> Pass:
    model = to_manual(module)
    return BufferedEngine(model, loss, SGD(model.parameters), recipe).trace


def _compiled(module: MLP, loss: str, recipe: Recipe) -> Pass:
    def trace(x: Array, y: Array, **options: Any) -> Trace:
        model = to_manual(module)
        # with the threads that train
        engine = compiled(model, loss, SGD(model.parameters), recipe, batch_size=len(x))
        traced: Trace = engine.trace(x, y, **options)
        return traced

    return trace


def _torch(module: MLP, loss: str, recipe: Recipe) -> Pass:
    from mlp_torch.buffered import TorchEngine

    return TorchEngine(copy.deepcopy(module), loss, "sgd", {}, recipe).trace


STEPS: dict[str, StepEntry] = {
    "manual": StepEntry(_plain),
    "buffered": StepEntry(_buffered, partial(lacking, "buffered")),
    "compiled": StepEntry(_compiled, compiled_unsupported),
    "torch": StepEntry(_torch, partial(lacking, "torch")),
}


def hand_written(name: str, module: MLP, loss: str, recipe: Recipe = PLAIN) -> Pass:
    """The pass of that step on the module's weights; the module itself is left as it is.

    Raises ValueError where the step cannot, or where the module is in evaluation mode and the step,
    which only trains, is not the plain one.
    """
    if name not in STEPS:
        raise ValueError(f"unknown step {name!r}: choose from {', '.join(STEPS)}")
    reason = STEPS[name].unsupported(module.architecture, loss)
    if reason is None and name != "manual" and not module.training:
        reason = "it only trains, and the model is in evaluation mode: call model.train()"
    if reason is not None:
        raise ValueError(f"the {name} step: {reason}")
    return STEPS[name].trace(module, loss, recipe)
