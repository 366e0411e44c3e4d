"""The engines of torch.autograd: the reference, and the reference in lock-step with the plain formulas."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from manual.catalogue import LOSSES as MANUAL_LOSSES
from manual.numbers import Array
from manual.training.engine import ManualEngine, State, Stepwise
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.errors import UserError
from mlp_torch.model import MLP, Dropout, generators, loss_value, penalty, set_generators
from mlp_torch.module_engine import ModuleEngine


class AutogradEngine(ModuleEngine, Stepwise):
    """The nn.Module with torch's gradient, clipping and optimizer, by a recipe (`manual.training.recipe`).

    With `compiled`, training passes go through torch.compile, which needs a C++ compiler.
    """

    def __init__(
        self,
        model: MLP,
        loss: str,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe = PLAIN,
        *,
        compiled: bool = False,
    ) -> None:
        self.forward: Callable[..., Any] = torch.compile(model) if compiled else model
        self.model, self.loss, self.optimizer, self.recipe = model, loss, optimizer, recipe
        first = next(model.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.waiting = False  # whether gradients of earlier batches wait for their update

    def step(
        self,
        x: Array,
        y: Array,
        lr: float,
        masks: Mapping[str, Array] | None = None,
        weights: Array | None = None,
        batches: int = 1,
    ) -> float:
        """As `Stepwise.step`; `masks` gives the dropout masks as in `manual.MLP.trace`."""
        self.model.train()
        for i, dropout in enumerate(self.model.dropouts, start=1):
            assert isinstance(dropout, Dropout)
            dropout.next_mask = None if masks is None else self._tensor(masks[f"mask{i}"])
        try:
            output = self.forward(self._tensor(x))
        except torch._dynamo.exc.TorchDynamoException as error:
            why = str(error).strip().splitlines()[0]
            raise UserError(f"--compile: torch.compile cannot ({why}); leave the flag out") from None
        MANUAL_LOSSES[self.loss].check(output.detach(), y)
        w = None if weights is None else self._tensor(weights).to(self.dtype)
        loss = loss_value(self.loss, output, self._tensor(y), weights=w)
        if self.recipe.penalized:
            loss = loss + penalty(self.model, self.recipe)
        if not self.waiting:
            self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        value = float(loss.detach())
        self.waiting = not batches
        if batches and np.isfinite(value):
            self._clip(batches)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        return value

    def _clip(self, batches: int) -> None:
        """The mean over the batches, clipped as torch clips."""
        parameters = list(self.model.parameters())
        if batches > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad /= batches
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        if self.recipe.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.recipe.clip_value)

    @property
    def gradients(self) -> dict[str, Array]:
        """The last step's gradients, by parameter."""
        return {n: p.grad.cpu().numpy() for n, p in self.model.named_parameters() if p.grad is not None}

    def outputs(self, x: Array) -> torch.Tensor:
        with torch.no_grad():
            output: torch.Tensor = self.model(self._tensor(x))
        return output

    def state(self) -> State:
        """As `manual.training.engine.Resumable` says."""
        kept = self.optimizer.state_dict()["state"]
        arrays = {f"parameters/{n}": v for n, v in self.parameters().items()}
        arrays |= {
            f"moments/{i}/{kind}": value.detach().cpu().numpy().copy()
            for i, kinds in kept.items()
            for kind, value in kinds.items()
            if value is not None
        }
        return State(arrays | generators(self.device), {})

    def resume(self, state: State) -> None:
        """As `manual.training.engine.Resumable` says."""
        self.load(state.of("parameters"))
        self.take_moments(state)
        set_generators(state.of("generator"), self.device)

    def take_moments(self, state: State) -> None:
        """The optimizer's part of such a copy, into its place."""
        kept: dict[int, dict[str, Any]] = {}
        for path, value in state.of("moments").items():
            i, _, kind = path.partition("/")
            kept.setdefault(int(i), {})[kind] = torch.from_numpy(value.copy())
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": kept})

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
        self.recipe = autograd.recipe
        self.reset_gaps()

    def reset_gaps(self) -> None:
        """Forget the gaps so far."""
        self.parameter_gaps: dict[str, float] = {}
        self.gradient_gaps: dict[str, float] = {}

    def step(self, x: Array, y: Array, lr: float, **options: Any) -> float:
        """One step of each on the same batch; autograd's loss, or the manual one if it is not finite."""
        masks = self.by_hand.model.draw_masks(len(x))
        loss = self.autograd.step(x, y, lr, masks, **options)
        by_hand = self.by_hand.step(x, y, lr, masks, **options)
        if options.get("batches") == 0:  # the gradients wait, and no weight has moved
            return loss if np.isfinite(by_hand) else by_hand
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

    def state(self) -> State:
        """Both engines', and the largest gaps so far."""
        sides = {"by_hand": self.by_hand.state(), "autograd": self.autograd.state()}
        arrays = {f"{side}/{name}": a for side, state in sides.items() for name, a in state.arrays.items()}
        gaps = {"parameter_gaps": self.parameter_gaps, "gradient_gaps": self.gradient_gaps}
        return State(arrays, {side: state.numbers for side, state in sides.items()} | gaps)

    def resume(self, state: State) -> None:
        """As `manual.training.engine.Resumable` says."""
        self.by_hand.resume(State(state.of("by_hand"), state.numbers["by_hand"]))
        self.autograd.resume(State(state.of("autograd"), state.numbers["autograd"]))
        self.parameter_gaps = dict(state.numbers["parameter_gaps"])
        self.gradient_gaps = dict(state.numbers["gradient_gaps"])


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
