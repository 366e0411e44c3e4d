"""A convolution in plain loops, ReLU, and a linear layer."""

import numpy as np

rng = np.random.default_rng(0)
SIZE, FILTERS = 8, 4
parameters = {
    "W": rng.normal(size=(FILTERS, 1, 3, 3)) * 0.3,
    "b": rng.normal(size=FILTERS) * 0.1,
    "V": rng.normal(size=(FILTERS * (SIZE - 2) ** 2, 3)) * 0.1,
}
x = rng.normal(size=(2, 1, SIZE, SIZE))
y = rng.normal(size=(2, 3))


def conv_forward(x, W, b):
    N, _, H, width = x.shape
    F, _, k, _ = W.shape
    out = np.zeros((N, F, H - k + 1, width - k + 1))
    for n in range(N):
        for f in range(F):
            for i in range(H - k + 1):
                for j in range(width - k + 1):
                    out[n, f, i, j] = np.sum(x[n, :, i : i + k, j : j + k] * W[f]) + b[f]
    return out


def conv_backward(dout, x, W):
    N, F, H, width = dout.shape
    k = W.shape[2]
    dW, db = np.zeros_like(W), np.zeros(F)
    for n in range(N):
        for f in range(F):
            for i in range(H):
                for j in range(width):
                    dW[f] += dout[n, f, i, j] * x[n, :, i : i + k, j : j + k]
                    db[f] += dout[n, f, i, j]
    return dW, db


def loss_and_gradients(params, x, y):
    z = conv_forward(x, params["W"], params["b"])
    a = np.maximum(z, 0)
    flat = a.reshape(len(x), -1)
    error = flat @ params["V"] - y
    loss = 0.5 * np.sum(error**2)

    dV = flat.T @ error
    da = (error @ params["V"].T).reshape(a.shape)
    dz = da * (z > 0)
    dW, db = conv_backward(dz, x, params["W"])
    return loss, {"W": dW, "b": db, "V": dV}
