"""The dyadic twin of an architecture, compared: what is not bit-equal there is wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from manual.losses import Reduction
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.model import MLP, to_torch
from mlp_torch.steps import hand_written
from mlp_torch.trace import trace
from mlp_torch.verify.bits import RefusedError
from mlp_torch.verify.dyadic import COEFFICIENT, Problem, problem
from mlp_torch.verify.kinds.activation.rows import SLOPE
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.row import ComparisonRow
from mlp_torch.verify.verdicts import compare_traces


def compare_problem(
    p: Problem, device: torch.device | None = None, engine: str = "manual"
) -> ComparisonReport:
    """A hand-written step against autograd on a dyadic problem: a row that is not bit-equal is wrong."""
    module = to_torch(p.model)
    module = module.to(device) if device is not None else module
    theirs = trace(module, p.x, p.y, p.loss, recipe=p.recipe, **p.options)
    by_hand = hand_written(engine, module, p.loss, p.recipe)
    ours = p.trace() if engine == "manual" else by_hand(p.x, p.y, **p.options)
    report = compare_traces(ours, theirs, (engine, "autograd"))

    def exactly(row: ComparisonRow) -> ComparisonRow:
        if row.name in p.ledger.inexact or row.verdict == "wrong":
            return row
        if row.equal == row.size:  # without rounding there is no doubt about a kink either
            return replace(row, verdict="exact", note="", units=())
        note = f"no operation rounds here, so bits that differ are a fault ({row.max_abs:.1e})"
        return replace(row, verdict="wrong", note=note)

    return replace(
        report,
        parameters={name: exactly(row) for name, row in report.parameters.items()},
        stages={name: exactly(row) for name, row in report.stages.items()},
        title="dyadic twin",
    )


def compare_twin(
    model: MLP,
    loss: str,
    n: int,
    reduction: Reduction,
    engine: str = "manual",
    *,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
) -> tuple[ComparisonReport | None, str]:
    """The dyadic twin of a model's architecture, compared; or None and why there is none."""
    weight = next(model.parameters())
    dtype = np.float64 if weight.dtype == torch.float64 else np.float32
    architecture = model.architecture
    if not model.training:
        architecture = replace(architecture, dropout=0.0)
    try:
        options: Any = {"reduction": reduction, "weighted": weighted, "recipe": recipe}
        twin = problem(architecture, loss, n, dtype=dtype, seed=0, **options)
    except RefusedError as refusal:
        return None, f"no dyadic twin: {refusal}"
    changes = ["weights and data are small integers over powers of two"]
    if len(twin.x) != n:
        changes.append(f"batch {n} → {len(twin.x)}")
    if twin.reduction != reduction:
        changes.append(f"reduction {reduction} → {twin.reduction}")
    if twin.model.architecture.dropout != architecture.dropout:
        changes.append(f"dropout {architecture.dropout} → 0.5")
    if twin.model.architecture.negative_slope != architecture.negative_slope:
        changes.append(f"slope of leaky_relu {architecture.negative_slope} → {SLOPE}")
    if weighted:
        changes.append("the samples weigh ½ and 3/2 in turn")
    if recipe.penalized:
        changes.append(f"the penalty's coefficient is {COEFFICIENT}")
    note = f"{'; '.join(changes)}; {twin.ledger.most} of {twin.ledger.precision} bits used"
    return compare_problem(twin, weight.device, engine), note
