"""What one ε leaves of a derivative that cancels, as people write it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.activations import sigmoid, softmax
from manual.numbers import Array

# What one ε of a leaves of f′ as people write it from a: 1 − a², a(1 − a), a + α lose all digits at a
# saturated neuron, and da is huge there where the loss divides by p(1 − p); 1 + erf and 1 + tanh cancel too.
LOST: dict[str, Callable[[Array, Array, Mapping[str, Any]], Array]] = {
    "sigmoid": lambda z, a, p: a,
    "tanh": lambda z, a, p: a * a,
    "softplus": lambda z, a, p: np.exp(-a),
    "elu": lambda z, a, p: np.where(z > 0, 0.0, np.asarray(p["alpha"])),
    "selu": lambda z, a, p: np.where(z > 0, 0.0, np.asarray(p["alpha"]) * p["scale"]),
    "gelu": lambda z, a, p: np.ones_like(z),
    "gelu_tanh": lambda z, a, p: 1 + np.abs(z) + np.abs(z) ** 3 / 9,
    "silu": lambda z, a, p: np.abs(a),
}


# The same of the loss's derivative where it is a difference
DIFFERENCES: dict[str, Callable[[Array, Array], Array]] = {
    "squared_error": lambda o, y: 2 * (np.abs(o) + np.abs(y)),
    "half_squared_error": lambda o, y: np.abs(o) + np.abs(y),
    "bce_with_logits": lambda o, y: sigmoid(o) + np.abs(y),
    "cross_entropy_from_logits": lambda o, y: softmax(o) + np.abs(y),
}
