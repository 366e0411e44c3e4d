"""One head of causal self-attention."""

import numpy as np

rng = np.random.default_rng(0)
B, T, D = 2, 5, 6
parameters = {name: rng.normal(size=(D, D)) * 0.5 for name in ("Wq", "Wk", "Wv", "Wo")}
x = rng.normal(size=(B, T, D))
y = rng.normal(size=(B, T, D))


def loss_and_gradients(params, x, y):
    scale = 1 / np.sqrt(x.shape[-1])
    mask = np.triu(np.ones((x.shape[1], x.shape[1]), dtype=bool), k=1)

    q = x @ params["Wq"]
    k = x @ params["Wk"]
    v = x @ params["Wv"]
    scores = q @ k.transpose(0, 2, 1) * scale
    scores = np.where(mask, -1e9, scores)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    context = weights @ v
    error = context @ params["Wo"] - y
    loss = np.mean(error**2)

    dout = 2 * error / error.size
    dWo = np.einsum("btd,bte->de", context, dout)
    dcontext = dout @ params["Wo"].T
    dweights = dcontext @ v.transpose(0, 2, 1)
    dv = weights.transpose(0, 2, 1) @ dcontext
    dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))
    dscores = dscores * scale
    dq = dscores @ k
    dk = dscores.transpose(0, 2, 1) @ q
    dWq = np.einsum("btd,bte->de", x, dq)
    dWk = np.einsum("btd,bte->de", x, dk)
    dWv = np.einsum("btd,bte->de", x, dv)
    return loss, {"Wq": dWq, "Wk": dWk, "Wv": dWv, "Wo": dWo}
