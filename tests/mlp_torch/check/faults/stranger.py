"""A stranger's network with every value of its passes at hand, for a slip to be made by one line."""

from typing import Any

import numpy as np

from mlp_torch import Layer, check_gradients

ACTS = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z, axis=1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


OUTPUTS = {
    "softmax": (softmax, "cross_entropy"),
    "sigmoid": (sigmoid, "bce"),
    "identity": (lambda z: z, "half_squared_error"),
}


class Stranger:
    """Layers of `sizes` on N = 7 samples; the mean over the samples; arrays W1, b1 … counted from `first`."""

    def __init__(self, sizes=(4, 5, 5, 3), out="softmax", hidden="tanh", first=1, moved=0.0, seed=0):
        r = self.random = np.random.default_rng(seed)
        self.N, self.L, self.first, self.out, self.hidden = 7, len(sizes) - 1, first, out, hidden
        self.x = r.normal(size=(self.N, sizes[0]))
        self.W = [r.normal(size=sizes[i : i + 2]) * 0.7 for i in range(self.L)]
        self.b = [r.normal(size=sizes[i + 1]) * 0.3 for i in range(self.L)]
        self.b[0] = self.b[0] + moved
        labels = {"softmax": np.eye(sizes[-1])[r.integers(0, sizes[-1], self.N)]}
        labels["sigmoid"] = (r.random((self.N, sizes[-1])) < 0.5) * 1.0
        self.y = labels.get(out, r.normal(size=(self.N, sizes[-1])))
        self.forward()

    def forward(self):
        self.z, self.a = [None], [self.x]
        for i in range(self.L):
            self.z.append(self.a[-1] @ self.W[i] + self.b[i])
            f = ACTS[self.hidden][0] if i < self.L - 1 else OUTPUTS[self.out][0]
            self.a.append(f(self.z[-1]))
        self.top = (self.a[-1] - self.y) / self.N
        return self

    def back(self, top=None, slope=None) -> dict[str, Any]:
        """The gradients; `top` is dz of the last layer, `slope` f′ of the hidden ones."""
        d = slope or ACTS[self.hidden][1]
        self.dz = [None] * self.L + [self.top if top is None else top]
        for i in range(self.L - 1, 0, -1):
            self.dz[i] = self.dz[i + 1] @ self.W[i].T * d(self.z[i])
        found = {}
        for i in range(self.L):
            found[f"W{i + self.first}"] = self.a[i].T @ self.dz[i + 1]
            found[f"b{i + self.first}"] = self.dz[i + 1].sum(axis=0)
        return found

    @property
    def parameters(self):
        both = {f"W{i + self.first}": W for i, W in enumerate(self.W)}
        return both | {f"b{i + self.first}": b for i, b in enumerate(self.b)}

    def options(self, **changed) -> dict[str, Any]:
        acts = [self.hidden] * (self.L - 1) + [self.out]
        layers = [Layer(f"W{i + self.first}", f"b{i + self.first}", a) for i, a in enumerate(acts)]
        common = {"layers": layers, "loss": OUTPUTS[self.out][1], "samples": "rows"}
        return common | {"weight_layout": "in,out"} | changed

    def check(self, found, **options):
        return check_gradients(self.parameters, found, self.x, self.y, **self.options(**options))


def kinds(report):
    return [fault.kind for fault in report.faults]


def named(report):
    """Every kind that the report names, in the preferred set or beside it."""
    return {fault.kind for faults in (report.faults, *report.alternatives) for fault in faults}
