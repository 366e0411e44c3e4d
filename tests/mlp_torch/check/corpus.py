"""Draws a network, plants faults in real code's proportions, hands the arrays over in a random layout."""

import itertools
from typing import Any

import numpy as np

from tests.mlp_torch.check.drawing import draw, one_mistake
from tests.mlp_torch.check.nets import CONSTANTS, Net, random_net
from tests.mlp_torch.check.planting import gradients

# kinds with the weight that real code gives them
PROPORTIONS = {
    "missing_activation_derivative": 4,
    "wrong_activation_derivative": 3,
    "activation_derivative_at_wrong_array": 4,
    "wrong_regulariser": 4,
    "wrong_softmax_jacobian": 2,
    "wrong_loss_derivative": 2,
    "loss_mismatch": 2,
    "wrong_dropout_backward": 3,
    "updated_weights_used": 2,
    "bias_not_summed": 2,
    "wrong_bias_reduction": 2,
    "constant_factor": 3,
    "constant_all": 3,
    "sign": 1,
    "transpose": 1,
    "clipping": 1,
    "zero_gradient": 1,
    "label_coding": 1,
    "not_multiplied_by_upstream": 1,
    "extra_learning_rate": 1,
    "missing_learning_rate": 1,
    "overwritten_gradient": 1,
    "stale_gradient": 1,
    "broadcast": 1,
}


def same(a, b):
    return all(
        (u is None and v is None)
        or (u.shape == v.shape and np.linalg.norm(u - v) <= 1e-6 * max(np.linalg.norm(v), 1e-12))
        for u, v in zip(a, b, strict=True)
    )


def plant(seed: int, count: int, first: str | None = None):
    """(net, dW, db, expected) with `count` faults, each of which shows."""
    rng = np.random.default_rng(seed)
    kinds, weights = list(PROPORTIONS), np.array(list(PROPORTIONS.values()), float)
    while True:
        wanted = [str(k) for k in rng.choice(kinds, size=count, replace=False, p=weights / weights.sum())]
        if first and count:
            wanted[0] = first
            if len(set(wanted)) < count:
                continue
        net = random_net(
            rng,
            square="transpose" in wanted or rng.random() < 0.1,
            reg=True if "wrong_regulariser" in wanted else None,
            drop=True if "wrong_dropout_backward" in wanted else None,
            k=1 if "broadcast" in wanted else None,
            loss=str(rng.choice(["cross_entropy", "squared_error"]))
            if "wrong_softmax_jacobian" in wanted
            else None,
        )
        drawn = [draw(rng, k, net) for k in wanted]
        if any(d is None for d in drawn):
            continue
        faults = [d[0] for d in drawn]
        if one_mistake(faults, net):
            continue
        layers = [f[1] for f in faults if f[1]]
        if len(set(layers)) < len(layers) and rng.random() < 0.7:
            continue
        with np.errstate(all="ignore"):
            right = gradients(net, [])
            norms = [np.linalg.norm(v) for v in right[0]]
            if min(norms) < 1e-3 or not np.isfinite(norms).all():
                continue
            for i, (kind, layer, _) in enumerate(faults):
                if kind == "clipping":
                    faults[i] = (kind, layer, float(np.round(np.mean(norms) * 0.5, 2)) or 0.1)
            whole = gradients(net, faults)
            visible = all(
                not same(flat(gradients(net, faults[:i] + faults[i + 1 :])), flat(whole))
                for i in range(count)
            )
        if not visible or not all(np.isfinite(v).all() for v in flat(whole) if v is not None):
            continue
        return net, whole[0], whole[1], whole[2], [d[1] for d in drawn], rng


def flat(result):
    return list(itertools.chain(result[0], result[1]))


def handed_over(
    net: Net, dW, db, rng, raw_bias=True
) -> tuple[dict[str, Any], dict[str, Any], Any, Any, dict[str, Any]]:
    """(parameters, gradients, x, y, options for check_gradients) in a random layout."""
    from mlp_torch import Dropout, Layer, Penalty

    rows = bool(rng.random() < 0.78)
    inout = bool(rng.random() < 0.74)
    fold = (
        None
        if net.b[0] is None or any(v is not None and v.ndim == 2 for v in db) or rng.random() > 0.15
        else str(rng.choice(["first", "last"]))
    )
    shape = str(rng.choice(["flat", "row", "column"]))
    P, G, layers = {}, {}, []

    def turned(v):
        return v.T if inout else v

    def bias(v):
        return {"flat": v, "row": v[None, :], "column": v[:, None]}[shape]

    for i in range(net.depth):
        W, g, b, gb = net.W[i], dW[i], net.b[i], db[i]
        names = {"weight": f"W{i + 1}"}
        if fold:
            order = [0, 1] if fold == "first" else [1, 0]
            W = np.hstack([[b[:, None], W][j] for j in order])
            g = np.hstack([[gb[:, None], g][j] for j in order])
        P[f"W{i + 1}"], G[f"W{i + 1}"] = turned(W).copy(), turned(g).copy()
        if b is not None and not fold:
            names["bias"] = f"b{i + 1}"
            P[f"b{i + 1}"] = bias(b)
            G[f"b{i + 1}"] = bias(gb) if gb.ndim == 1 else (gb.T if rows else gb)
        dropout = None
        if net.masks[i] is not None:
            dropout = Dropout(net.p, net.masks[i].T if rows else net.masks[i], net.scaled)
        layers.append(
            Layer(
                **names,
                activation=net.acts[i],
                activation_parameters=CONSTANTS.get(net.acts[i], {}),
                bias_in_weight=fold,
                dropout=dropout,
            )
        )
    y = net.y.T if rows else net.y
    class_loss = net.loss in ("cross_entropy", "cross_entropy_from_logits", "multiclass_hinge")
    if class_loss and rng.random() < 0.5:
        y = np.argmax(net.y, axis=0)
    elif net.sizes[-1] == 1:
        y = [net.y[0], net.y, net.y.T][int(rng.integers(3))]
    x = net.x.T if rows else net.x
    options: dict[str, Any] = {
        "layers": layers, "loss": net.loss, "reduction": net.reduction,
        "samples": "rows" if rows else "columns",
        "weight_layout": "in,out" if inout else "out,in",
    }  # fmt: skip
    if net.l2:
        options["l2"] = Penalty(net.l2, half=net.half, over_samples=net.over)
    return P, G, x, y, options


def expected_verdict(expected, net: Net, dW, db) -> str:
    if not expected:
        return "right"
    if [k for k, _ in expected] == ["loss_mismatch"]:
        return "other_loss"
    true = flat(gradients(net, []))
    ratios = set()
    for h, t in zip(flat((dW, db)), true, strict=True):
        if h is None:
            continue
        if h.shape != t.shape:
            return "wrong"
        if not t.any():  # a dead layer's true zeros have no ratio
            if h.any():
                return "wrong"
            continue
        c = float((h * t).sum() / (t * t).sum())
        if np.linalg.norm(h - c * t) > 1e-9 * np.linalg.norm(h):
            return "wrong"
        ratios.add(round(c, 9))
    return (
        "scaled"
        if len(ratios) == 1
        and ratios.pop() > 0
        and len(expected) == 1
        and expected[0][0] in ("constant_factor", "extra_learning_rate", "missing_learning_rate")
        else "wrong"
    )


def spoken(report) -> list[list[tuple[str, int | None]]]:
    """The preferred set and the alternatives as (kind, layer)."""
    return [[(f.kind, f.layer) for f in s] for s in [report.faults, *report.alternatives]]


def agrees(said, expected) -> bool:
    """The same kinds; layers count where both name one. The learning rate's global factor is any order."""
    left = sorted({k for k, _ in said})
    if left != sorted({k for k, _ in expected}):
        return False
    for kind in left:
        layers, wanted = ({m for k, m in sets if k == kind} for sets in (said, expected))
        # a slip without a layer may be told at any, beside the others
        fits = layers >= wanted - {None} if None in wanted else layers == wanted
        if not fits and None not in layers:
            return False
    return True
