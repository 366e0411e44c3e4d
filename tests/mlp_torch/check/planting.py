"""Networks as strangers write them, with faults planted: shares no code with what diagnoses them.

Everything here lies in columns, (features, N), and weights are (out, in); `handed_over` turns it into the
layout that the case asks for. A fault is a word of the issue with the layer where it was planted, or None.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Fault = tuple[str, int | None]
CONSTANTS = {"leaky_relu": {"alpha": 0.07}, "elu": {"alpha": 1.3}, "prelu": {"alpha": 0.31}}
CONSTANTS["selu"] = {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}
HIDDEN = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "prelu")


def act(name, z):
    c = CONSTANTS.get(name, {})
    if name == "identity":
        return z * 1.0
    if name == "sigmoid":
        return 1.0 / (1.0 + np.exp(-z))
    if name == "tanh":
        return (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))
    if name == "relu":
        return z * (z > 0)
    if name in ("leaky_relu", "prelu"):
        return z * (z > 0) + c["alpha"] * z * (z <= 0)
    if name == "elu":
        return z * (z > 0) + c["alpha"] * (np.exp(z * (z <= 0)) - 1)
    if name == "selu":
        return c["scale"] * (z * (z > 0) + c["alpha"] * (np.exp(z * (z <= 0)) - 1))
    if name == "softplus":
        return np.log(1 + np.exp(z))
    if name == "softmax":
        e = np.exp(z)
        return e / e.sum(axis=0)
    raise KeyError(name)


def slope(name, z):
    """The derivative, as a quotient of the formula in z."""
    c = CONSTANTS.get(name, {})
    if name == "identity":
        return np.ones(z.shape)
    if name == "sigmoid":
        return np.exp(-z) / (1 + np.exp(-z)) ** 2
    if name == "tanh":
        return 4 / (np.exp(z) + np.exp(-z)) ** 2
    if name == "relu":
        return 1.0 * (z > 0)
    if name in ("leaky_relu", "prelu"):
        return 1.0 * (z > 0) + c["alpha"] * (z <= 0)
    if name == "elu":
        return 1.0 * (z > 0) + c["alpha"] * np.exp(z) * (z <= 0)
    if name == "selu":
        return c["scale"] * ((z > 0) + c["alpha"] * np.exp(z) * (z <= 0))
    if name == "softplus":
        return np.exp(z) / (1 + np.exp(z))
    raise KeyError(name)


def cost_gradient(loss, o, y):
    """∂Σterms/∂o, one column a sample."""
    if loss == "squared_error":
        return 2 * o - 2 * y
    if loss == "half_squared_error":
        return o - y
    if loss == "absolute_error":
        return 1.0 * (o > y) - 1.0 * (o < y)
    if loss == "bce":
        return (1 - y) / (1 - o) - y / o
    if loss == "cross_entropy":
        return -y / o
    if loss == "bce_with_logits":
        return 1 / (1 + np.exp(-o)) - y
    if loss == "cross_entropy_from_logits":
        return act("softmax", o) - y
    if loss == "hinge":
        return -y * (y * o < 1)
    if loss == "multiclass_hinge":
        g = np.zeros(o.shape)
        for n in range(o.shape[1]):
            right = int(np.argmax(y[:, n]))
            for k in range(o.shape[0]):
                if k != right and o[k, n] - o[right, n] + 1 > 0:
                    g[k, n] += 1
                    g[right, n] -= 1
        return g
    raise KeyError(loss)


# loss: output activations that go with it, and what y holds
LOSSES = {
    "squared_error": (("identity", "sigmoid", "tanh", "relu", "softmax"), "real"),
    "half_squared_error": (("identity", "sigmoid", "tanh", "softplus"), "real"),
    "absolute_error": (("identity", "tanh"), "real"),
    "bce": (("sigmoid",), "binary"),
    "cross_entropy": (("softmax", "softmax", "sigmoid"), "class"),
    "bce_with_logits": (("identity", "tanh"), "binary"),
    "cross_entropy_from_logits": (("identity", "relu"), "class"),
    "hinge": (("identity", "tanh"), "sign"),
    "multiclass_hinge": (("identity",), "class"),
}


@dataclass
class Net:
    """One stranger's network and batch."""

    sizes: list[int]
    acts: list[str]
    loss: str
    reduction: str
    x: Any
    y: Any
    W: list[Any]
    b: list[Any]
    masks: list[Any]
    p: float
    scaled: bool
    l2: float
    half: bool
    over: bool
    lr: float = 0.05
    planted: list[Fault] = field(default_factory=list)

    @property
    def depth(self):
        return len(self.W)


def softmax_back(g, s):
    return np.stack(
        [(np.diag(s[:, n]) - np.outer(s[:, n], s[:, n])) @ g[:, n] for n in range(s.shape[1])], axis=1
    )


def gradients(net: Net, faults: list[tuple[str, int | None, Any]]):
    """dW, db, the output and the loss's reduction constant, with the faults built in."""
    has = {(kind, layer): extra for kind, layer, extra in faults}
    anywhere = {kind: extra for kind, _, extra in faults}
    N, L = net.x.shape[1], net.depth
    zs, fs, hs = [None], [None], [net.x]
    for i in range(L):
        z = net.W[i] @ hs[-1] + (0 if net.b[i] is None else net.b[i][:, None])
        f = act(net.acts[i], z)
        h = f
        if net.masks[i] is not None:
            h = f * net.masks[i] / (1.0 if net.scaled else 1 - net.p)
        zs.append(z), fs.append(f), hs.append(h)
    o = hs[-1]
    c = {"sum": 1.0, "mean_over_samples": 1 / N, "mean_over_all": 1 / o.size}[net.reduction]
    y = net.y
    loss = net.loss
    if "label_coding" in anywhere:
        y = {
            "up": np.roll(y, 1, axis=0),
            "down": np.roll(y, -1, axis=0),
            "flip": 1 - y,
            "01": (y + 1) / 2,
            "pm": 2 * y - 1,
        }[anywhere["label_coding"]]
    if "loss_mismatch" in anywhere:
        loss, coding = anywhere["loss_mismatch"]
        y = {"same": y, "pm": 2 * y - 1}[coding]
    g = c * cost_gradient(loss, o, y)
    if "broadcast" in anywhere:
        full = np.stack([cost_gradient(loss, o, np.full(o.shape, t)) for t in y[0]], axis=0)[:, 0, :]
        g = c * (full.mean(axis=0) if anywhere["broadcast"] == "mean" else full.sum(axis=0))[None, :]
    if "wrong_loss_derivative" in anywhere:
        g = c * anywhere["wrong_loss_derivative"](o, y)
    if ("not_multiplied_by_upstream", L) in has:
        g = c * np.ones(o.shape)
    if "constant_top" in anywhere:
        g = g * anywhere["constant_top"]
    dW, db = [None] * L, [None] * L
    for i in range(L, 0, -1):
        name = net.acts[i - 1]
        mask = net.masks[i - 1]
        if mask is not None:
            keep = 1 - net.p
            plain = (mask != 0) * 1.0
            true = mask if net.scaled else mask / keep
            how = has.get(("wrong_dropout_backward", i), "right")
            g = g * {"right": true, "mask": 1.0, "scale": plain, "twice": plain / keep / keep}[how]
        if ("activation", i) in has:
            raise AssertionError
        pre = g
        if name == "softmax":
            s = fs[i]
            how = has.get(("wrong_softmax_jacobian", i), "right")
            if ("missing_activation_derivative", i) in has:
                d = g
            elif how == "diagonal":
                d = g * s * (1 - s)
            elif how == "twice":
                d = softmax_back(softmax_back(g, s), s)
            else:
                d = softmax_back(g, s)
        else:
            m = slope(name, zs[i])
            if ("missing_activation_derivative", i) in has:
                m = 1.0
            elif ("wrong_activation_derivative", i) in has:
                m = has["wrong_activation_derivative", i](zs[i], fs[i])
            elif ("activation_derivative_at_wrong_array", i) in has:
                m = has["activation_derivative_at_wrong_array", i](zs[i], fs[i], hs[i])
            d = g * m
            if ("not_multiplied_by_upstream", i) in has and i < L:
                d = m * np.ones(g.shape)
        if ("sign", i) in has and has["sign", i] == "chain":
            d = -d
        if ("constant_factor", i) in has and has["constant_factor", i][0] == "chain":
            d = d * has["constant_factor", i][1]
        into = hs[i - 1]
        if ("wrong_dropout_backward_input", i) in has:
            into = fs[i - 1]
        keepers = np.ones(N)
        if "overwritten_gradient" in anywhere:
            keepers = (np.arange(N) == N - 1) * 1.0
        if "stale_gradient" in anywhere:
            keepers = 1.0 * np.arange(N, 0, -1)
        dW[i - 1] = (d * keepers) @ into.T
        if net.b[i - 1] is not None:
            db[i - 1] = (d * keepers).sum(axis=1)
            how = has.get(("wrong_bias_reduction", i))
            if how == "mean":
                db[i - 1] = d.mean(axis=1)
            if how == "all":
                db[i - 1] = np.full(d.shape[0], d.sum())
            if ("bias_not_summed", i) in has:
                db[i - 1] = d
        lam = net.l2 * (1 if net.half else 2) / (N if net.over else 1)
        if lam:
            how = anywhere.get("wrong_regulariser", "right")
            dW[i - 1] = (
                dW[i - 1]
                + net.W[i - 1]
                * lam
                * {
                    "right": 1,
                    "missing": 0,
                    "double": 2,
                    "half": 0.5,
                    "sign": -1,
                    "over": 1 / N,
                    "biases": 1,
                }[how]
            )
            if how == "biases" and net.b[i - 1] is not None:
                b = net.b[i - 1]
                db[i - 1] = db[i - 1] + lam * (b if db[i - 1].ndim == 1 else b[:, None])
        if ("transpose", i) in has and has["transpose", i] == "dW":
            dW[i - 1] = dW[i - 1].T
        if ("zero_gradient", i) in has:
            dW[i - 1] = 0 * dW[i - 1]
        for kind in ("constant_factor", "sign", "missing_learning_rate", "extra_learning_rate"):
            if (kind, i) in has and has[kind, i] != "chain" and has[kind, i][0] != "chain":
                dW[i - 1] = dW[i - 1] * has[kind, i][1]
        W = net.W[i - 1]
        if "updated_weights_used" in anywhere:
            W = W - net.lr * dW[i - 1]
        if ("transpose", i) in has and has["transpose", i] == "W":
            W = W.T
        carried = pre if ("missing_in_pass", i) in has else d
        g = W.T @ carried
    if "constant_all" in anywhere:
        dW = [v * anywhere["constant_all"] for v in dW]
        db = [None if v is None else v * anywhere["constant_all"] for v in db]
    if "clipping" in anywhere:
        limit = anywhere["clipping"]

        def clip(v):
            return v if v is None or np.linalg.norm(v) <= limit else v * limit / np.linalg.norm(v)

        dW, db = [clip(v) for v in dW], [clip(v) for v in db]
    return dW, db, o


def random_net(rng, depth=None, square=False, loss=None, reg=None, drop=None, k=None) -> Net:
    depth = depth or int(rng.choice([1, 2, 2, 2, 3, 3, 4, 5]))
    N = int(rng.integers(4, 14))
    loss = loss or str(
        rng.choice(
            [
                "squared_error",
                "half_squared_error",
                "half_squared_error",
                "bce",
                "cross_entropy",
                "cross_entropy",
                "bce_with_logits",
                "cross_entropy_from_logits",
                "absolute_error",
                "hinge",
                "multiclass_hinge",
            ]
        )
    )
    outs, labels = LOSSES[loss]
    K = k or (int(rng.integers(2, 5)) if labels == "class" else int(rng.choice([1, 1, 2, 3])))
    out = str(rng.choice(outs))
    if out == "softmax" and K == 1:
        K = 3
    sizes = [int(rng.integers(2, 7)) for _ in range(depth)] + [K]
    if square and depth > 1:
        sizes = [int(rng.integers(3, 6))] * depth + [K]
    one = str(rng.choice(HIDDEN)) if rng.random() < 0.7 else None
    acts = [one or str(rng.choice(HIDDEN)) for _ in range(depth - 1)] + [out]
    x = rng.normal(size=(sizes[0], N))
    W = [rng.normal(size=(b, a)) * 0.8 for a, b in itertools.pairwise(sizes)]
    none = rng.random() < 0.12
    b = [None if none else rng.normal(size=v) * 0.5 for v in sizes[1:]]
    if labels == "class":
        y = np.eye(K)[rng.integers(0, K, N)].T
    elif labels == "binary":
        y = 1.0 * (rng.random((K, N)) < 0.5)
    elif labels == "sign":
        y = np.where(rng.random((K, N)) < 0.5, 1.0, -1.0)
    else:
        y = rng.normal(size=(K, N))
        if out in ("sigmoid", "softmax") and rng.random() < 0.6:
            y = 1.0 * (rng.random((K, N)) < 0.5)
    p, scaled = float(rng.choice([0.2, 0.3, 0.4])), bool(rng.random() < 0.5)
    masks = [None] * depth
    if drop or (drop is None and rng.random() < 0.15):
        for i in range(depth - 1):
            masks[i] = 1.0 * (rng.random((sizes[i + 1], N)) > p) / ((1 - p) if scaled else 1.0)
    l2 = float(rng.choice([0.1, 0.03, 0.5])) if reg or (reg is None and rng.random() < 0.25) else 0.0
    return Net(
        sizes,
        acts,
        loss,
        str(rng.choice(["sum", "mean_over_samples", "mean_over_samples", "mean_over_all"])),
        x,
        y,
        W,
        b,
        masks,
        p,
        scaled,
        l2,
        bool(rng.random() < 0.6),
        bool(rng.random() < 0.4),
    )
