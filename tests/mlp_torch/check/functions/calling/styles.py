"""One right backward pass in the many forms in which people write it down."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

r = np.random.default_rng(5)
X, Y = r.normal(size=(6, 4)), r.normal(size=(6, 2))
W1, B1, W2, B2 = r.normal(size=(4, 3)), r.normal(size=3), r.normal(size=(3, 2)), r.normal(size=2)
P = {"W1": W1, "b1": B1, "W2": W2, "b2": B2}


def core(w1, b1, w2, b2, x, y, reg=0.0):
    a = np.tanh(x @ w1 + b1)
    e = a @ w2 + b2 - y
    loss = (e**2).sum() / len(x) + reg * ((w1**2).sum() + (w2**2).sum())
    d = 2 * e / len(x)
    h = d @ w2.T * (1 - a * a)
    return loss, [x.T @ h + 2 * reg * w1, h.sum(axis=0), a.T @ d + 2 * reg * w2, d.sum(axis=0)]


def by_name(found, style="{}"):
    return {style.format(n): g for n, g in zip(P, found, strict=True)}


def rule(params, x, y):
    loss, g = core(*params.values(), x, y)
    return loss, by_name(g)


# The orders of the arguments: (function, parameters, data, keywords).


def data_first(x, y, p):
    return rule(p, x, y)


def upper_data_first(X, Y, params):
    return rule(params, X, Y)


def in_between(x, w, y):
    return rule(w, x, y)


def spread(W1, b1, W2, b2, x, y):
    loss, g = core(W1, b1, W2, b2, x, y)
    return loss, by_name(g)


def spread_after(x, y, W1, b1, W2, b2):
    return spread(W1, b1, W2, b2, x, y)


def spread_between(x, W1, b1, W2, b2, y):
    return spread(W1, b1, W2, b2, x, y)


def spread_by_keyword(x, y, *, W1, b1, W2, b2):
    return spread(W1, b1, W2, b2, x, y)


def spread_elsewhere_named(weights_a, bias_a, weights_b, bias_b, inputs, targets):
    loss, g = core(weights_a, bias_a, weights_b, bias_b, inputs, targets)
    return loss, g


def one_batch(params, batch):
    x, y = batch
    return rule(params, x, y)


def unlabelled(params, x):
    loss, g = core(*params.values(), x, 0.0)
    return loss, by_name(g)


def with_reg(w, X, y, reg):
    loss, g = core(*w.values(), X, y, reg)
    return loss, by_name(g)


def with_reg_default(params, x, y, reg=0.0, *, lr=0.1):
    return with_reg(params, x, y, reg)


def with_any(params, x, y, **options):
    return with_reg(params, x, y, options["reg"])


def unnamed(a, b, c):
    return rule(c, a, b)


ORDERS = {
    "f(params, x, y)": (rule, P, (X, Y), {}),
    "f(x, y, p)": (data_first, P, (X, Y), {}),
    "f(X, Y, params)": (upper_data_first, P, (X, Y), {}),
    "f(x, w, y)": (in_between, P, (X, Y), {}),
    "f(a, b, c)": (unnamed, P, (X, Y), {}),
    "f(W1, b1, W2, b2, x, y)": (spread, P, (X, Y), {}),
    "f(W1, …), keys in another order": (spread, dict(reversed(P.items())), (X, Y), {}),
    "f(W1, …), keys in lower case": (spread, {n.lower(): v for n, v in P.items()}, (X, Y), {}),
    "f(x, y, W1, b1, W2, b2)": (spread_after, P, (X, Y), {}),
    "f(x, W1, b1, W2, b2, y)": (spread_between, P, (X, Y), {}),
    "f(x, y, *, W1, b1, W2, b2)": (spread_by_keyword, P, (X, Y), {}),
    "f(weights_a, …)": (spread_elsewhere_named, P, (X, Y), {}),
    "f(W1, …) with a list": (spread, [W1, B1, W2, B2], (X, Y), {}),
    "f(params, (x, y))": (one_batch, P, (X, Y), {}),
    "f(params, x)": (unlabelled, P, (X,), {}),
    "f(w, X, y, reg)": (with_reg, P, (X, Y, 0.1), {}),
    "f(w, X, y, reg=)": (with_reg, P, (X, Y), {"reg": 0.1}),
    "f(params, x, y, reg=0.0)": (with_reg_default, P, (X, Y), {"reg": 0.1}),
    "f(params, x=, y=)": (rule, P, (), {"x": X, "y": Y}),
    "f(params, x, y, **options)": (with_any, P, (X, Y), {"reg": 0.1}),
    "lambda": (lambda p, a, b: rule(p, a, b), P, (X, Y), {}),
}

# The forms of the result, over the parameters in a dict.


@dataclass
class Gradients:
    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray


class Result(NamedTuple):
    loss: float
    grads: dict


@dataclass
class Outcome:
    loss: float
    gradients: dict


def result(change):
    def function(p, x, y):
        loss, g = core(p["W1"], p["b1"], p["W2"], p["b2"], x, y)
        return change(loss, g)

    return function


def named_flat(p, x, y):
    loss, (dW1, db1, dW2, db2) = core(p["W1"], p["b1"], p["W2"], p["b2"], x, y)
    return loss, dW2, db2, dW1, db1


RESULTS = {
    "(loss, dict)": result(lambda v, g: (v, by_name(g))),
    "(loss, dict of dW1)": result(lambda v, g: (v, by_name(g, "d{}"))),
    "(loss, dict of grad_W1)": result(lambda v, g: (v, by_name(g, "grad_{}"))),
    "(loss, list)": result(lambda v, g: (v, g)),
    "[loss, list]": result(lambda v, g: [v, g]),
    "(loss, tuple)": result(lambda v, g: (v, tuple(g))),
    "(loss, dict, output)": result(lambda v, g: (v, by_name(g), X @ W1 @ W2)),
    "(loss, accuracy, dict)": result(lambda v, g: (v, 0.5, by_name(g))),
    "(output, loss, dict)": result(lambda v, g: (X @ W1 @ W2, v, by_name(g))),
    "(dict, loss)": result(lambda v, g: (by_name(g), v)),
    "(list, loss)": result(lambda v, g: (g, v)),
    "(loss, dW1, db1, dW2, db2)": result(lambda v, g: (v, *g)),
    "(dW1, db1, dW2, db2, loss)": result(lambda v, g: (*g, v)),
    "(loss, dW2, db2, dW1, db1)": named_flat,
    "{'loss', 'grads'}": result(lambda v, g: {"loss": v, "grads": by_name(g)}),
    "{'cost', 'gradients'}": result(lambda v, g: {"cost": v, "gradients": g}),
    "{'loss', 'dW1', …}": result(lambda v, g: {"loss": v, **by_name(g, "d{}")}),
    "namedtuple": result(lambda v, g: Result(v, by_name(g))),
    "dataclass": result(lambda v, g: Outcome(v, by_name(g))),
    "(loss, dataclass)": result(lambda v, g: (v, Gradients(*g))),
    "(loss, object)": result(lambda v, g: (v, SimpleNamespace(**by_name(g, "d{}")))),
    "(loss, nested lists)": result(lambda v, g: (v, by_name([q.tolist() for q in g]))),
    "(loss, list of lists)": result(lambda v, g: (v, [q.tolist() for q in g])),
    "(loss of shape (1,), dict)": result(lambda v, g: (np.reshape(v, (1,)), by_name(g))),
    "(loss of shape (1, 1), dict)": result(lambda v, g: (np.reshape(v, (1, 1)), by_name(g))),
}

# The forms of the parameters: (parameters, function, names in the report).


@dataclass
class Weights:
    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray


@dataclass(frozen=True)
class Frozen:
    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray


class Named(NamedTuple):
    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray


class Holder:
    def __init__(self):
        self.W1, self.b1, self.W2, self.b2 = W1, B1, W2, B2
        self.activation, self.mean, self.steps = "tanh", np.zeros(4), 3


def of_attributes(p, x, y):
    loss, g = core(p.W1, p.b1, p.W2, p.b2, x - getattr(p, "mean", 0), y)
    return loss, by_name(g)


def unpacking(params, x, y):
    w1, c1, w2, c2 = params
    loss, g = core(w1, c1, w2, c2, x, y)
    return loss, g


def indexing(params, x, y):
    loss, g = core(params[0], params[1], params[2], params[3], x, y)
    return loss, tuple(g)


def of_layers(layers, x, y):
    loss, g = core(layers[0]["W"], layers[0]["b"], layers[1]["W"], layers[1]["b"], x, y)
    return loss, [{"db": g[1], "dW": g[0]}, {"dW": g[2], "db": g[3]}]


def of_pairs(params, x, y):
    (w1, c1), (w2, c2) = params
    loss, g = core(w1, c1, w2, c2, x, y)
    return loss, [(g[0], g[1]), (g[2], g[3])]


def of_layers_in_a_dict(p, x, y):
    loss, g = core(p["W"][0], p["b"][0], p["W"][1], p["b"][1], x, y)
    return loss, {"b": [g[1], g[3]], "W": [g[0], g[2]]}


def of_a_vector(theta, x, y):
    loss, g = core(theta[:12].reshape(4, 3), theta[12:15], theta[15:21].reshape(3, 2), theta[21:], x, y)
    return loss, np.concatenate([q.ravel() for q in g])


def of_constants(p, x, y):
    loss, g = core(p["W1"], p["b1"], p["W2"], p["b2"], x, y, p["reg"])
    return loss, by_name(g)


def of_records(net, x, y):
    one, two = net.layers
    loss, g = core(one.W, one.b, two.W, two.b, x, y)
    return loss, {"layers": [{"W": g[0], "b": g[1]}, {"W": g[2], "b": g[3]}]}


VECTOR = np.concatenate([v.ravel() for v in P.values()])
LAYERS = [{"W": W1, "b": B1}, {"W": W2, "b": B2}]
RECORDS = SimpleNamespace(layers=[SimpleNamespace(W=W1, b=B1), SimpleNamespace(W=W2, b=B2)], depth=2)
PARAMETERS = {
    "dict": (P, rule, ["W1", "b1", "W2", "b2"]),
    "dataclass": (Weights(W1, B1, W2, B2), of_attributes, ["W1", "b1", "W2", "b2"]),
    "frozen dataclass": (Frozen(W1, B1, W2, B2), of_attributes, ["W1", "b1", "W2", "b2"]),
    "namedtuple": (Named(W1, B1, W2, B2), of_attributes, ["W1", "b1", "W2", "b2"]),
    "object": (Holder(), of_attributes, ["W1", "b1", "W2", "b2"]),
    "list, unpacked": ([W1, B1, W2, B2], unpacking, ["w1", "c1", "w2", "c2"]),
    "tuple, unpacked": ((W1, B1, W2, B2), unpacking, ["w1", "c1", "w2", "c2"]),
    "list, indexed": ([W1, B1, W2, B2], indexing, ["params[0]", "params[1]", "params[2]", "params[3]"]),
    "list of dicts": (LAYERS, of_layers, ["layers[0].W", "layers[0].b", "layers[1].W", "layers[1].b"]),
    "list of pairs": ([(W1, B1), (W2, B2)], of_pairs, [f"params[{i}].{j}" for i in (0, 1) for j in (0, 1)]),
    "dict of lists": ({"W": [W1, W2], "b": [B1, B2]}, of_layers_in_a_dict, ["W.0", "W.1", "b.0", "b.1"]),
    "one vector": (VECTOR, of_a_vector, ["theta"]),
    "with a constant": ({**P, "reg": 0.1, "act": "tanh"}, of_constants, ["W1", "b1", "W2", "b2"]),
    "plain lists": ({n: v.tolist() for n, v in P.items()}, rule, ["W1", "b1", "W2", "b2"]),
    "records": (RECORDS, of_records, ["layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b"]),
}
