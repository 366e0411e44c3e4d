"""How good decisions are, by scikit-learn, in numbers, tables and pictures."""

import warnings
from typing import Any

import numpy as np
from sklearn import metrics as sk

from manual.numbers import Array


def classification(
    truth: Array, decision: Array, p: Array | None, classes: int, weights: Array | None = None
) -> dict[str, float]:
    """accuracy, balanced accuracy, and of probabilities (N, classes) log loss and area under the ROC curve.

    All are weighted by the samples' weights. The area is that of class 1 for two classes, else the mean of
    one against the rest; none where a class is not among the samples.
    """
    right = decision == truth
    found = {"accuracy": float(right.mean() if weights is None else np.average(right, weights=weights))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are not among the samples
        found["balanced_accuracy"] = float(sk.balanced_accuracy_score(truth, decision, sample_weight=weights))
    if p is not None:
        exact = p.astype(np.float64)
        exact /= exact.sum(axis=1, keepdims=True)
        found["log_loss"] = float(sk.log_loss(truth, exact, labels=np.arange(classes), sample_weight=weights))
        if len(np.unique(truth)) == classes:
            score = exact[:, 1] if classes == 2 else exact
            found["auc"] = float(sk.roc_auc_score(truth, score, multi_class="ovr", sample_weight=weights))
    return found


def confusion(truth: Array, decision: Array, classes: int) -> Array:
    """How many of class i (row) were taken for class j (column)."""
    return np.asarray(sk.confusion_matrix(truth, decision, labels=np.arange(classes)))


def table_of(matrix: Array, labels: list[str]) -> Any:
    """The confusion matrix for a terminal; of more than 20 classes the most frequent mistakes."""
    from rich.table import Table
    from rich.text import Text  # labels are shown as they stand, [brackets] too

    if len(labels) > 20:
        wrong = matrix - np.diag(np.diag(matrix))
        table = Table("most frequent mistakes", "taken for", "times", box=None, pad_edge=False)
        for at in np.argsort(wrong, axis=None)[::-1][:20]:
            i, j = divmod(int(at), len(labels))
            if wrong[i, j]:
                table.add_row(Text(labels[i]), Text(labels[j]), f"{wrong[i, j]:,}")
        return table
    table = Table(box=None, pad_edge=False)
    for label in ("truth ↓, taken for →", *labels):
        table.add_column(Text(label), justify="right")
    for label, row in zip(labels, matrix, strict=True):
        table.add_row(Text(label), *(f"{n:,}" if n else "·" for n in row))
    return table


def picture(truth: Array, found: Array, matrix: Array | None, labels: list[str], name: str) -> Any:
    """The confusion matrix, or predictions against the truth, as a figure."""
    from matplotlib.figure import Figure

    if matrix is None:
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot()
        ends = [min(truth.min(), found.min()), max(truth.max(), found.max())]
        axes.plot(ends, ends, color="0.6", linewidth=1)
        axes.scatter(truth, found, s=9, alpha=0.6)
        axes.set_xlabel(f"{name}, measured", parse_math=False)
        axes.set_ylabel(f"{name}, predicted", parse_math=False)
        return figure
    size = 2 + 0.45 * len(labels)
    figure = Figure(figsize=(max(4, size), max(3.6, size)), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=45 if max(map(len, labels)) > 3 else 0, parse_math=False)
    axes.set_yticks(ticks, labels, parse_math=False)
    axes.set_xlabel(f"{name}, predicted", parse_math=False)
    axes.set_ylabel(f"{name}, truth", parse_math=False)
    if len(labels) <= 20:
        for i in ticks:
            for j in ticks:
                if matrix[i, j]:
                    color = "white" if shares[i, j] > 0.5 else "black"
                    axes.text(j, i, f"{matrix[i, j]:,}", ha="center", va="center", color=color, fontsize=8)
    return figure
