"""Comparing: the hand-written backward pass and autograd on one network, weights and batch."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.losses import LOSSES, Reduction
from manual.numbers import Array
from mlp_torch.model import MLP
from mlp_torch.steps import hand_written
from mlp_torch.trace import trace
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.twin import compare_twin
from mlp_torch.verify.verdicts import compare_traces

TIERS = ("all", "exact", "certified")


def compare(
    model: MLP,
    x: Array | Tensor,
    y: Array | Tensor,
    *,
    loss: str,
    reduction: Reduction = "mean",
    tier: str = "certified",
    engine: str = "manual",
) -> ComparisonReport:
    """Judge the hand-written gradients of `model` against autograd's, stage by stage.

    `engine` is the hand-written step: the plain formulas of `manual`, or one of the fast steps of
    `mlp_torch.steps.STEPS`, by the very code that trains.

    x (N, in) and y as the loss takes it (see `manual.losses`; cross_entropy takes logits here, where
    `check_gradients` takes it over probabilities); both are cast to the model's dtype. The
    model itself is run, hooks included, in the mode it is in; its `.grad`, buffers and the random state
    stay as they are. `tier` "certified" judges this very batch; "exact" judges the dyadic twin of the
    architecture, where no operation rounds and only bit-equality counts; "all" does both.

    Raises TypeError for a model that is no `mlp_torch.MLP`, ValueError for a step that cannot do this,
    shapes that do not fit, labels out of range, a dtype other than float32 or float64, NaN or Inf in x.
    """
    if tier not in TIERS:
        raise ValueError(f"unknown tier {tier!r}: choose from {', '.join(TIERS)}")
    x, y = check_batch(model, x, y, loss)
    if tier == "exact":
        twin, note = compare_twin(model, loss, len(x), reduction, engine)
        if twin is not None:
            return replace(twin, twin_note=f"this is the dyadic twin: {note}")
        here = compare_here(model, x, y, loss, reduction, engine)
        return replace(here, twin_note=f"{note}; the certificate judges")
    report = compare_here(model, x, y, loss, reduction, engine)
    if tier == "certified":
        return report
    twin, note = compare_twin(model, loss, len(x), reduction, engine)
    return replace(report, twin=twin, twin_note=note)


def _array(values: Any) -> Array:
    """A NumPy copy of an array or a tensor, of bfloat16 too, which NumPy lacks."""
    if not isinstance(values, Tensor):
        return np.array(values)
    values = values.detach().cpu()
    return np.array((values.float() if values.dtype == torch.bfloat16 else values).numpy())


def check_batch(model: MLP, x: Any, y: Any, loss: str) -> tuple[Array, Array]:
    """The batch as arrays in the model's dtype; errors as `compare` promises them."""
    if not isinstance(model, MLP):
        raise TypeError(f"compare takes an mlp_torch.MLP, got {type(model).__name__}")
    dtype = model.layers[0].weight.dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the model is {dtype}; gradients are judged in float32 or float64")
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}: choose from {', '.join(LOSSES)}")
    numpy_dtype = np.float64 if dtype == torch.float64 else np.float32
    with np.errstate(over="ignore"):  # a float64 beyond float32 is infinite, and named below
        x_array = _array(x).astype(numpy_dtype)
    y_array = _array(y)
    if not (LOSSES[loss].target == "label" and np.issubdtype(y_array.dtype, np.integer)):
        y_array = y_array.astype(numpy_dtype)
    inputs = model.architecture.sizes[0]
    if x_array.ndim != 2 or x_array.shape[1] != inputs:
        raise ValueError(f"x has shape {x_array.shape}; this network takes (N, {inputs})")
    if len(x_array) == 0:
        raise ValueError("x holds no sample")
    for name, array in (("x", x_array), ("y", y_array)):
        bad = np.argwhere(~np.isfinite(array)) if array.dtype.kind == "f" else np.empty((0, 1))
        if len(bad):
            index = tuple(int(i) for i in bad[0])
            raise ValueError(f"{name}{list(index)} is {array[index]}: remove or replace it")
    return x_array, y_array


def compare_here(
    model: MLP, x: Array, y: Array, loss: str, reduction: Reduction, engine: str = "manual"
) -> ComparisonReport:
    """Both engines on this very batch."""
    by_hand = hand_written(engine, model, loss)
    theirs = trace(model, x, y, loss, reduction=reduction)
    masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
    ours = by_hand(x, y, reduction=reduction, masks=masks)
    return compare_traces(ours, theirs, (engine, "autograd"))
