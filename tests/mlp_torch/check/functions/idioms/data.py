"""What the forward passes read, and the two lines that many of them begin and end with."""

import numpy as np

r = np.random.default_rng(1)
X, LABELS, Y = r.normal(size=(5, 4)), np.array([0, 2, 1, 1, 0]), r.normal(size=(5, 3))
MASK = r.random((5, 3)) < 0.5
SCALE = 1.7


def logits(W, b):
    return X @ W + b


def as_number(v):  # what the program stands for is float(v); complex step wants v
    return v if np.iscomplexobj(v) else float(v)
