"""A character-level recurrent network, after min-char-rnn."""

import numpy as np

rng = np.random.default_rng(0)
text = "the quick brown fox jumps over"
chars = sorted(set(text))
H, V, T = 100, len(chars), 25
inputs = [chars.index(c) for c in text[:T]]
targets = [chars.index(c) for c in text[1 : T + 1]]
parameters = {
    "Wxh": rng.normal(size=(H, V)) * 0.1,
    "Whh": rng.normal(size=(H, H)) * 0.1,
    "Why": rng.normal(size=(V, H)) * 0.1,
    "bh": np.zeros((H, 1)),
    "by": np.zeros((V, 1)),
}
data = (inputs, targets, rng.normal(size=(H, 1)) * 0.1)


def loss_and_gradients(params, inputs, targets, hprev):
    Wxh, Whh, Why, bh, by = (params[k] for k in ("Wxh", "Whh", "Why", "bh", "by"))
    xs, hs, ps = {}, {-1: np.copy(hprev)}, {}
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((Wxh.shape[1], 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        y = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(y) / np.sum(np.exp(y))
        loss += -np.log(ps[t][targets[t], 0])

    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros_like(bh), np.zeros_like(by)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    return loss, {"Wxh": dWxh, "Whh": dWhh, "Why": dWhy, "bh": dbh, "by": dby}
