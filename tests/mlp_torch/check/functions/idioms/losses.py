"""Losses as they are written: of labels, of classes, of signs, of what lies far out, in plain Python."""

import math
from functools import reduce

import numpy as np
import scipy.special as sp
from numpy import dot, exp, tanh

from tests.mlp_torch.check.functions.idioms.data import LABELS, MASK, SCALE, X, Y, as_number, logits


def from_imports(W, b):
    return (tanh(dot(X, W) + b) * exp(-0.1 * b)).sum()


def squeezed_float(W, b):
    cost = -np.sum(np.log(1 / (1 + np.exp(-logits(W, b))))) / len(X)
    return as_number(np.squeeze(cost))


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


def pythonic(W, b):
    total = 0.0
    for row, target in zip(logits(W, b), Y, strict=True):
        total += reduce(lambda s, v: s + v, [(o - t) ** 2 for o, t in zip(row, target, strict=True)])
    return total / len(X)


def mathematical(W, b):
    W, b = np.real(W), np.real(b)
    return math.exp(b[0]) + math.log(b[1] ** 2 + 1) * math.tanh(W[0, 0]) + math.sqrt(float(b[2]) ** 2 + 2)
