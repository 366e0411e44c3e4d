"""`mlp evaluate`: the metrics of a run on the samples it was to be tested on, or on a table."""

import json
from typing import Any

import numpy as np

from manual.losses import LOSSES
from manual.numbers import Array
from mlp_torch import artifact
from mlp_torch.config import Train
from mlp_torch.data.loading import load
from mlp_torch.data.splits import code, decide
from mlp_torch.errors import UserError
from mlp_torch.inference import metrics
from mlp_torch.inference.config import Evaluate
from mlp_torch.inference.engine import flags, predictor
from mlp_torch.inference.loaded import has_probabilities, probabilities
from mlp_torch.tables.kinds import require_column
from mlp_torch.tables.table import read_table
from mlp_torch.terminal import Terminal

WORDS = {
    "samples": "samples", "loss": "loss", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss", "auc": "area under the ROC curve", "r2": "R²", "mae": "mean absolute error",
    "rmse": "root mean squared error",
}  # fmt: skip


def run(config: Evaluate) -> int:
    """Evaluate as the flags say; 0. Raises UserError for what the user can put right."""
    loaded, arrays = artifact.read(config.run)
    settings = flags(loaded, str(config.run))
    predict = predictor(loaded, arrays, str(config.run))
    if config.data is None:
        where, (output, y, truth) = _held_back(settings, loaded, predict, config)
    else:
        where, (output, y, truth) = _of_table(loaded, predict, config)
    found, matrix, decision = _measured(loaded, output, y, truth)
    target = loaded.target
    labels = [str(c) for c in target.classes]
    if config.plot is not None:
        from mlp_torch.verify.plot import save_figure

        real = (target.decode(truth), target.decode(decision)) if not labels else (truth, decision)
        save_figure(metrics.picture(*real, matrix, labels, target.name), config.plot)
    if config.json:
        extra = {} if matrix is None else {"classes": labels, "confusion_matrix": matrix.tolist()}
        print(json.dumps({"run": str(config.run), "epoch": loaded.epoch, "data": where, **found, **extra}))
        return 0
    console = Terminal()
    console.print(
        f"{config.run}, the weights of epoch {loaded.epoch}, on {where}:", highlight=False, soft_wrap=True
    )
    for name, value in found.items():
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        unit = f" (in units of {target.name})" if name in ("mae", "rmse") else ""
        unit = f" ({loaded.loss})" if name == "loss" else unit
        console.print(f"  {WORDS[name]} {text}{unit}", highlight=False)
    if matrix is not None:
        console.print(metrics.table_of(matrix, labels))
    if config.plot is not None:
        console.print(f"picture: {config.plot}", highlight=False, soft_wrap=True)
    return 0


Outputs = tuple[Array, Array, Array]  # output (N, out), y as the loss takes it, class indices or coded reals


def _held_back(
    settings: Train, loaded: artifact.Artifact, predict: Any, config: Evaluate
) -> tuple[str, Outputs]:  # fmt: skip
    """The run's own test samples, by its own split."""
    try:
        settings.check()
        data = load(settings, loaded.loss, seed=settings.seed, dtype=np.dtype(loaded.dtype))
    except UserError as error:
        raise UserError(f"{config.run}: its data cannot be read again: {error}; give --data FILE") from None
    if data.fingerprint != loaded.fingerprint:
        raise UserError(
            f"{config.run}: {settings.data} has changed since; give --data FILE to evaluate on another table"
        )
    parts = data.test.x.slices() if not isinstance(data.test.x, np.ndarray) else [None]
    outputs = [predict(data.test.x if p is None else data.test.x.rows(p.start, p.stop)) for p in parts]
    truth = data.test.labels if data.test.labels is not None else data.test.y[:, 0]
    n = len(data.test)
    where = f"{n:,} {data.dataset.sample} it never saw" if data.held_out else f"the {n} it was trained on"
    return where, (np.concatenate(outputs), data.test.y, truth)


def _of_table(loaded: artifact.Artifact, predict: Any, config: Evaluate) -> tuple[str, Outputs]:
    """Every row of a table that has the target."""
    assert config.data is not None
    where = str(config.data)
    table = read_table(config.data)
    for name in (*loaded.preprocessing.feature_names, loaded.target.name):
        require_column(where, f"--data {where}:", name, table.names)
    truth = loaded.target.encode(table.column(loaded.target.name), where)
    y, _ = code(truth, len(loaded.target.classes), loaded.loss, np.dtype(loaded.dtype), where)
    outputs, first = [], 0
    for chunk in table.chunks():
        x = loaded.preprocessing.transform(chunk, where, first=first, dtype=np.dtype(loaded.dtype))
        outputs.append(predict(x))
        first += len(chunk)
    return f"{len(table):,} rows of {where}", (np.concatenate(outputs), y, truth)


def _measured(
    loaded: artifact.Artifact, output: Array, y: Array, truth: Array
) -> tuple[dict[str, Any], Array | None, Array]:  # fmt: skip
    """(the metrics, the confusion matrix of classes, the decisions)."""
    found: dict[str, Any] = {"samples": len(output), "loss": float(LOSSES[loaded.loss].value(output, y))}
    target = loaded.target
    if not target.classes:
        decision = output[:, 0].astype(np.float64)
        return found | metrics.regression(target.decode(truth), target.decode(decision)), None, decision
    decision = decide(output, loaded.loss)
    p = probabilities(output, loaded) if has_probabilities(loaded) else None
    found |= metrics.classification(truth, decision, p, len(target.classes))
    return found, metrics.confusion(truth, decision, len(target.classes)), decision
