"""`mlp compare`: both engines on one batch of real data, as tables or JSON."""

from typing import Any

import numpy as np
import torch

from manual.training.batches import first_batch
from manual.training.recipe import Recipe
from mlp_torch.config import Compare
from mlp_torch.data.loading import load
from mlp_torch.engines import manual_model
from mlp_torch.errors import UserError
from mlp_torch.machine import resolve_device, threads
from mlp_torch.model import to_torch
from mlp_torch.objective import prepared
from mlp_torch.pager import paged
from mlp_torch.steps import STEPS
from mlp_torch.terminal import Terminal
from mlp_torch.verify.comparison import compare
from mlp_torch.verify.report import STYLES, ComparisonReport

REMEDY = "use --dtype float64, or smaller numbers"


def run(config: Compare) -> int:
    """Compare as the flags say; 0 where nothing is wrong, 1 where something is proven wrong.

    The batch is the first that training with the same flags would take. Raises UserError for what the
    user can put right, and for numbers so large that a stage cannot be judged.
    """
    device = resolve_device(config.device, config.dtype)
    data = prepared(config, load(config, config.loss, seed=config.seed, dtype=np.dtype(config.dtype)))
    architecture = config.architecture(data.inputs, data.outputs)
    reason = STEPS[config.engine].unsupported(architecture, data.loss)
    if reason is not None:
        raise UserError(f"--engine {config.engine}: {reason}")
    train = data.train
    x, y, weights = first_batch(train.x, train.y, config.seed, config.batch_size, train.weights)
    if config.normalization == "batch_norm" and config.hidden and len(x) < 2:
        raise UserError("--batch-size 1: batch_norm needs at least 2 samples; use --batch-size 2")
    torch.manual_seed(config.seed)
    model = to_torch(manual_model(config, architecture)).to(device)
    with threads(architecture.sizes, len(x)):
        options: dict[str, Any] = {"weights": weights, "recipe": Recipe(config.l1, config.l2)}
        report = compare(model, x, y, loss=data.loss, tier=config.tier, engine=config.engine, **options)
        if config.plot is not None:
            from mlp_torch.verify.plot import draw, save_figure

            save_figure(draw(model, x, y, data.loss, engine=config.engine, **options), config.plot)
    if config.json:
        print(report.to_json())
    else:
        with paged(config):
            show(report)
        if config.plot is not None:
            Terminal().print(f"picture: {config.plot}", highlight=False, soft_wrap=True)
    if report.verdict != "wrong" and not report.passed and not report.apart:
        rows = [row for r in (report, report.twin) if r is not None for row in r.unjudged]
        names = ", ".join(row.name for row in rows)
        raise UserError(f"nothing is proven wrong, and not judged: {names} ({rows[0].unjudged()}); {REMEDY}")
    return 0 if report.passed else 1


def show(report: ComparisonReport) -> None:
    """The summary, then the tables; in colour on a terminal."""
    console = Terminal()
    if console.is_terminal:
        console.print(report.summary(), style=STYLES[report.verdict], highlight=False, soft_wrap=True)
        console.print(report.table())
    else:
        print(report)
