"""How good decisions are, by scikit-learn, in numbers and tables."""

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
