"""`mlp evaluate`: the metrics of a run on the samples it was to be tested on, or on a table."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.catalogue import LOSSES
from manual.numbers import Array
from mlp_torch import artifact
from mlp_torch.config import Train
from mlp_torch.data.loading import load
from mlp_torch.data.splits import Split, code, decide
from mlp_torch.errors import UserError
from mlp_torch.inference import metrics
from mlp_torch.inference.config import Evaluate
from mlp_torch.inference.engine import flags, predictor
from mlp_torch.inference.loaded import finite, has_probabilities, probabilities
from mlp_torch.objective import prepared
from mlp_torch.tables.kinds import require_column
from mlp_torch.tables.table import read_table
from mlp_torch.terminal import Terminal, counted
from mlp_torch.training.outcome import regression

WORDS = {
    "samples": "samples", "loss": "loss", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss", "auc": "area under the ROC curve", "r2": "R²", "mae": "mean absolute error",
    "rmse": "root mean squared error",
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """The network's output (N, out) on a split, and the loss there."""

    where: str
    output: Array
    split: Split
    loss: float


def run(config: Evaluate) -> int:
    """Evaluate as the flags say; 0. Raises UserError for what the user can put right."""
    loaded, arrays = artifact.read(config.run)
    settings = flags(loaded, str(config.run))
    predict = predictor(loaded, arrays, str(config.run))
    judged = (
        _held_back(settings, loaded, predict, config)
        if config.data is None
        else _of_table(loaded, predict, config)
    )
    found, matrix, decision = _measured(loaded, judged)
    target = loaded.target
    labels = [str(c) for c in target.classes]
    if config.plot is not None:
        from mlp_torch.board.pictures import mistakes
        from mlp_torch.board.pictures.confusion import confusion
        from mlp_torch.verify.plot import save_figure

        if matrix is not None:
            figure = confusion(matrix, labels, target.name)
        else:
            truth = target.decode(judged.split.y[:, 0])
            figure = mistakes.regression(truth, target.decode(decision), target.name)
        save_figure(figure, config.plot)
    if config.json:
        extra = {} if matrix is None else {"classes": labels, "confusion_matrix": matrix.tolist()}
        print(
            json.dumps(
                {"run": str(config.run), "epoch": loaded.epoch, "data": judged.where, **found, **extra}
            )
        )
        return 0
    console = Terminal()
    title = f"{config.run}, the weights of epoch {loaded.epoch}, on {judged.where}:"
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    for name, value in found.items():
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        unit = f" (in units of {target.name})" if name in ("mae", "rmse") else ""
        unit = f" ({loaded.loss})" if name == "loss" else unit
        console.print(f"  {WORDS[name]} {text}{unit}", highlight=False, markup=False)
    if matrix is not None:
        console.print(metrics.table_of(matrix, labels))
    if config.plot is not None:
        console.print(f"picture: {config.plot}", highlight=False, markup=False, soft_wrap=True)
    return 0


Predict = Callable[[Array], Array]


def _held_back(settings: Train, loaded: artifact.Artifact, predict: Predict, config: Evaluate) -> Judged:
    """The run's own test samples, by its own split."""
    try:
        settings.check()
        dtype = np.dtype(loaded.dtype)
        data = prepared(settings, load(settings, loaded.loss, seed=settings.seed, dtype=dtype))
    except UserError as error:
        raise UserError(f"{config.run}: its data cannot be read again: {error}; give --data FILE") from None
    if data.fingerprint != loaded.fingerprint:
        raise UserError(
            f"{config.run}: {settings.data} has changed since; give --data FILE to evaluate on another table"
        )
    outputs: list[Array] = []

    def kept(x: Array) -> Array:
        outputs.append(predict(x))
        return outputs[-1]

    loss, _ = data.evaluate(kept, data.test)
    samples = counted(len(data.test), data.dataset.sample)
    where = f"{samples} it never saw" if data.held_out else f"the {samples} it was trained on"
    return Judged(where, np.concatenate(outputs), data.test, loss)


def _of_table(loaded: artifact.Artifact, predict: Predict, config: Evaluate) -> Judged:
    """Every row of a table that has the target, each as much as any other."""
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
        outputs.append(finite(predict(x), where, first))
        first += len(chunk)
    output = np.concatenate(outputs)
    split = Split(None, y, truth if loaded.target.classes else None)
    loss = float(LOSSES[loaded.loss].value(output, y))
    return Judged(f"{counted(len(table), 'rows')} of {where}", output, split, loss)


def _measured(loaded: artifact.Artifact, judged: Judged) -> tuple[dict[str, Any], Array | None, Array]:
    """(the metrics, weighted as the samples are; the confusion matrix of classes; the decisions)."""
    output, split, target = judged.output, judged.split, loaded.target
    found: dict[str, Any] = {"samples": len(output), "loss": judged.loss}
    if split.labels is None:
        r2, mae = regression(output, split, target.scale)
        decision = output[:, 0].astype(np.float64)
        gap = (decision - split.y[:, 0]) * target.scale
        rmse = float(np.sqrt(np.average(gap * gap, weights=split.weights)))
        return found | ({} if r2 is None else {"r2": r2}) | {"mae": mae, "rmse": rmse}, None, decision
    decision, classes = decide(output, loaded.loss), len(target.classes)
    p = probabilities(output, loaded) if has_probabilities(loaded) else None
    found |= metrics.classification(split.labels, decision, p, classes, split.weights)
    return found, metrics.confusion(split.labels, decision, classes), decision
