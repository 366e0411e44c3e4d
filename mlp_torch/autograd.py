"""The engines of torch.autograd: the reference, and the reference in lock-step with the plain formulas."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from manual.losses import LOSSES as MANUAL_LOSSES
from manual.numbers import Array
from manual.training import ManualEngine, Stepwise
from mlp_torch.errors import UserError
from mlp_torch.model import LOSSES, MLP, Dropout, load_arrays, state_arrays


class AutogradEngine(Stepwise):
    """The nn.Module with torch's gradient and optimizer; `l1` adds λ Σ|W| over the weights.

    With `compiled`, training passes go through torch.compile, which needs a C++ compiler.
    """

    def __init__(
        self,
        model: MLP,
        loss: str,
        optimizer: torch.optim.Optimizer,
        l1: float = 0.0,
        *,
        compiled: bool = False,
    ) -> None:
        self.forward: Callable[..., Any] = torch.compile(model) if compiled else model
        self.model, self.loss, self.optimizer, self.l1 = model, loss, optimizer, l1
        self.weights = [p for n, p in model.named_parameters() if n.startswith("layers.") and p.ndim == 2]
        self.device = self.weights[0].device

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> float:
        """One step on a batch; `masks` gives the dropout masks as in `manual.MLP.trace`."""
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
