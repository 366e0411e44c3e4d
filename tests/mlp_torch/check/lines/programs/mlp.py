"""A network of two layers with softmax cross-entropy."""

import numpy as np

rng = np.random.default_rng(0)
parameters = {
    "W1": rng.normal(size=(4, 8)) * 0.5,
    "b1": rng.normal(size=8) * 0.1,
    "W2": rng.normal(size=(8, 3)) * 0.5,
    "b2": rng.normal(size=3) * 0.1,
}
x = rng.normal(size=(16, 4))
y = rng.integers(0, 3, size=16)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss_and_gradients(params, x, y):
    n = len(x)

    z1 = x @ params["W1"] + params["b1"]
    a1 = np.tanh(z1)
    z2 = a1 @ params["W2"] + params["b2"]
    p = softmax(z2)
    loss = -np.log(p[np.arange(n), y]).mean()

    dz2 = p.copy()
    dz2[np.arange(n), y] -= 1
    dz2 /= n
    dW2 = a1.T @ dz2
    db2 = dz2.sum(axis=0)
    da1 = dz2 @ params["W2"].T
    dz1 = da1 * (1 - a1**2)
    dW1 = x.T @ dz1
    db1 = dz1.sum(axis=0)
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
