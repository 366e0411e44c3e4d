"""Parts of networks: convolutions, recurrence, attention, normalizations, and layers as objects."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tests.mlp_torch.check.functions.idioms.data import X, Y, logits


def windows(W, b):
    padded = np.pad(W, ((1, 1), (0, 0)), mode="constant")
    return (sliding_window_view(padded, (2, 2)) ** 2).sum() + np.pad(b, 2, mode="edge").sum()


def convolution_loops(W, b):
    image = np.arange(36.0).reshape(6, 6) / 36
    kernel = W[:3, :3]
    out = np.zeros((4, 4), dtype=W.dtype)
    for i in range(4):
        for j in range(4):
            out[i, j] = np.sum(image[i : i + 3, j : j + 3] * kernel) + b[0]
    return np.sum(np.tanh(out))


def recurrent(W, b):
    h, states = np.zeros(3, dtype=W.dtype), {-1: np.zeros(3)}
    for t in range(len(X)):
        h = np.tanh(X[t] @ W + h * b)
        states[t] = h
    return sum(np.sum(states[t] * Y[t]) for t in range(len(X)))


def attention(W, b):
    q, k, v = X @ W, (X * 0.5) @ W + b, np.sin(X @ W)
    s = q @ k.T / np.sqrt(3)
    s = np.where(np.tril(np.ones((5, 5))) == 1, s, -1e9)
    a = np.exp(s - np.real(s).max(axis=-1, keepdims=True))
    return ((a / a.sum(axis=-1, keepdims=True)) @ v * Y).sum()


def heads(W, b):
    z = np.swapaxes(logits(W, b).reshape(5, 1, 3), 0, 1)
    return np.matmul(z, z.transpose(0, 2, 1)).sum() + np.expand_dims(b, 0).squeeze(0).prod()


def normalised(W, b):
    z = logits(W, b)
    z = (z - np.mean(z, axis=0)) / np.sqrt(((z - z.mean(0)) ** 2).mean(0) + 1e-5)
    return np.sum(z * Y * b)


def layer_norm(W, b):
    z = logits(W, b)
    m = z.mean(axis=-1, keepdims=True)
    return (((z - m) / (((z - m) ** 2).mean(axis=-1, keepdims=True) + 1e-6) ** 0.5) * Y).sum() + 0 * b.sum()


class Layer:
    """State on the object, a method for a call, a cache in a dict."""

    size = 3

    def __init__(self, W, b):
        self.W, self.b, self.cache = W, b, {}

    def __call__(self, x):
        self.cache["z"] = x @ self.W + self.b
        return self.cache["z"]


class Squashed(Layer):
    def __call__(self, x):
        return np.tanh(super().__call__(x)) / self.size

    @staticmethod
    def of(v):
        return np.sum(v**2)


def classes(W, b):
    net = Squashed(W, b)
    return net.of(net(X)) + net.cache["z"][0, 0]


def asserted(W, b):
    z = np.asarray(logits(W, b))
    assert isinstance(z, np.ndarray)
    assert z.shape == (5, 3)
    return np.dot(z.flatten(), np.ones(15, dtype=np.float64)) + np.multiply(b, b).sum()
