"""The engines behind `mlp train`, one row of `ENGINES` each, and which of them `auto` takes.

All of them answer `manual.training.engine.Engine`, so the one loop of `manual.training.fit` drives each.
Their rooms are `manual.buffered`, `manual.compiled`, `mlp_torch.buffered` and `mlp_torch.autograd`; each
is imported when it is chosen, so that what needs no torch does not wait for it.
"""

import importlib.util
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

import manual
from manual.buffered import BufferedEngine
from manual.numbers import Array
from manual.structure.architecture import Architecture
from manual.training.engine import ManualEngine, Resumable
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.config import Train
from mlp_torch.costs import worth_compiling, worth_loading
from mlp_torch.distributed.group import current
from mlp_torch.errors import UserError
from mlp_torch.kernels import lacking
from mlp_torch.machine import check_memory, step_flops, step_threads
from mlp_torch.network import Network


class AnyEngine(Resumable, Protocol):
    """What `mlp train` needs of an engine beside the loop's needs.

    `model` is the live network, whose weights are those of the moment.
    """

    model: Any

    @property
    def gradients(self) -> Mapping[str, Array]:
        """The last step's gradients, by parameter."""


def manual_model(config: Network, architecture: Architecture) -> manual.MLP:
    """The network that the flags describe, in NumPy. Raises UserError if memory cannot hold it."""
    check_memory(architecture.counts().parameters)
    return manual.MLP(architecture.sizes, dtype=np.dtype(config.dtype), **config.model_options())


def _by_hand(config: Train, architecture: Architecture, loss: str) -> tuple[manual.MLP, str, Any, Recipe]:
    """What every engine on the NumPy network is made of: the network, loss, optimizer and recipe."""
    model = manual_model(config, architecture)
    options = config.optimizer_options()
    optimizer = manual.OPTIMIZERS[config.optimizer](model.parameters, config.lr, **options)
    return model, loss, optimizer, config.recipe()


def _manual(config: Train, architecture: Architecture, loss: str) -> Any:
    kind = ManualEngine if step_of(config, architecture, loss) == "manual" else BufferedEngine
    return kind(*_by_hand(config, architecture, loss))


def compiled(model: manual.MLP, loss: str, optimizer: Any, recipe: Recipe = PLAIN, *, batch_size: int) -> Any:
    """The compiled engine, with the threads that batches of that size are worth.

    Where its code is not on disk yet, stderr says what the wait is for.
    """
    from manual.compiled import CompiledEngine, prepare

    def waiting() -> None:
        print(f"compiling the {model.dtype} step, once for this machine …", file=sys.stderr, flush=True)

    prepare(model.dtype, waiting)
    return CompiledEngine(model, loss, optimizer, recipe, step_threads(model.architecture.sizes, batch_size))


def _compiled(config: Train, architecture: Architecture, loss: str) -> Any:
    return compiled(*_by_hand(config, architecture, loss), batch_size=config.batch_size)


def _module(config: Train, architecture: Architecture) -> Any:
    import torch

    from mlp_torch.model import to_torch

    torch.manual_seed(config.seed)
    return to_torch(manual_model(config, architecture)).to(config.device)


def _torch(config: Train, architecture: Architecture, loss: str) -> Any:
    from mlp_torch.buffered import TorchEngine

    options, precision = config.optimizer_options(), config.fp32_precision
    module = _module(config, architecture)
    return TorchEngine(module, loss, config.optimizer, options, config.recipe(), fp32_precision=precision)


def _autograd(config: Train, architecture: Architecture, loss: str) -> Any:
    from mlp_torch.autograd import AutogradEngine
    from mlp_torch.model import OPTIMIZERS, row_of

    module = _module(config, architecture)
    options: Any = config.optimizer_options()
    optimizer = row_of("optimizer", OPTIMIZERS, config.optimizer)(
        module.parameters(), lr=config.lr, **options
    )
    return AutogradEngine(module, loss, optimizer, config.recipe(), compiled=config.compile)


def _both(config: Train, architecture: Architecture, loss: str) -> Any:
    from mlp_torch.autograd import BothEngine

    plain = ManualEngine(*_by_hand(config, architecture, loss))
    return BothEngine(plain, _autograd(config, architecture, loss))


def _ddp(config: Train, architecture: Architecture, loss: str) -> Any:
    from mlp_torch.distributed.build import ddp

    return ddp(config, _module(config, architecture), loss)


def _torch_unsupported(config: Train, architecture: Architecture, loss: str) -> str | None:
    from mlp_torch.buffered import unsupported

    reason = unsupported(config.device, config.dtype, config.fp32_precision)
    return reason or lacking("torch", architecture, loss, config.optimizer)


def compiled_unsupported(architecture: Architecture, loss: str, optimizer: str | None = None) -> str | None:
    """Why the compiled step cannot train this network here, with the remedy."""
    if importlib.util.find_spec("numba") is None:
        return "it needs numba: python -m pip install -e '.[fast]'"
    from manual.compiled import unsupported

    return unsupported(architecture, loss=loss) or lacking("compiled", architecture, loss, optimizer)


def _compiled_unsupported(config: Train, architecture: Architecture, loss: str) -> str | None:
    if config.accumulate > 1:
        return "it updates after every batch, and --accumulate is for others; use --engine manual or torch"
    return compiled_unsupported(architecture, loss, config.optimizer)


def _autograd_unsupported(config: Train, architecture: Architecture, loss: str) -> str | None:
    if config.fp32_precision != "ieee":
        return "it rounds products as torch is set, and --fp32-precision is for others; use --engine torch"
    return None


def _ddp_unsupported(config: Train, architecture: Architecture, loss: str) -> str | None:
    from mlp_torch.distributed.build import unsupported

    return unsupported(config, architecture)


def _nothing(config: Train, architecture: Architecture, loss: str) -> str | None:
    return None


@dataclass(frozen=True)
class EngineEntry:
    """One engine of `mlp train`: how it is built; `step` names the hand-written step it is judged by.

    `computes` says in a newcomer's words who makes the gradients. `unsupported(config, architecture, loss)`
    says why it cannot do what the flags ask, or gives None.
    """

    build: Callable[[Train, Architecture, str], Any]
    computes: str
    step: str = "manual"
    unsupported: Callable[[Train, Architecture, str], str | None] = _nothing


ENGINES: dict[str, EngineEntry] = {
    "compiled": EngineEntry(
        _compiled,
        "gradients by formulas derived by hand, in machine code",
        "compiled",
        _compiled_unsupported,
    ),
    "torch": EngineEntry(
        _torch, "gradients by formulas derived by hand, on torch's kernels", "torch", _torch_unsupported
    ),
    "manual": EngineEntry(_manual, "gradients by formulas derived by hand, in NumPy", "buffered"),
    "autograd": EngineEntry(
        _autograd, "gradients by torch itself, the reference", unsupported=_autograd_unsupported
    ),
    "both": EngineEntry(_both, "gradients by hand and by torch itself, in lock-step"),
    "ddp": EngineEntry(
        _ddp, "gradients by torch itself, of a share of each batch a process", unsupported=_ddp_unsupported
    ),
}

# The fastest first, up to so much work a step: what stands around the products costs less and less beside
# them, until torch's own products decide. Measured by tests/benchmarks.
FASTEST: tuple[tuple[float, tuple[str, ...]], ...] = (
    (20e6, ("compiled", "manual", "torch")),
    (1e9, ("compiled", "torch", "manual")),
    (math.inf, ("torch", "compiled", "manual")),
)


def moves_by_formula(config: Train) -> str:
    """In words, where torch has no such optimizer and takes part: whose rule moves its weights."""
    if config.engine not in ("autograd", "both"):
        return ""
    from mlp_torch.by_formula import ByFormula
    from mlp_torch.model import OPTIMIZERS

    if getattr(OPTIMIZERS[config.optimizer], "func", None) is not ByFormula:
        return ""
    return (
        f"optimizer: torch has no {config.optimizer}; manual's formula moves the weights on torch's side too"
    )


def step_of(config: Train, architecture: Architecture, loss: str) -> str:
    """The hand-written step that the engine trains with: `manual`, which lacks no row, where its own does."""
    step = ENGINES[config.engine].step
    return step if lacking(step, architecture, loss, config.optimizer) is None else "manual"


def choose_engine(
    config: Train, architecture: Architecture, loss: str, device: str, steps: int, *, lasting: bool = False
) -> tuple[str, str]:
    """The engine that `auto` takes on that device, the fastest that can do what is asked, and in words why.

    The fastest from the start of a run of so many steps to its end. What would be faster
    and cannot be taken is said with its remedy.
    """
    work = step_flops(architecture.sizes, config.batch_size)
    order = next(names for most, names in FASTEST if work < most)
    if config.reproducible or current().size > 1:
        order = ("ddp",)
    elif device != "cpu" or config.fp32_precision != "ieee":
        order = ("torch", "autograd")
    passed_over: dict[str, str] = {}
    for name in order:
        if name == "compiled" and not lasting and (reason := worth_loading(config, architecture, steps)):
            passed_over[name] = f"{name} is left aside: {reason}"
            continue
        reason = ENGINES[name].unsupported(replace(config, device=device), architecture, loss)
        if reason is None and name == "compiled":
            reason = worth_compiling(config, architecture, steps)
        if reason is None:
            where = "" if device == "cpu" else f" on {device}"
            why = f"{ENGINES[name].computes}: the fastest here{where} for a network of this size"
            if name == "ddp":  # the only one
                why = f"{ENGINES[name].computes}, {current().size} in all"
            return name, "; ".join([why, *passed_over.values()])
        passed_over[name] = f"{name} would be faster, but {reason}"
    raise UserError(f"--engine auto: no engine can do this; {'; '.join(passed_over.values())}")


def build(config: Train, architecture: Architecture, loss: str) -> AnyEngine:
    """The engine that the flags describe, on `config.device`; every engine starts from the same weights.

    `config.batch_size` is at most the number of samples.
    Raises UserError where it cannot do what they ask.
    """
    row = ENGINES[config.engine]
    if current().size > 1 and config.engine != "ddp":
        there = f"it is of one process, and there are {current().size}"
        raise UserError(f"--engine {config.engine}: {there}; use --engine ddp")
    reason = row.unsupported(config, architecture, loss)
    if reason is not None:
        raise UserError(f"--engine {config.engine}: {reason}")
    engine: AnyEngine = row.build(config, architecture, loss)
    return engine
