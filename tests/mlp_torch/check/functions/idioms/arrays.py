"""Arrays that are written into, viewed, listed, indexed, contracted, moved and decomposed."""

from functools import partial

import numpy as np

from tests.mlp_torch.check.functions.idioms.data import LABELS, MASK, X, Y, logits


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
