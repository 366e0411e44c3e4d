"""Autograd's trace: the stages of the manual chain rule, filled with what torch computed.

The very model is run, hooks included: forward hooks collect each submodule's output, `retain_grad`
its gradient. The model's `.grad`, buffers and the random state are left as they were found.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manual.catalogue import LOSSES as MANUAL_LOSSES
from manual.chain import backward_stages, forward_stages
from manual.losses import Reduction
from manual.network import targets
from manual.numbers import Array
from manual.structure.architecture import choose, symbol
from manual.structure.trace import Stage, Trace
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.errors import UserError
from mlp_torch.model import MLP, Dropout, loss_value, penalty, state_arrays


def stages_of(
    model: MLP, loss: str, reduction: Reduction, weighted: bool = False, recipe: Recipe = PLAIN
) -> list[Stage]:
    """The chain rule of this module: the same rows as the manual network's."""
    choose("loss", loss, MANUAL_LOSSES)
    arguments = (model.architecture, loss, reduction, model.training, weighted, recipe)
    return forward_stages(*arguments) + backward_stages(*arguments)


def to_array(value: Tensor) -> Array:
    """A NumPy copy, with the bits as they are."""
    return value.detach().cpu().numpy().copy()


def to_tensor(value: Array, device: torch.device) -> Tensor:
    """A copy on the device, with the bits as they are."""
    return torch.from_numpy(np.array(value)).to(device)


def _judged(name: str, value: Any, dtype: torch.dtype) -> Tensor:
    """The value, where it is a tensor in the network's own dtype that autograd knows."""
    if not isinstance(value, Tensor):
        raise UserError(f"{name} is a {type(value).__name__}, where a tensor is needed")
    if value.dtype != dtype:
        raise UserError(f"{name} is {value.dtype} in a network of {dtype}: leave autocast and casts out")
    if not value.requires_grad:
        raise UserError(f"{name} is detached: autograd has no gradient behind it")
    return value


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Restore every `.grad`, buffer and the random state when the block ends, however it ends."""
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = [(b, b.clone()) for b in model.buffers()]
    state = torch.get_rng_state()
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    cuda = {d: torch.cuda.get_rng_state(d) for d in devices}
    for p, _ in gradients:
        p.grad = None
    try:
        yield
    finally:
        for p, gradient in gradients:
            p.grad = gradient
        with torch.no_grad():
            for buffer, saved in buffers:
                buffer.copy_(saved)
        torch.set_rng_state(state)
        for d, saved in cuda.items():
            torch.cuda.set_rng_state(saved, d)


def _names(model: MLP) -> dict[nn.Module, str]:
    """The stage that each submodule's output is."""
    lists = {"z": model.layers, "n": model.normalizations, "a": model.activations}
    if model.training:
        lists["h"] = model.dropouts
    return {
        module: f"{letter}{i}"
        for letter, modules in lists.items()
        for i, module in enumerate(modules, start=1)
    }


def trace(
    model: MLP,
    x: Array,
    y: Array,
    loss: str,
    *,
    reduction: Reduction = "mean",
    masks: Mapping[str, Array] | None = None,
    weights: Array | None = None,
    recipe: Recipe = PLAIN,
) -> Trace:
    """One forward and backward pass of `model` by autograd, under the manual stages' names.

    x (N, in) and y as the loss takes it, NumPy arrays in the model's dtype; `masks`, `weights` and
    `recipe` as in `manual.MLP.trace`; without masks, dropout draws from torch's generator. Raises
    ValueError where shapes do not fit, UserError where the forward pass leaves a module out, uses one
    twice, detaches a value or casts one.
    """
    stages = stages_of(model, loss, reduction, weights is not None, recipe)
    weight = next(model.parameters())
    device, dtype = weight.device, weight.dtype
    found: dict[str, Tensor] = {}
    handles = []

    def collect(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if name in found:
                raise UserError(f"{name} is computed twice in one pass: each use needs a module of its own")
            found[name] = _judged(name, output, dtype)
            output.retain_grad()

        return hook

    with as_found(model), torch.enable_grad():
        try:
            for module, name in _names(model).items():
                handles.append(module.register_forward_hook(collect(name)))
            for i, dropout in enumerate(model.dropouts, start=1):
                assert isinstance(dropout, Dropout)
                dropout.next_mask = to_tensor(masks[f"mask{i}"], device) if masks else None
            found["x"] = to_tensor(x, device).requires_grad_()
            target = to_tensor(y, device)
            output = _judged("the network's output", model(found["x"]), dtype)
            for module, name in _names(model).items():
                if name not in found:
                    raise UserError(f"{name} was not computed: the network's forward leaves {module} out")
            MANUAL_LOSSES[loss].check(to_array(output), np.asarray(y))
            w = None if weights is None else to_tensor(weights, device).to(dtype)
            value = loss_value(loss, output, target, reduction, w)
            value.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            plain = {n: to_array(p.grad) for n, p in model.named_parameters() if p.grad is not None}
            objective = value.detach()
            if recipe.penalized:  # a pass of its own, so that the loss's gradients are seen alone
                added = penalty(model, recipe)
                added.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
                objective = objective + added.detach()
        finally:
            for handle in handles:
                handle.remove()
            for dropout in model.dropouts:  # a pass that failed leaves no mask for the next one
                assert isinstance(dropout, Dropout)
                dropout.next_mask = None
        gradients = {n: to_array(p.grad) for n, p in model.named_parameters() if p.grad is not None}
        values: dict[str, Any] = {"loss": to_array(value)[()], "objective": to_array(objective)[()]}
        for stage in stages:
            if stage.name in found:
                values[stage.name] = to_array(found[stage.name])
            elif stage.name not in values:
                values[stage.name] = _gradient(stage, found, plain, gradients)
        leaves = {"x": to_array(found["x"])}
        leaves |= {symbol(name): array for name, array in state_arrays(model).items()}
        if model.training:
            for i, dropout in enumerate(model.dropouts, start=1):
                assert isinstance(dropout, Dropout)
                assert dropout.mask is not None
                leaves[f"mask{i}"] = to_array(dropout.mask)
    return Trace(stages, leaves | targets(y, weights, values["z1"].dtype), values)


def _gradient(
    stage: Stage, found: Mapping[str, Tensor], plain: Mapping[str, Array], whole: Mapping[str, Array]
) -> Array:
    """What a stage of the backward pass is: the gradient of a parameter, without or with the penalty's, or of
    a value on the way.
    """
    alone = f"layers.{stage.layer - 1}.weight" if stage.kind == "linear_backward_weight" else None
    parameter, gradients = (alone, plain) if alone else (stage.parameter, whole)
    if parameter is not None:
        if parameter in gradients:
            return gradients[parameter]
    else:
        tensor = found[f"a{stage.layer}" if stage.name == "dloss" else stage.name[1:]].grad
        if tensor is not None:
            return to_array(tensor)
    raise UserError(f"autograd found no gradient for {stage.name}: is it detached?")
