"""The engines behind `mlp train`, one row of `ENGINES` each, and which of them `auto` takes.

All of them answer `manual.training.Engine`, so the one loop of `manual.training.fit` drives each. Here
are autograd, and autograd in lock-step with the plain hand-written gradient; the fast ones have rooms of
their own: `manual.buffered`, `manual.compiled` and `mlp_torch.buffered`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

import manual
from manual.architecture import Architecture
from manual.buffered import BufferedEngine
from manual.losses import LOSSES as MANUAL_LOSSES
from manual.numbers import Array
from manual.training import Engine, ManualEngine, Stepwise
from mlp_torch.config import Network, Train
from mlp_torch.errors import UserError
from mlp_torch.machine import check_memory, step_flops
from mlp_torch.model import LOSSES, MLP, OPTIMIZERS, Dropout, load_arrays, state_arrays, to_torch
from mlp_torch.steps import compiled_unsupported


class AnyEngine(Engine, Protocol):
    """What `mlp train` needs of an engine beside the loop's needs.

    `model` is the live network, whose weights are those of the moment.
    """

    model: Any

    @property
    def gradients(self) -> Mapping[str, Array]:
        """The last step's gradients, by parameter."""


class AutogradEngine(Stepwise):
    """The nn.Module with torch's gradient and optimizer; `l1` adds λ Σ|W| over the weights."""

    def __init__(self, model: MLP, loss: str, optimizer: torch.optim.Optimizer, l1: float = 0.0) -> None:
        self.model, self.loss, self.optimizer, self.l1 = model, loss, optimizer, l1
        self.weights = [p for n, p in model.named_parameters() if n.startswith("layers.") and p.ndim == 2]
        self.device = self.weights[0].device

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> float:
        """One step on a batch; `masks` gives the dropout masks as in `manual.MLP.trace`."""
        self.model.train()
        for i, dropout in enumerate(self.model.dropouts, start=1):
            assert isinstance(dropout, Dropout)
            dropout.next_mask = None if masks is None else self._tensor(masks[f"mask{i}"])
        output = self.model(self._tensor(x))
        MANUAL_LOSSES[self.loss].check(output.detach(), y)
        loss = LOSSES[self.loss](output, self._tensor(y))
        if self.l1:
            for weight in self.weights:
                loss = loss + self.l1 * weight.abs().sum()
        self.optimizer.zero_grad()
        loss.backward()
        value = float(loss.detach())
        if np.isfinite(value):
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        return value

    @property
    def gradients(self) -> dict[str, Array]:
        """The last step's gradients, by parameter."""
        return {n: p.grad.cpu().numpy() for n, p in self.model.named_parameters() if p.grad is not None}

    def predict(self, x: Array) -> Array:
        """The output (N, out) in evaluation mode; the module's mode is left as it was."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                output: Array = self.model(self._tensor(x)).cpu().numpy()
            return output
        finally:
            self.model.train(training)

    def parameters(self) -> dict[str, Array]:
        """A copy of the parameters and buffers, by `state_dict` name."""
        return state_arrays(self.model)

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Write such a copy back, bit for bit."""
        load_arrays(self.model, parameters)

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


class BothEngine(Stepwise):
    """Autograd and the manual engine in lock-step: same weights, batches and dropout masks.

    Each trains on its own gradients; nothing brings them together again. `parameter_gaps` and
    `gradient_gaps` hold, by name, the largest ‖manual − autograd‖ / ‖autograd‖ of the steps since
    `reset_gaps`. What is predicted and kept is autograd's.
    """

    def __init__(self, by_hand: ManualEngine, autograd: AutogradEngine) -> None:
        self.by_hand, self.autograd, self.model = by_hand, autograd, autograd.model
        self.reset_gaps()

    def reset_gaps(self) -> None:
        """Forget the gaps so far."""
        self.parameter_gaps: dict[str, float] = {}
        self.gradient_gaps: dict[str, float] = {}

    def step(self, x: Array, y: Array, lr: float) -> float:
        """One step of each on the same batch; autograd's loss, or the manual one if it is not finite."""
        masks = self.by_hand.model.draw_masks(len(x))
        loss = self.autograd.step(x, y, lr, masks)
        by_hand = self.by_hand.step(x, y, lr, masks)
        _widen(self.gradient_gaps, self.by_hand.gradients, self.autograd.gradients)
        _widen(self.parameter_gaps, self.by_hand.parameters(), self.autograd.parameters())
        return loss if np.isfinite(by_hand) else by_hand

    @property
    def gradients(self) -> dict[str, Array]:
        """Autograd's gradients of the last step."""
        return self.autograd.gradients

    def predict(self, x: Array) -> Array:
        """Autograd's output in evaluation mode."""
        return self.autograd.predict(x)

    def parameters(self) -> dict[str, Array]:
        """Autograd's parameters and buffers."""
        return self.autograd.parameters()

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Give both the same weights."""
        self.by_hand.load(parameters)
        self.autograd.load(parameters)


def _widen(gaps: dict[str, float], ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> None:
    for name, reference in theirs.items():
        gaps[name] = max(gaps.get(name, 0.0), gap(ours[name], reference))


def gap(ours: Array, reference: Array) -> float:
    """‖ours − reference‖ / ‖reference‖ in float64; 0 where both are 0, inf where only the latter is."""
    wide = reference.astype(np.float64)
    difference, norm = np.linalg.norm(ours - wide), np.linalg.norm(wide)
    if difference == 0:
        return 0.0
    return float(difference / norm) if norm > 0 else float("inf")


def manual_model(config: Network, architecture: Architecture) -> manual.MLP:
    """The network that the flags describe, in NumPy. Raises UserError if memory cannot hold it."""
    check_memory(architecture.counts().parameters)
    return manual.MLP(architecture.sizes, dtype=np.dtype(config.dtype), **config.model_options())


def by_hand(kind: Callable[..., Any]) -> Callable[..., Any]:
    """A builder of an engine on the NumPy network."""

    def build(config: Train, architecture: Architecture, loss: str) -> Any:
        model = manual_model(config, architecture)
        options = config.optimizer_options()
        optimizer = manual.OPTIMIZERS[config.optimizer](model.parameters, config.lr, **options)
        return kind(model, loss, optimizer, config.l1)

    return build


def _compiled(*arguments: Any) -> Any:
    from manual.compiled import CompiledEngine

    return CompiledEngine(*arguments)


def _module(config: Train, architecture: Architecture) -> MLP:
    torch.manual_seed(config.seed)
    return to_torch(manual_model(config, architecture)).to(config.device)


def _torch(config: Train, architecture: Architecture, loss: str) -> Any:
    from mlp_torch.buffered import TorchEngine

    options, precision = config.optimizer_options(), config.fp32_precision
    module = _module(config, architecture)
    return TorchEngine(module, loss, config.optimizer, options, config.l1, fp32_precision=precision)


def _autograd(config: Train, architecture: Architecture, loss: str) -> AutogradEngine:
    module = _module(config, architecture)
    options: Any = config.optimizer_options()
    optimizer = OPTIMIZERS[config.optimizer](module.parameters(), lr=config.lr, **options)
    return AutogradEngine(module, loss, optimizer, config.l1)


def _both(config: Train, architecture: Architecture, loss: str) -> BothEngine:
    plain = by_hand(ManualEngine)(config, architecture, loss)
    return BothEngine(plain, _autograd(config, architecture, loss))


def _torch_unsupported(config: Train, architecture: Architecture) -> str | None:
    from mlp_torch.buffered import unsupported

    return unsupported(config.device, config.fp32_precision)


def _compiled_unsupported(config: Train, architecture: Architecture) -> str | None:
    return compiled_unsupported(architecture)


def _nothing(config: Train, architecture: Architecture) -> str | None:
    return None


@dataclass(frozen=True)
class Row:
    """One engine of `mlp train`: how it is built; `step` names the hand-written step it is judged by.

    `unsupported(config, architecture)` says why it cannot do what the flags ask, or gives None.
    """

    build: Callable[[Train, Architecture, str], Any]
    step: str = "manual"
    unsupported: Callable[[Train, Architecture], str | None] = _nothing


ENGINES: dict[str, Row] = {
    "compiled": Row(by_hand(_compiled), "compiled", _compiled_unsupported),
    "torch": Row(_torch, "torch", _torch_unsupported),
    "manual": Row(by_hand(BufferedEngine), "buffered"),
    "autograd": Row(_autograd),
    "both": Row(_both),
}

# Below this work a step the loops around the products cost more than the products, and compiled ones
# win; above, torch's kernels on all cores do.
COMPILED_STEP_FLOPS = 60e6


def choose_engine(config: Train, architecture: Architecture, device: str) -> tuple[str, str]:
    """The engine that `auto` takes on that device, and why: the fastest that can do what is asked."""
    work = step_flops(architecture.sizes, config.batch_size)
    order = ["compiled", "manual"] if work < COMPILED_STEP_FLOPS else ["torch", "manual"]
    if device != "cpu" or config.fp32_precision != "ieee":
        order = ["torch", "autograd"]
    passed_over: list[str] = []
    for name in order:
        reason = ENGINES[name].unsupported(replace(config, device=device), architecture)
        if reason is None:
            why = f"the fastest here for steps of {work / 1e6:.3g} MFLOP on the {device}"
            return name, "; ".join([why, *passed_over])
        passed_over.append(f"not {name}: {reason}")
    raise UserError(f"--engine auto: no engine can do this; {'; '.join(passed_over)}")


def build(config: Train, architecture: Architecture, loss: str) -> AnyEngine:
    """The engine that the flags describe, on `config.device`; every engine starts from the same weights.

    Raises UserError where it cannot do what they ask.
    """
    row = ENGINES[config.engine]
    reason = row.unsupported(config, architecture)
    if reason is not None:
        raise UserError(f"--engine {config.engine}: {reason}")
    engine: AnyEngine = row.build(config, architecture, loss)
    return engine
