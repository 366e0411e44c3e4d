"""Forward passes in the ways that NumPy is written: a loss of the parameters W (4, 3) and b (3,) each."""

import math
from functools import partial, reduce

import numpy as np
import scipy.special as sp
from numpy import dot, exp, tanh
from numpy.lib.stride_tricks import sliding_window_view

r = np.random.default_rng(1)
X, LABELS, Y = r.normal(size=(5, 4)), np.array([0, 2, 1, 1, 0]), r.normal(size=(5, 3))
MASK = r.random((5, 3)) < 0.5
SCALE = 1.7


def logits(W, b):
    return X @ W + b


def from_imports(W, b):
    return (tanh(dot(X, W) + b) * exp(-0.1 * b)).sum()


def squeezed_float(W, b):
    cost = -np.sum(np.log(1 / (1 + np.exp(-logits(W, b))))) / len(X)
    return as_number(np.squeeze(cost))


def as_number(v):  # what the program stands for is float(v); complex step wants v
    return v if np.iscomplexobj(v) else float(v)


def item(W, b):
    v = np.sum(logits(W, b) ** 2)
    return v.item() * SCALE


def softmax_fancy(W, b):
    z = logits(W, b)
    z = z - np.real(z).max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(X)), LABELS]).mean()


def one_hot_by_eye(W, b):
    p = np.exp(logits(W, b))
    p /= p.sum(axis=1, keepdims=True)
    return -(np.eye(3)[LABELS] * np.log(p)).sum() / len(X)


def written_rows(W, b):
    out = np.zeros((5, 3), dtype=W.dtype)
    for i in range(5):
        for j in range(3):
            out[i, j] = sum(X[i, k] * W[k, j] for k in range(4)) + b[j]
    return (out * Y).sum() + (out**3).sum()


def written_columns(W, b):
    out = np.empty((5, 3), dtype=W.dtype)
    out[:, 0] = X @ W[:, 0]
    out[:, 1:] = X @ W[:, 1:]
    out[:, 2] += b[2]
    out += b
    out[MASK] = 0
    out[:, ::-1][:, 0] *= 2.0
    return np.sum(np.sin(out))


def a_view_that_is_written(W, b):
    h = logits(W, b).copy()
    first = h[0]
    first[...] = first * 2
    h.T[1] += 1
    flat = h.reshape(-1)
    flat[3] = 0
    return (h**2).sum()


def rebound(W, b):
    a = X
    for _ in range(2):
        a = np.tanh(a @ W + b)
        a = np.concatenate([a, a[:, :1]], axis=1)
    return np.mean(a)


def overwritten_after_use(W, b):
    a = logits(W, b)
    loss = (np.exp(a) * Y).sum()
    a[:] = 0
    a -= 1
    return loss


def added_at(W, b):
    table = np.zeros((6, 3), dtype=W.dtype)
    np.add.at(table, np.array([0, 2, 2, 5]), W)
    return (table**2).sum() + b.sum()


def embedding(W, b):
    return np.sum(W[LABELS] * Y[:, :3] + b) ** 2


def listed(W, b):
    rows = [np.tanh(x @ W + b) for x in X]
    return np.array(rows).mean() + np.stack(rows, axis=1)[0].sum() + np.vstack(rows).std()


def numbers_listed(W, b):
    return np.array([[W[0, 0] * 2, b[0]], [W[1, 1] ** 2, b[1] * b[2]]]).sum()


def einsum(W, b):
    return np.einsum("ni,ij,nj->", X, W, Y) + np.einsum("ij,ij->j", W, W) @ b


def tensordot(W, b):
    T = np.tensordot(X, W, axes=(1, 0))
    return np.trace(np.outer(b, b)) + np.inner(T, Y).sum() + np.kron(b, b).sum() * 0.1


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


def dropout(W, b):
    np.random.seed(3)
    mask = (np.random.rand(5, 3) < 0.5) / 0.5
    h = logits(W, b)
    h = h * mask
    return (h**2).sum()


def latent(W, b):
    noise = np.random.default_rng(0).standard_normal((5, 3))
    mean, spread = X @ W, b
    z = mean + np.exp(0.5 * spread) * noise
    return np.mean(z**2) - 0.5 * np.sum(1 + spread - mean**2 - np.exp(spread))


def focal(W, b):
    p = 1 / (1 + np.exp(-logits(W, b)))
    return -np.sum(MASK * (1 - p) ** 2 * np.log(p) + (1 - MASK) * p**2 * np.log(1 - p)) / p.size


def huber(W, b):
    e = logits(W, b) - Y
    small = np.abs(np.real(e)) <= 1.0
    return np.where(small, 0.5 * e * e, np.where(np.real(e) > 0, e, -e) - 0.5).mean()


def scipy_s(W, b):
    z = np.real(logits(W, b))
    return (
        sp.expit(z).sum() + sp.logsumexp(z, axis=1).sum() + sp.erf(b).sum() + sp.xlogy(2.0, np.exp(b)).sum()
    )


def stable_sigmoid(W, b):
    z = np.real(logits(W, b)) * [1000.0, 1.0, 1.0]
    with np.errstate(all="ignore"):
        s = np.where(z >= 0, 1 / (1 + np.exp(-z)), np.exp(z) / (1 + np.exp(z)))
        entropy = np.where(s > 0, s * np.log(s), 0.0)
    return (s * Y).sum() + entropy.sum() + (b**2).sum()


def extremes(W, b):
    z = np.real(logits(W, b))
    top = np.maximum(z, 0).sum() + np.minimum(b, 0.3).sum() + np.clip(z, -1, 1).sum() + np.abs(b).sum()
    return (
        top + z.max(axis=0).sum() + np.min(z) + np.median(z) + np.sort(b)[0] + z[z.argmax(0), [0, 1, 2]].sum()
    )


def leaky(W, b):
    z = np.real(logits(W, b))
    a = np.array(z, copy=True)
    a[z < 0] *= 0.01
    return a.sum() + np.max([b[0], b[1]]) + max(b[0], 0.0) + abs(b[2])


def pythonic(W, b):
    total = 0.0
    for row, target in zip(logits(W, b), Y, strict=True):
        total += reduce(lambda s, v: s + v, [(o - t) ** 2 for o, t in zip(row, target, strict=True)])
    return total / len(X)


def mathematical(W, b):
    W, b = np.real(W), np.real(b)
    return math.exp(b[0]) + math.log(b[1] ** 2 + 1) * math.tanh(W[0, 0]) + math.sqrt(float(b[2]) ** 2 + 2)


def vectorised(W, b):
    return np.vectorize(lambda v: v * v if v > 0 else 0.1 * v)(np.real(W)).sum() + np.real(b).sum()


def decomposed(W, b):
    S = W.T @ W + np.eye(3)
    return (
        np.linalg.inv(S).sum()
        + np.linalg.solve(S, b).sum()
        + np.linalg.slogdet(np.real(S))[1]
        + np.linalg.det(S)
    )


def norms(W, b):
    W, b = np.real(W), np.real(b)
    return np.linalg.norm(W) + np.linalg.norm(b, axis=0) + np.linalg.norm(W, axis=1, keepdims=True).sum()


def cumulative(W, b):
    spread = np.var(W, ddof=1) + np.average(b, weights=[1, 2, 3])
    return np.cumsum(b)[-1] ** 2 + np.cumprod(b)[1] + np.diff(W, axis=0).sum() + spread


def moved(W, b):
    out = np.roll(W, 1, axis=0) + np.flip(W, 0) + np.repeat(b[None], 4, 0) + np.tile(b, (4, 1))
    parts = np.split(out, 2, axis=0)
    return (
        (np.hstack(parts) ** 2).sum()
        + np.take(b, [0, 0, 2]).sum()
        + np.diag(W[:3]).prod()
        + W.ravel()[::2].sum()
    )


def joined(W, b):
    h = np.c_[np.ones(5), np.tanh(X @ W)]
    return (h @ np.r_[b, b[0]] * Y[:, 0]).sum() + np.r_[W[0], 1.0, b[1:]].prod() + np.c_[b, b].sum()


def partials(W, b):
    return partial(lambda scale, v: (scale * v).sum(), 3.0)(np.float64(2) * W) + np.float64(np.sum(b))


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


HELPERS = ("logits", "as_number", "Layer", "Squashed")
IDIOMS = [
    v
    for k, v in list(globals().items())
    if callable(v) and getattr(v, "__module__", "") == __name__ and k not in HELPERS
]
