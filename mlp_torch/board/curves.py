"""How decisions move with their threshold: precision and recall for TensorBoard's PR Curves, and the ROC.

precision = TP / (TP + FP), recall = true positive rate = TP / P, false positive rate = FP / N. Every curve
is scikit-learn's, one class against the rest; each sample counts as much as its weight.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as sk
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.pr_curve import metadata

from manual.numbers import Array
from mlp_torch.board.pictures.style import COLOURS, GREY, LABEL, LINE, SMALL, TITLE, place, sheet, shown

THRESHOLDS = 201  # TensorBoard's own number
MOST = 10  # classes that have a curve
STYLES = ("-", "--", ":")


Samples = tuple[Array, Array, Array]


def weighing(truth: Array, scores: Array, weights: Array | None) -> Samples:
    """(truth, scores, weights) of the samples that weigh something and whose scores are numbers."""
    used = np.ones(len(truth)) if weights is None else np.asarray(weights, dtype=np.float64)
    rows = (used > 0) & np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
    return truth[rows], scores[rows], used[rows]


def compared(truth: Array, classes: int) -> list[int]:
    """The classes that have a curve: class 1 of two, the ten most frequent of more, where there are others.

    They follow from the truth (N,) alone, so that they are the same in every epoch.
    """
    counts = np.bincount(truth, minlength=classes)
    there = [k for k in range(classes) if 0 < counts[k] < len(truth)]
    if classes == 2:
        return [k for k in there if k == 1]
    return sorted(sorted(there, key=lambda k: -counts[k])[:MOST])


def pr_curves(truth: Array, p: Array, labels: Sequence[object], weights: Array | None = None) -> Any:
    """A summary with a curve a class, tags `pr/LABEL`; empty where there is one class alone.

    truth (N,) are indices, p (N, K) probabilities, weights (N,). The plugin has thresholds i / 200.
    """
    truth, p, used = weighing(truth, p, weights)
    chosen = compared(truth, len(labels))
    return Summary(value=[_value(labels[k], pr_curve(truth == k, p[:, k], used)) for k in chosen])


def pr_curve(positive: Array, p: Array, weights: Array, thresholds: int = THRESHOLDS) -> Array:
    """TP, FP, TN, FN, precision and recall (6, thresholds) of the decision p ≥ i / (thresholds − 1).

    A curve of scikit-learn's has a point for every p that occurs; the one that holds at a threshold is that
    of the least p which is not below it. The plugin cuts counts off to whole numbers, so they are in units
    of the least weight where that is below 1.
    """
    used = weights / min(1.0, float(weights.min()))
    at = np.linspace(0, 1, thresholds).astype(p.dtype)
    precision, recall, rising = sk.precision_recall_curve(positive, p, sample_weight=used)
    here = np.searchsorted(rising, at)
    fpr, tpr, falling = sk.roc_curve(positive, p, sample_weight=used, drop_intermediate=False)
    there = np.maximum(len(falling) - 1 - np.searchsorted(falling[::-1], at), 0)
    p_, n_ = float(used[positive].sum()), float(used[~positive].sum())
    tp, fp = tpr[there] * p_, fpr[there] * n_
    return np.stack([tp, fp, n_ - fp, p_ - tp, precision[here], recall[here]])


def _value(label: object, curve: Array) -> Any:
    """The curve as the plugin keeps it: the six rows as one float32 tensor."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in curve.shape])
    content = curve.astype("<f4").tobytes()
    kind = metadata.create_summary_metadata(
        display_name=f"{label} against the rest",
        description="Precision (up) against recall (across) of the decision p ≥ 0, 0.005, … 1, one class "
        "against the rest. The left end is the recall of the highest threshold that a sample reaches.",
        num_thresholds=curve.shape[1],
    )
    tensor = TensorProto(dtype="DT_FLOAT", tensor_shape=shape, tensor_content=content)
    return Summary.Value(tag=f"pr/{label}", metadata=kind, tensor=tensor)


def roc(truth: Array, scores: Array, labels: Sequence[object], weights: Array | None = None) -> Figure:
    """The ROC curves of at most ten classes, each against the rest, with the areas under them.

    truth (N,) are indices, scores (N, K) larger where the class is likelier: probabilities or outputs.
    """
    truth, scores, used = weighing(truth, scores, weights)
    figure = sheet(6.4)
    axes = place(figure, 0.15, 0.13, 0.8, 0.78)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=LINE)
    areas: list[float] = []
    for i, k in enumerate(compared(truth, len(labels))):
        fpr, tpr, _ = sk.roc_curve(truth == k, scores[:, k], sample_weight=used)
        areas.append(sk.auc(fpr, tpr))
        axes.plot(
            fpr, tpr, STYLES[i // len(COLOURS)], color=COLOURS[i % len(COLOURS)], linewidth=2.5,
            label=f"{shown(labels[k])}: {areas[-1]:.3f}",
        )  # fmt: skip
    mean = "mean area" if len(areas) > 1 else "area"
    said = f"ROC, {mean} {np.mean(areas):.4f}" if areas else "One class alone: no curve"
    axes.set_title(said, fontsize=TITLE)
    axes.set_xlabel("false positive rate", fontsize=LABEL)
    axes.set_ylabel("true positive rate", fontsize=LABEL)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.tick_params(labelsize=SMALL)
    if areas:
        legend = axes.legend(loc="lower right", fontsize=LABEL, ncols=1 if len(areas) <= 5 else 2)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure
