"""Networks as strangers write them, drawn at random: formulas of their own, all in columns.

Everything here lies in columns, (features, N), and weights are (out, in); `handed_over` turns it into the
layout that the case asks for.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Fault = tuple[str, int | None]
CONSTANTS = {"leaky_relu": {"alpha": 0.07}, "elu": {"alpha": 1.3}, "prelu": {"alpha": 0.31}}
CONSTANTS["selu"] = {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}
HIDDEN = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "prelu")


def act(name, z):
    c = CONSTANTS.get(name, {})
    if name == "identity":
        return z * 1.0
    if name == "sigmoid":
        return 1.0 / (1.0 + np.exp(-z))
    if name == "tanh":
        return (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))
    if name == "relu":
        return z * (z > 0)
    if name in ("leaky_relu", "prelu"):
        return z * (z > 0) + c["alpha"] * z * (z <= 0)
    if name == "elu":
        return z * (z > 0) + c["alpha"] * (np.exp(z * (z <= 0)) - 1)
    if name == "selu":
        return c["scale"] * (z * (z > 0) + c["alpha"] * (np.exp(z * (z <= 0)) - 1))
    if name == "softplus":
        return np.log(1 + np.exp(z))
    if name == "softmax":
        e = np.exp(z)
        return e / e.sum(axis=0)
    raise KeyError(name)


def slope(name, z):
    """The derivative, as a quotient of the formula in z."""
    c = CONSTANTS.get(name, {})
    if name == "identity":
        return np.ones(z.shape)
    if name == "sigmoid":
        return np.exp(-z) / (1 + np.exp(-z)) ** 2
    if name == "tanh":
        return 4 / (np.exp(z) + np.exp(-z)) ** 2
    if name == "relu":
        return 1.0 * (z > 0)
    if name in ("leaky_relu", "prelu"):
        return 1.0 * (z > 0) + c["alpha"] * (z <= 0)
    if name == "elu":
        return 1.0 * (z > 0) + c["alpha"] * np.exp(z) * (z <= 0)
    if name == "selu":
        return c["scale"] * ((z > 0) + c["alpha"] * np.exp(z) * (z <= 0))
    if name == "softplus":
        return np.exp(z) / (1 + np.exp(z))
    raise KeyError(name)


def cost_gradient(loss, o, y):
    """∂Σterms/∂o, one column a sample."""
    if loss == "squared_error":
        return 2 * o - 2 * y
    if loss == "half_squared_error":
        return o - y
    if loss == "absolute_error":
        return 1.0 * (o > y) - 1.0 * (o < y)
    if loss == "bce":
        return (1 - y) / (1 - o) - y / o
    if loss == "cross_entropy":
        return -y / o
    if loss == "bce_with_logits":
        return 1 / (1 + np.exp(-o)) - y
    if loss == "cross_entropy_from_logits":
        return act("softmax", o) - y
    if loss == "hinge":
        return -y * (y * o < 1)
    if loss == "multiclass_hinge":
        g = np.zeros(o.shape)
        for n in range(o.shape[1]):
            right = int(np.argmax(y[:, n]))
            for k in range(o.shape[0]):
                if k != right and o[k, n] - o[right, n] + 1 > 0:
                    g[k, n] += 1
                    g[right, n] -= 1
        return g
    raise KeyError(loss)


# loss: output activations that go with it, and what y holds
LOSSES = {
    "squared_error": (("identity", "sigmoid", "tanh", "relu", "softmax"), "real"),
    "half_squared_error": (("identity", "sigmoid", "tanh", "softplus"), "real"),
    "absolute_error": (("identity", "tanh"), "real"),
    "bce": (("sigmoid",), "binary"),
    "cross_entropy": (("softmax", "softmax", "sigmoid"), "class"),
    "bce_with_logits": (("identity", "tanh"), "binary"),
    "cross_entropy_from_logits": (("identity", "relu"), "class"),
    "hinge": (("identity", "tanh"), "sign"),
    "multiclass_hinge": (("identity",), "class"),
}


@dataclass
class Net:
    """One stranger's network and batch."""

    sizes: list[int]
    acts: list[str]
    loss: str
    reduction: str
    x: Any
    y: Any
    W: list[Any]
    b: list[Any]
    masks: list[Any]
    p: float
    scaled: bool
    l2: float
    half: bool
    over: bool
    lr: float = 0.05
    planted: list[Fault] = field(default_factory=list)

    @property
    def depth(self):
        return len(self.W)


def random_net(rng, depth=None, square=False, loss=None, reg=None, drop=None, k=None) -> Net:
    depth = depth or int(rng.choice([1, 2, 2, 2, 3, 3, 4, 5]))
    N = int(rng.integers(4, 14))
    loss = loss or str(
        rng.choice(
            [
                "squared_error",
                "half_squared_error",
                "half_squared_error",
                "bce",
                "cross_entropy",
                "cross_entropy",
                "bce_with_logits",
                "cross_entropy_from_logits",
                "absolute_error",
                "hinge",
                "multiclass_hinge",
            ]
        )
    )
    outs, labels = LOSSES[loss]
    K = k or (int(rng.integers(2, 5)) if labels == "class" else int(rng.choice([1, 1, 2, 3])))
    out = str(rng.choice(outs))
    if out == "softmax" and K == 1:
        K = 3
    sizes = [int(rng.integers(2, 7)) for _ in range(depth)] + [K]
    if square and depth > 1:
        sizes = [int(rng.integers(3, 6))] * depth + [K]
    one = str(rng.choice(HIDDEN)) if rng.random() < 0.7 else None
    acts = [one or str(rng.choice(HIDDEN)) for _ in range(depth - 1)] + [out]
    x = rng.normal(size=(sizes[0], N))
    W = [rng.normal(size=(b, a)) * 0.8 for a, b in itertools.pairwise(sizes)]
    none = rng.random() < 0.12
    b = [None if none else rng.normal(size=v) * 0.5 for v in sizes[1:]]
    if labels == "class":
        y = np.eye(K)[rng.integers(0, K, N)].T
    elif labels == "binary":
        y = 1.0 * (rng.random((K, N)) < 0.5)
    elif labels == "sign":
        y = np.where(rng.random((K, N)) < 0.5, 1.0, -1.0)
    else:
        y = rng.normal(size=(K, N))
        if out in ("sigmoid", "softmax") and rng.random() < 0.6:
            y = 1.0 * (rng.random((K, N)) < 0.5)
    p, scaled = float(rng.choice([0.2, 0.3, 0.4])), bool(rng.random() < 0.5)
    masks = [None] * depth
    if drop or (drop is None and rng.random() < 0.15):
        for i in range(depth - 1):
            masks[i] = 1.0 * (rng.random((sizes[i + 1], N)) > p) / ((1 - p) if scaled else 1.0)
    l2 = float(rng.choice([0.1, 0.03, 0.5])) if reg or (reg is None and rng.random() < 0.25) else 0.0
    return Net(
        sizes,
        acts,
        loss,
        str(rng.choice(["sum", "mean_over_samples", "mean_over_samples", "mean_over_all"])),
        x,
        y,
        W,
        b,
        masks,
        p,
        scaled,
        l2,
        bool(rng.random() < 0.6),
        bool(rng.random() < 0.4),
    )
