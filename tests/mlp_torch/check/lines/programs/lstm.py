"""An LSTM with its gates in one matrix, a cache for each time step."""

import numpy as np

rng = np.random.default_rng(0)
N, T, D, H = 3, 5, 4, 6
parameters = {
    "Wx": rng.normal(size=(D, 4 * H)) * 0.5,
    "Wh": rng.normal(size=(H, 4 * H)) * 0.5,
    "b": rng.normal(size=4 * H) * 0.1,
}
x = rng.normal(size=(N, T, D))
y = rng.normal(size=(N, H))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def step_forward(x, h_prev, c_prev, Wx, Wh, b):
    a = x @ Wx + h_prev @ Wh + b
    ai, af, ao, ag = np.split(a, 4, axis=1)
    i, f, o, g = sigmoid(ai), sigmoid(af), sigmoid(ao), np.tanh(ag)
    c = f * c_prev + i * g
    tanh_c = np.tanh(c)
    h = o * tanh_c
    return h, c, (x, h_prev, c_prev, i, f, o, g, tanh_c)


def step_backward(dh, dc, cache, Wh):
    x, h_prev, c_prev, i, f, o, g, tanh_c = cache
    do = dh * tanh_c
    dc = dc + dh * o * (1 - tanh_c**2)
    df = dc * c_prev
    di = dc * g
    dg = dc * i
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
    return da @ Wh.T, dc * f, x.T @ da, h_prev.T @ da, da.sum(axis=0)


def loss_and_gradients(params, x, y):
    Wx, Wh, b = params["Wx"], params["Wh"], params["b"]
    h = c = np.zeros((len(x), Wh.shape[0]))
    caches = []
    for t in range(x.shape[1]):
        h, c, cache = step_forward(x[:, t], h, c, Wx, Wh, b)
        caches.append(cache)
    loss = np.mean((h - y) ** 2)

    dh, dc = 2 * (h - y) / y.size, np.zeros_like(c)
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)
    for cache in reversed(caches):
        dh, dc, dWx_t, dWh_t, db_t = step_backward(dh, dc, cache, Wh)
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return loss, {"Wx": dWx, "Wh": dWh, "b": db}
