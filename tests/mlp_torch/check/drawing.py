"""Which fault goes where: a place in the network for a kind, and which plantings are one mistake."""

from collections.abc import Callable, Sequence
from typing import Any

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


# ---- a place for each kind: one row each, at the end ------------------------------------------------

Place = tuple[int | None, Any]  # the layer, None where the slip is of the whole pass, and what it needs
Drawn = Callable[[np.random.Generator, Net, int], Place | None]

SLOPES = {
    "sigmoid": [lambda z, f: f, lambda z, f: 1 - f, lambda z, f: f * (1 + f), lambda z, f: 1 - f * f],
    "tanh": [lambda z, f: f, lambda z, f: 1 - f, lambda z, f: f * (1 - f), lambda z, f: 1 + f * f],
    "relu": [lambda z, f: f, lambda z, f: 1.0 * (z < 0), lambda z, f: z],
    "leaky_relu": [lambda z, f: 1.0 * (z > 0), lambda z, f: (z > 0) + 0.01 * (z <= 0), lambda z, f: f],
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
AT_WRONG_ARRAY = {
    "sigmoid": [lambda z, f, h: slope("sigmoid", f), lambda z, f, h: z * (1 - z)],
    "tanh": [lambda z, f, h: slope("tanh", f), lambda z, f, h: 1 - z * z],
    "softplus": [lambda z, f, h: slope("softplus", f)],
    "elu": [lambda z, f, h: slope("elu", f)],
    "selu": [lambda z, f, h: slope("selu", f)],
}
AFTER_DROPOUT = {"sigmoid": [lambda z, f, h: h * (1 - h)], "tanh": [lambda z, f, h: 1 - h * h]}
LOSS_SLOPES = {
    "squared_error": [lambda o, y: (o - y) ** 2, lambda o, y: np.abs(o - y)],
    "half_squared_error": [lambda o, y: np.abs(o - y)],
    "bce": [lambda o, y: -y / o - (1 - y) / (1 - o)],
    "hinge": [lambda o, y: -y, lambda o, y: -1.0 * (y * o < 1)],
    "multiclass_hinge": [
        lambda o, y: cost_gradient("multiclass_hinge", o, y) * (1 - y),
        lambda o, y: cost_gradient("multiclass_hinge", o, y) * (1 - y) - y,
    ],
}
OTHER_LOSSES = {
    "half_squared_error": ["absolute_error"],
    "squared_error": ["absolute_error"],
    "absolute_error": ["half_squared_error", "squared_error"],
    "bce": ["squared_error", "half_squared_error"],
    "cross_entropy": ["squared_error"],
    "bce_with_logits": ["half_squared_error"],
    "cross_entropy_from_logits": ["bce_with_logits", "half_squared_error"],
    "hinge": ["half_squared_error"],
    "multiclass_hinge": ["cross_entropy_from_logits"],
}
REGULARISERS = ["missing", "missing", "double", "half", "sign", "over", "biases"]
OTHER_CODINGS = {
    "cross_entropy": ["up", "down"],
    "cross_entropy_from_logits": ["up", "down"],
    "multiclass_hinge": ["up", "down"],
    "bce": ["flip"],
    "bce_with_logits": ["pm"],
    "hinge": ["01"],
}


def fused(net: Net, layer: int, *losses: str) -> bool:
    """Whether the loss and the output's activation are derived as one, so that f′ has no line of its own."""
    return layer == net.depth and net.loss in (*losses, "bce", "cross_entropy")


def slopes_at_wrong_array(net: Net, layer: int) -> list[Any]:
    name, table = net.acts[layer - 1], AT_WRONG_ARRAY
    if net.masks[layer - 1] is not None and name in AFTER_DROPOUT:
        table = AFTER_DROPOUT
    return [] if fused(net, layer) else table.get(name, [])


def other_losses(net: Net, layer: int) -> list[Any]:
    ways = list(OTHER_LOSSES[net.loss])
    labels = net.loss == "cross_entropy" or (
        net.loss == "half_squared_error" and set(np.unique(net.y)) <= {0, 1}
    )
    if labels and net.acts[-1] == "sigmoid":
        ways.append("bce")
    return [(way, "same") for way in ways]


def other_codings(net: Net, layer: int) -> list[str]:
    ways = OTHER_CODINGS.get(net.loss, [])
    return ways[:1] if net.sizes[-1] == 2 else ways  # of two classes, one up is one down


def constants(net: Net) -> list[float]:
    N = net.x.shape[1]
    return [float(c) for c in (N, 1 / N, 2, 0.5)]


def here(net: Net, layer: int) -> int:
    return layer


def top(net: Net, layer: int) -> int:
    return net.depth


def everywhere(net: Net, layer: int) -> None:
    return None


def one_of(ways: Callable[[Net, int], Sequence[Any]], at: Callable[[Net, int], int | None] = here) -> Drawn:
    """One of the ways that there are in this net and layer; no place where there is none."""

    def drawn(rng: np.random.Generator, net: Net, layer: int) -> Place | None:
        found = ways(net, layer)
        return (at(net, layer), found[int(rng.integers(len(found)))]) if found else None

    return drawn


def where(possible: Callable[[Net, int, Any], bool], drawn: Drawn) -> Drawn:
    """What is drawn, if the net has a place for just that."""

    def asked(rng: np.random.Generator, net: Net, layer: int) -> Place | None:
        place = drawn(rng, net, layer)
        return place if place and possible(net, layer, place[1]) else None

    return asked


def only(condition: Callable[[Net, int], bool], at: Callable[[Net, int], int | None] = here) -> Drawn:
    """A kind that there is one way of, where the condition holds."""
    return one_of(lambda net, layer: [None] if condition(net, layer) else [], at)


def one_array_or_the_chain(rng: np.random.Generator, net: Net, layer: int) -> Place:
    c = constants(net)[int(rng.integers(4))]
    return layer, ("chain" if layer < net.depth and rng.random() < 0.5 else "dW", c)


def one_sign(rng: np.random.Generator, net: Net, layer: int) -> Place:
    return layer, "chain" if rng.random() < 0.5 else ("dW", -1.0)


def a_square(rng: np.random.Generator, net: Net, layer: int) -> Place | None:
    square = [i for i in range(1, net.depth + 1) if net.sizes[i - 1] == net.sizes[i]]
    if not square:
        return None
    layer = square[int(rng.integers(len(square)))]
    return layer, "dW" if layer == 1 or rng.random() < 0.5 else "W"


BIAS = where(
    lambda net, layer, how: how == "mean" or net.sizes[layer] > 1,
    one_of(lambda net, layer: [] if net.b[0] is None or net.x.shape[1] == 1 else ["mean", "all"]),
)
PLACES: dict[str, Drawn] = {
    "missing_activation_derivative": only(
        lambda net, layer: net.acts[layer - 1] != "identity" and not fused(net, layer, "half_squared_error")
    ),
    "wrong_activation_derivative": one_of(
        lambda net, layer: [] if fused(net, layer) else SLOPES.get(net.acts[layer - 1], [])
    ),
    "activation_derivative_at_wrong_array": one_of(slopes_at_wrong_array),
    "wrong_regulariser": where(
        lambda net, layer, how: how != "biases" or net.b[0] is not None,
        one_of(lambda net, layer: REGULARISERS if net.l2 else [], everywhere),
    ),
    "wrong_softmax_jacobian": one_of(
        lambda net, layer: ["diagonal", "twice"] if "softmax" in net.acts else [], top
    ),
    "wrong_loss_derivative": one_of(lambda net, layer: LOSS_SLOPES.get(net.loss, []), top),
    "loss_mismatch": one_of(other_losses, top),
    "wrong_dropout_backward": one_of(
        lambda net, layer: [] if net.masks[layer - 1] is None else ["mask", "scale", "scale", "twice"]
    ),
    "updated_weights_used": only(lambda net, layer: net.depth > 1, everywhere),
    "bias_not_summed": BIAS,
    "wrong_bias_reduction": BIAS,
    "constant_factor": one_array_or_the_chain,
    "constant_all": one_of(lambda net, layer: [*constants(net), float(net.sizes[-1])], everywhere),
    "sign": one_sign,
    "extra_learning_rate": one_of(lambda net, layer: [("dW", net.lr)]),
    "missing_learning_rate": one_of(lambda net, layer: [("dW", 1 / net.lr)]),
    "transpose": a_square,
    "clipping": only(lambda net, layer: True, everywhere),
    "zero_gradient": only(lambda net, layer: True),
    "label_coding": one_of(other_codings, top),
    "not_multiplied_by_upstream": only(
        lambda net, layer: net.acts[layer - 1] != "softmax" and not fused(net, layer)
    ),
    "overwritten_gradient": only(lambda net, layer: True, everywhere),
    "stale_gradient": only(lambda net, layer: True, everywhere),
    "broadcast": one_of(
        lambda net, layer: ["mean", "sum"] if net.sizes[-1] == 1 and net.loss != "bce" else [], top
    ),
}


def draw(rng, kind, net: Net):
    """(planted fault for `gradients`, what it must be called) or None where the net has no place for it."""
    place = PLACES[kind](rng, net, int(rng.integers(1, net.depth + 1)))
    if place is None:
        return None
    layer, needs = place
    return (kind, layer, needs), (kind.replace("constant_all", "constant_factor"), layer)
