"""Class labels as a loss takes them."""

import numpy as np

from manual.numbers import Array


def check_labels(loss: str, output: Array, y: Array) -> None:
    """Raise ValueError unless y (N,) are whole numbers that name columns of the output (N, K)."""
    if y.shape != output.shape[:1]:
        raise ValueError(
            f"{loss}: y has shape {y.shape}; one class label a sample, "
            f"shape {output.shape[:1]}, is needed for an output of shape {output.shape}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{loss}: class labels must be integers, y is {y.dtype}")
    bad = np.flatnonzero((y < 0) | (y >= output.shape[1]))
    if bad.size:
        raise ValueError(
            f"{loss}: label {y[bad[0]]} in row {bad[0]} is out of range; "
            f"the output has {output.shape[1]} classes, 0 to {output.shape[1] - 1}"
        )
