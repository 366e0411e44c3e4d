"""Which fault goes where: a place in the network for a kind, and which plantings are one mistake."""

import numpy as np

from tests.mlp_torch.check.nets import Net, cost_gradient, slope


def one_mistake(faults, net: Net) -> bool:
    """The planted values cancel or merge: a smaller set makes the same arrays, for any caller."""
    has = {kind: (layer, extra) for kind, layer, extra in faults}
    N = net.x.shape[1]
    constants = [has["constant_all"][1]] if "constant_all" in has else []
    if "constant_factor" in has:
        constants.append(has["constant_factor"][1][1])
    # one loop keeps one sample or sums anew, not both; the planted net can show only one
    if {"overwritten_gradient", "stale_gradient"} <= set(has):
        return True
    # a loop over samples that lacks or doubles 1/N is the same loop with a mean or a sum around it
    if {"overwritten_gradient", "stale_gradient"} & set(has) and any(c in (N, 1 / N) for c in constants):
        return True
    # a mean under a factor N is a right sum: the constant alone, on all but this bias
    if has.get("wrong_bias_reduction", (0, ""))[1] == "mean" and any(c == N for c in constants):
        return True
    share = {"double": 2, "half": 0.5, "over": 1 / N, "sign": -1}.get(
        has.get("wrong_regulariser", (0, ""))[1]
    )
    # twice half a penalty is a right penalty: the constant alone, on the data's part
    if share and any(abs(c * share - 1) < 1e-12 for c in constants):
        return True
    # a mean in the only layer, and 1/N on its weight, is 1/N
    if net.depth == 1 and has.get("wrong_bias_reduction", (0, ""))[1] == "mean" and 1 / N in constants:
        return True
    # of labels that are all the same, others and a slip in the loss are one slip of f′
    if {"label_coding", "wrong_loss_derivative"} <= set(has) and not np.ptp(net.y):
        return True
    # labels that are all the same broadcast to a constant
    if "broadcast" in has and not np.ptp(net.y):
        return True
    # a mean over one axis of the square times N is the sum over it
    if "broadcast" in has and any(c in (N, 1 / N) for c in constants):
        return True
    # what lr multiplies and divides is right
    rates = [has[k][0] for k in ("extra_learning_rate", "missing_learning_rate") if k in has]
    if len(rates) == 2 and rates[0] == rates[1]:
        return True
    # where the upstream gradient is missing its 1/N is too, or stands elsewhere
    if "not_multiplied_by_upstream" in has and any(c < 1 for c in constants):
        return True
    # another loss under another reduction is another loss, and half the squared error a loss of its own
    if "loss_mismatch" in has and "constant_all" in has and not net.l2:
        return True
    # both parts turned round are one sign
    if share == -1 and "sign" in has:
        return True
    # N times 1/N is nothing
    return len(constants) == 2 and abs(constants[0] * constants[1] - 1) < 1e-12


def draw(rng, kind, net: Net):
    """(planted fault for `gradients`, what it must be called) or None where the net has no place for it."""
    L = net.depth
    layer = int(rng.integers(1, L + 1))
    name = net.acts[layer - 1]
    N = net.x.shape[1]
    if kind == "missing_activation_derivative":
        if name == "identity" or (layer == L and net.loss in ("bce", "cross_entropy", "half_squared_error")):
            return None
        return (kind, layer, None), (kind, layer)
    if kind == "wrong_activation_derivative":
        ways = {
            "sigmoid": [lambda z, f: f, lambda z, f: 1 - f, lambda z, f: f * (1 + f), lambda z, f: 1 - f * f],
            "tanh": [lambda z, f: f, lambda z, f: 1 - f, lambda z, f: f * (1 - f), lambda z, f: 1 + f * f],
            "relu": [lambda z, f: f, lambda z, f: 1.0 * (z < 0), lambda z, f: z],
            "leaky_relu": [
                lambda z, f: 1.0 * (z > 0),
                lambda z, f: (z > 0) + 0.01 * (z <= 0),
                lambda z, f: f,
            ],
            "prelu": [lambda z, f: 1.0 * (z > 0), lambda z, f: (z > 0) + 0.25 * (z <= 0)],
            "elu": [lambda z, f: (z > 0) + np.exp(z) * (z <= 0), lambda z, f: (z > 0) + f * (z <= 0)],
            "selu": [
                lambda z, f: (z > 0) + 1.6732632423543772 * np.exp(z) * (z <= 0),
                lambda z, f: (z > 0) + np.exp(z) * (z <= 0),
            ],
            "softplus": [
                lambda z, f: f,
                lambda z, f: np.exp(z) / (1 + np.exp(z)) ** 2,
                lambda z, f: 1 / (1 + np.exp(z)),
            ],
        }
        if name not in ways or (layer == L and net.loss in ("bce", "cross_entropy")):
            return None
        return (kind, layer, ways[name][int(rng.integers(len(ways[name])))]), (kind, layer)
    if kind == "activation_derivative_at_wrong_array":
        ways = {
            "sigmoid": [lambda z, f, h: slope("sigmoid", f), lambda z, f, h: z * (1 - z)],
            "tanh": [lambda z, f, h: slope("tanh", f), lambda z, f, h: 1 - z * z],
            "softplus": [lambda z, f, h: slope("softplus", f)],
            "elu": [lambda z, f, h: slope("elu", f)],
            "selu": [lambda z, f, h: slope("selu", f)],
        }
        if net.masks[layer - 1] is not None and name in ("sigmoid", "tanh"):
            ways = {"sigmoid": [lambda z, f, h: h * (1 - h)], "tanh": [lambda z, f, h: 1 - h * h]}
        if name not in ways or (layer == L and net.loss in ("bce", "cross_entropy")):
            return None
        return (kind, layer, ways[name][int(rng.integers(len(ways[name])))]), (kind, layer)
    if kind == "wrong_regulariser":
        if not net.l2:
            return None
        how = str(rng.choice(["missing", "missing", "double", "half", "sign", "over", "biases"]))
        if how == "biases" and net.b[0] is None:
            return None
        return (kind, None, how), (kind, None)
    if kind == "wrong_softmax_jacobian":
        if "softmax" not in net.acts:
            return None
        return (kind, L, str(rng.choice(["diagonal", "twice"]))), (kind, L)
    if kind == "wrong_loss_derivative":
        ways = {
            "squared_error": [lambda o, y: (o - y) ** 2, lambda o, y: np.abs(o - y)],
            "half_squared_error": [lambda o, y: np.abs(o - y)],
            "bce": [lambda o, y: -y / o - (1 - y) / (1 - o)],
            "hinge": [lambda o, y: -y, lambda o, y: -1.0 * (y * o < 1)],
            "multiclass_hinge": [
                lambda o, y: cost_gradient("multiclass_hinge", o, y) * (1 - y),
                lambda o, y: cost_gradient("multiclass_hinge", o, y) * (1 - y) - y,
            ],
        }
        if net.loss not in ways:
            return None
        return (kind, L, ways[net.loss][int(rng.integers(len(ways[net.loss])))]), (kind, L)
    if kind == "loss_mismatch":
        binary = set(np.unique(net.y)) <= {0.0, 1.0}
        ways = {
            "half_squared_error": ["absolute_error"]
            + (["bce"] if net.acts[-1] == "sigmoid" and binary else []),
            "squared_error": ["absolute_error"],
            "absolute_error": ["half_squared_error", "squared_error"],
            "bce": ["squared_error", "half_squared_error"],
            "cross_entropy": ["squared_error"] + (["bce"] if net.acts[-1] == "sigmoid" else []),
            "bce_with_logits": ["half_squared_error"],
            "cross_entropy_from_logits": ["bce_with_logits", "half_squared_error"],
            "hinge": ["half_squared_error"],
            "multiclass_hinge": ["cross_entropy_from_logits"],
        }[net.loss]
        return (kind, L, (str(rng.choice(ways)), "same")), (kind, L)
    if kind == "wrong_dropout_backward":
        if net.masks[layer - 1] is None:
            return None
        return (kind, layer, str(rng.choice(["mask", "scale", "scale", "twice"]))), (kind, layer)
    if kind == "updated_weights_used":
        return None if L == 1 else ((kind, None, None), (kind, None))
    if kind in ("bias_not_summed", "wrong_bias_reduction"):
        if net.b[0] is None or N == 1:
            return None
        how = str(rng.choice(["mean", "all"]))
        if net.sizes[layer] == 1 and how == "all":
            return None
        return (kind, layer, how), (kind, layer)
    if kind == "constant_factor":
        c = float(rng.choice([N, 1 / N, 2, 0.5]))
        where = "chain" if layer < L and rng.random() < 0.5 else "dW"
        return (kind, layer, (where, c)), (kind, layer)
    if kind == "constant_all":
        return (kind, None, float(rng.choice([N, 1 / N, 2, 0.5, net.sizes[-1] + 0.0]))), (
            "constant_factor",
            None,
        )
    if kind == "sign":
        return (kind, layer, "chain" if rng.random() < 0.5 else ("dW", -1.0)), (kind, layer)
    if kind in ("extra_learning_rate", "missing_learning_rate"):
        return (kind, layer, ("dW", net.lr if kind[0] == "e" else 1 / net.lr)), (kind, layer)
    if kind == "transpose":
        square = [i for i in range(1, L + 1) if net.sizes[i - 1] == net.sizes[i]]
        if not square:
            return None
        layer = int(rng.choice(square))
        return (kind, layer, "dW" if layer == 1 or rng.random() < 0.5 else "W"), (kind, layer)
    if kind == "clipping":
        return (kind, None, None), (kind, None)
    if kind == "zero_gradient":
        return (kind, layer, None), (kind, layer)
    if kind == "label_coding":
        labels = net.loss in ("cross_entropy", "cross_entropy_from_logits", "multiclass_hinge")
        if labels:
            how = str(rng.choice(["up", "down"] if net.sizes[-1] > 2 else ["up"]))
        elif net.loss in ("bce", "bce_with_logits"):
            how = "pm" if net.loss == "bce_with_logits" else "flip"
        elif net.loss == "hinge":
            how = "01"
        else:
            return None
        return (kind, L, how), (kind, L)
    if kind == "not_multiplied_by_upstream":
        if (layer == L and net.loss in ("bce", "cross_entropy")) or name == "softmax":
            return None
        return (kind, layer, None), (kind, layer)
    if kind in ("overwritten_gradient", "stale_gradient"):
        return (kind, None, None), (kind, None)
    if kind == "broadcast":
        if net.sizes[-1] != 1 or net.loss in ("bce",):
            return None
        return (kind, L, str(rng.choice(["mean", "sum"]))), (kind, L)
    raise KeyError(kind)
