"""The confusion matrix: what is right in blue, what is wrong in vermilion, each row as shares of its sum."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from manual.numbers import Array
from mlp_torch.board.pictures.style import LABEL, RIGHT, SMALL, TITLE, WRONG, every, place, sheet, shown

NUMBERED = 10  # classes whose cells carry their number
LABELLED = 20  # classes on an axis that carry their name
FOOTER = 76  # characters of the line below


def confusion(matrix: Array, labels: Sequence[object], name: str) -> Figure:
    """How many of class i (row) were taken for class j (column), (K, K), as a figure.

    The colour is the root of the share of the row, so that a few mistakes among many are seen. Of more
    than 20 classes not every one is named; the most frequent mistakes are said below.
    """
    counts = np.asarray(matrix)
    k, total = len(labels), int(counts.sum())
    shares = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    right = np.eye(k, dtype=bool)
    words = [shown(label, 12 if k <= NUMBERED else 8) for label in labels]
    long = max(map(len, words)) > 2 or k > NUMBERED
    figure = sheet(6.4)
    axes = place(figure, *((0.23, 0.22, 0.7, 0.7) if long else (0.13, 0.12, 0.8, 0.8)))
    for colours, hidden in ((RIGHT, ~right), (WRONG, right)):
        axes.imshow(np.ma.array(shares, mask=hidden), cmap=colours, vmin=0, vmax=1)
    axes.set_title(f"{int(np.trace(counts)):,} of {total:,} right" if total else "no samples", fontsize=TITLE)
    ticks = every(k, LABELLED)
    size = LABEL if k <= NUMBERED else SMALL
    named = [words[i] for i in ticks]
    axes.set_xticks(ticks, named, fontsize=size, rotation=90 if long else 0, parse_math=False)
    axes.set_yticks(ticks, named, fontsize=size, parse_math=False)
    axes.set_xlabel(f"{shown(name, 24)}, predicted", fontsize=LABEL, parse_math=False)
    axes.set_ylabel(f"{shown(name, 24)}, truth", fontsize=LABEL, parse_math=False)
    if k <= NUMBERED:
        for i, j in np.argwhere(counts):
            text, white = f"{counts[i, j]:,}", shares[i, j] > 0.8
            size = min(22, 340 // k // len(text))
            axes.text(j, i, text, ha="center", va="center", color="w" if white else "k", fontsize=size)
    else:
        figure.text(0.5, 0.015, _most(counts, labels), ha="center", fontsize=SMALL, parse_math=False)
    return figure


def _most(counts: Array, labels: Sequence[object]) -> str:
    """The most frequent mistakes, as many as there is room for."""
    wrong = np.where(np.eye(len(labels), dtype=bool), 0, counts)
    said = "most often:"
    for at in np.argsort(-wrong, axis=None, kind="stable")[:3]:
        i, j = divmod(int(at), len(labels))
        more = f" {shown(labels[i])} for {shown(labels[j])} {wrong[i, j]:,}×;"
        if wrong[i, j] and len(said + more) <= FOOTER:
            said += more
    return said.rstrip(";") if wrong.any() else "no mistakes"
