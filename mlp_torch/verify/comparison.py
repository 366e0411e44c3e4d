"""Comparing: the hand-written backward pass and autograd on one network, weights and batch."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.catalogue import LOSSES
from manual.losses import Reduction
from manual.numbers import Array
from manual.structure.architecture import choose
from manual.training.batches import check_weights
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.config import TIERS
from mlp_torch.errors import UserError
from mlp_torch.model import MLP
from mlp_torch.steps import hand_written
from mlp_torch.trace import trace
from mlp_torch.verify.refusals import check_network, common_dtype
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.twin import compare_twin
from mlp_torch.verify.verdicts import compare_traces


def compare(
    model: MLP,
    x: Array | Tensor,
    y: Array | Tensor,
    *,
    loss: str,
    reduction: Reduction = "mean",
    tier: str = "certified",
    engine: str = "manual",
    weights: Array | Tensor | None = None,
    recipe: Recipe = PLAIN,
) -> ComparisonReport:
    """Judge the hand-written gradients of `model` against autograd's, stage by stage.

    `engine` is the hand-written step: the plain formulas of `manual`, or one of the fast steps of
    `mlp_torch.steps.STEPS`, by the very code that trains.

    x (N, in) and y as the loss takes it (see `manual.losses`; cross_entropy takes logits here, where
    `check_gradients` takes it over probabilities); both are cast to the model's dtype. `weights` (N,) say
    how much a sample counts, `recipe` which penalties are added (`manual.Recipe(l2=0.01)`). The model
    itself is run, hooks included, in the mode it is in; its `.grad`, buffers and the random state stay as
    they are. `tier` "certified" judges this very batch; "exact" judges the dyadic twin of the
    architecture, where no operation rounds and only bit-equality counts; "all" does both.

    Under torch.no_grad() and torch.inference_mode() it works as outside of them.

    Raises TypeError for a model that is no `mlp_torch.MLP`; UserError, a ValueError of one line that says
    what to do, for a network that the hand-written side cannot express (`refusals.py`: tied, frozen,
    parametrised, pruned or quantised weights, layers without a bias, rows it does not know, NaN or Inf in
    a weight, autocast) and for NaN or Inf in x; ValueError for a step that cannot do this, shapes that do
    not fit, labels out of range, a dtype other than float32 or float64.
    """
    if tier not in TIERS:
        raise ValueError(f"unknown tier {tier!r}: choose from {', '.join(TIERS)}")
    choose("reduction", reduction, ("mean", "sum"))
    with torch.inference_mode(False):
        x, y = check_batch(model, x, y, loss)
        w = None if weights is None else _array("weights", weights).astype(x.dtype)
        try:
            check_weights(w, len(x))
        except ValueError as error:
            raise UserError(str(error)) from None
        return _compare(model, x, y, w, loss, reduction, tier, engine, recipe)


def _compare(
    model: MLP,
    x: Array,
    y: Array,
    weights: Array | None,
    loss: str,
    reduction: Reduction,
    tier: str,
    engine: str,
    recipe: Recipe,
) -> ComparisonReport:
    def twin() -> tuple[ComparisonReport | None, str]:
        weighted = weights is not None
        return compare_twin(model, loss, len(x), reduction, engine, weighted=weighted, recipe=recipe)

    if tier == "exact":
        found, note = twin()
        if found is not None:
            return replace(found, twin_note=f"this is the dyadic twin: {note}")
        here = compare_here(model, x, y, loss, reduction, engine, weights, recipe)
        return replace(here, twin_note=f"{note}; the certificate judges")
    report = compare_here(model, x, y, loss, reduction, engine, weights, recipe)
    if tier == "certified":
        return report
    found, note = twin()
    return replace(report, twin=found, twin_note=note)


def _array(name: str, values: Any) -> Array:
    """A NumPy copy of an array or a tensor, of bfloat16 too, which NumPy lacks."""
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
        found = np.array(values)
    except (ValueError, TypeError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"{name} cannot be read ({why}): give a NumPy array or a dense tensor") from None
    if found.dtype.kind not in "biuf":
        raise UserError(f"{name} is {type(values).__name__} of {found.dtype}: give an array of real numbers")
    return found


def check_batch(model: MLP, x: Any, y: Any, loss: str) -> tuple[Array, Array]:
    """The batch as arrays in the model's dtype; errors as `compare` promises them."""
    if not isinstance(model, MLP):
        inside = [name for name in ("_orig_mod", "module") if isinstance(getattr(model, name, None), MLP)]
        hint = f": give it the .{inside[0]} of this" if inside else ""
        raise TypeError(f"compare takes an mlp_torch.MLP, got {type(model).__name__}{hint}")
    x_array, y_array = _array("x", x), _array("y", y)
    check_network(model)
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}: choose from {', '.join(LOSSES)}")
    numpy_dtype = np.float64 if common_dtype(model) == torch.float64 else np.float32
    with np.errstate(over="ignore"):  # a float64 beyond float32 is infinite, and named below
        x_array = x_array.astype(numpy_dtype)
        if not (LOSSES[loss].target == "label" and y_array.dtype.kind in "iu"):
            y_array = y_array.astype(numpy_dtype)
    inputs = model.architecture.sizes[0]
    if x_array.ndim != 2 or x_array.shape[1] != inputs:
        raise ValueError(f"x has shape {x_array.shape}; this network takes (N, {inputs})")
    if len(x_array) == 0:
        raise UserError("x holds no sample: give at least one")
    if len(x_array) == 1 and model.training and model.architecture.normalization == "batch_norm":
        raise UserError("x holds 1 sample, and batch_norm needs 2: give more, or call model.eval()")
    for name, array in (("x", x_array), ("y", y_array)):
        bad = np.argwhere(~np.isfinite(array)) if array.dtype.kind == "f" else np.empty((0, 1))
        if len(bad):
            index = tuple(int(i) for i in bad[0])
            raise UserError(f"{name}{list(index)} is {array[index]}: remove or replace it")
    return x_array, y_array


def compare_here(
    model: MLP,
    x: Array,
    y: Array,
    loss: str,
    reduction: Reduction,
    engine: str = "manual",
    weights: Array | None = None,
    recipe: Recipe = PLAIN,
) -> ComparisonReport:
    """Both engines on this very batch."""
    by_hand = hand_written(engine, model, loss, recipe)
    theirs = trace(model, x, y, loss, reduction=reduction, weights=weights, recipe=recipe)
    masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
    with np.errstate(all="ignore"):  # a pass that overflows is a verdict, not a warning
        ours = by_hand(x, y, reduction=reduction, masks=masks, weights=weights)
    return compare_traces(ours, theirs, (engine, "autograd"))
