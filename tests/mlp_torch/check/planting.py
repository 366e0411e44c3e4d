"""The backward pass of a stranger's network with faults planted: shares no code with what diagnoses them.

A fault is a word of the report with the layer where it was planted, or None, and what the slip needs.
"""

from typing import Any

import numpy as np

from tests.mlp_torch.check.nets import Net, act, cost_gradient, slope


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
