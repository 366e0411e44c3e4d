"""A layer with batch normalization, its backward pass step by step."""

import numpy as np

rng = np.random.default_rng(0)
parameters = {
    "W": rng.normal(size=(4, 6)),
    "gamma": rng.normal(size=6) + 1,
    "beta": rng.normal(size=6),
    "V": rng.normal(size=(6, 2)),
}
x = rng.normal(size=(10, 4))
y = rng.normal(size=(10, 2))


def batchnorm_forward(h, gamma, beta, eps=1e-5):
    mu = h.mean(axis=0)
    centered = h - mu
    var = np.mean(centered**2, axis=0)
    inv_std = 1 / np.sqrt(var + eps)
    normed = centered * inv_std
    return gamma * normed + beta, (centered, inv_std, normed, gamma)


def batchnorm_backward(dout, cache):
    centered, inv_std, normed, gamma = cache
    m = len(dout)
    dbeta = dout.sum(axis=0)
    dgamma = (dout * normed).sum(axis=0)
    dnormed = dout * gamma
    dinv_std = (dnormed * centered).sum(axis=0)
    dvar = dinv_std * -0.5 * inv_std**3
    dcentered = dnormed * inv_std + dvar * 2 / m * centered
    dmu = -dcentered.sum(axis=0)
    dh = dcentered + dmu / m
    return dh, dgamma, dbeta


def loss_and_gradients(params, x, y):
    h = x @ params["W"]
    out, cache = batchnorm_forward(h, params["gamma"], params["beta"])
    a = np.tanh(out)
    error = a @ params["V"] - y
    loss = np.sum(error**2) / len(x)

    derror = 2 * error / len(x)
    dV = a.T @ derror
    da = derror @ params["V"].T
    dout = da * (1 - a**2)
    dh, dgamma, dbeta = batchnorm_backward(dout, cache)
    return loss, {"W": x.T @ dh, "gamma": dgamma, "beta": dbeta, "V": dV}
