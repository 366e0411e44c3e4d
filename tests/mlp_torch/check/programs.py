"""Whole programs in the styles of real code, right and wrong, with what must be said of them."""

import itertools

import numpy as np

from mlp_torch import Layer, Penalty


def rng(seed):
    return np.random.default_rng(seed)


class ClassNet:
    """A class with attributes, rows, sigmoid and squared error, as in the first tutorial."""

    def __init__(self, seed, derivative="right", lr=0.5, early=False):
        r = rng(seed)
        self.w1, self.w2 = r.normal(size=(3, 4)), r.normal(size=(4, 1))
        self.derivative, self.early, self.lr = derivative, early, lr

    def sigmoid(self, s):
        return 1 / (1 + np.exp(-s))

    def sigmoid_prime(self, s):
        return {"right": s * (1 - s), "nested": self.sigmoid(s) * (1 - self.sigmoid(s)), "one": 1.0, "f": s}[
            self.derivative
        ]

    def train(self, X, y):
        hidden = self.sigmoid(X @ self.w1)
        o = self.sigmoid(hidden @ self.w2)
        o_error = o - y
        o_delta = o_error * o * (1 - o)
        d2 = hidden.T @ o_delta
        w2 = self.w2 - self.lr * d2 if self.early else self.w2
        z2_delta = o_delta @ w2.T * self.sigmoid_prime(hidden)
        return {"w1": X.T @ z2_delta, "w2": d2}


def class_net(seed, expected, **how):
    net = ClassNet(seed, **how)
    r = rng(seed + 1)
    X, y = r.normal(size=(6, 3)), r.uniform(size=(6, 1))
    layers = [Layer("w1", activation="sigmoid"), Layer("w2", activation="sigmoid")]
    options = {"layers": layers, "loss": "half_squared_error", "reduction": "sum", "lr": net.lr}
    return {"w1": net.w1, "w2": net.w2}, net.train(X, y), X, y, options, expected


def dict_net(
    seed, expected, hidden="relu", average=True, mask="z", lam=0.0, double=False, summed=True, twice=False
):
    """A dict of parameters, samples in columns, weights (out, in), biases (out, 1): the course's style."""
    r = rng(seed)
    P = {
        "W1": r.normal(size=(5, 4)),
        "b1": r.normal(size=(5, 1)),
        "W2": r.normal(size=(3, 5)),
        "b2": r.normal(size=(3, 1)),
    }
    X, m = r.normal(size=(4, 7)), 7
    labels = r.integers(0, 3, m)
    Y = np.zeros((3, m))
    Y[labels, np.arange(m)] = 1
    Z1 = P["W1"] @ X + P["b1"]
    A1 = np.maximum(0, Z1) if hidden == "relu" else np.tanh(Z1)
    Z2 = P["W2"] @ A1 + P["b2"]
    A2 = np.exp(Z2) / np.exp(Z2).sum(axis=0, keepdims=True)
    dZ2 = A2 - Y
    if twice:
        dZ2 = np.einsum(
            "im,ijm->jm", dZ2, np.einsum("im,ij->ijm", A2, np.eye(3)) - np.einsum("im,jm->ijm", A2, A2)
        )
    scale = 1 / m if average else 1.0
    dW2 = scale * dZ2 @ A1.T + lam / m * P["W2"]
    db2 = scale * np.sum(dZ2, axis=1, keepdims=True)
    dA1 = P["W2"].T @ dZ2
    slope = {"z": (Z1 > 0) * 1.0, "tanh": 1 - A1**2, "none": 1.0, "up": (dA1 > 0) * 1.0, "plain": 1 - A1}[
        mask
    ]
    dZ1 = dA1 * slope
    dW1 = scale * dZ1 @ X.T + lam / m * P["W1"] * (2 if double else 1)
    db1 = scale * (np.sum(dZ1, axis=1, keepdims=True) if summed else dZ1)
    G = {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}
    options = {"activations": [hidden, "softmax"], "loss": "cross_entropy", "samples": "columns"}
    if lam:
        options["l2"] = Penalty(lam, half=True, over_samples=True)
    return P, G, X, Y if seed % 2 else labels, options, expected


def flat_script(seed, expected, mean=False, upto="right", forget=None):
    """A flat script: linear regression or logistic regression with a 1-D weight and a scalar bias."""
    r = rng(seed)
    X, w, b = r.normal(size=(9, 3)), r.normal(size=3), 0.4
    y = (r.uniform(size=9) < 0.5).astype(int)
    p = 1 / (1 + np.exp(-(X @ w + b)))
    e = p - y
    if forget == "square":
        e = 2 * (p - y) * p * (1 - p)
    if upto == "labels":
        e = p - (1 - y)
    dw, db = X.T @ e / 9, np.mean(e)
    if mean:
        db = np.mean(e) / 9
    if upto == "bias":
        db = np.sum(e)
    options = {"activations": ["sigmoid"], "loss": "bce"}
    return [w, b], [dw, db], X, y, options, expected


def one_sample(seed, expected, keep="all"):
    """One sample a call, column vectors: the book's nabla_w and nabla_b, summed by a loop."""
    r = rng(seed)
    sizes = [3, 4, 2]
    biases = [r.normal(size=(n, 1)) for n in sizes[1:]]
    weights = [r.normal(size=(n, m)) for m, n in itertools.pairwise(sizes)]
    data = [(r.normal(size=(3, 1)), r.uniform(size=(2, 1))) for _ in range(5)]
    nabla_b, nabla_w = [np.zeros(b.shape) for b in biases], [np.zeros(w.shape) for w in weights]
    for x, y in data if keep != "first" else data[:1]:
        activation, activations = x, [x]
        for b, w in zip(biases, weights, strict=True):
            activation = 1 / (1 + np.exp(-(w @ activation + b)))
            activations.append(activation)
        delta = activations[-1] - y
        if keep != "entropy":
            delta = delta * activations[-1] * (1 - activations[-1])
        down = weights[1].T @ delta * activations[1] * (1 - activations[1])
        for i, (d, a) in enumerate([(down, activations[0]), (delta, activations[1])]):
            if keep == "last":
                nabla_b[i], nabla_w[i] = d, d @ a.T
            else:
                nabla_b[i], nabla_w[i] = nabla_b[i] + d, nabla_w[i] + d @ a.T
    X, Y = np.hstack([x for x, _ in data]), np.hstack([y for _, y in data])
    layers = [Layer(f"weights.{i}", f"biases.{i}", "sigmoid") for i in range(2)]
    options = {"layers": layers, "loss": "half_squared_error", "reduction": "sum", "samples": "columns"}
    return (
        {"weights": weights, "biases": biases},
        {"weights": nabla_w, "biases": nabla_b},
        X,
        Y,
        options,
        expected,
    )


def folded(seed, expected, bug=None):
    """Biases folded into Theta, first column, ones added to X, regularised: the Octave course in NumPy."""
    r = rng(seed)
    m, lam = 8, 0.7
    T1, T2 = r.normal(size=(5, 4)), r.normal(size=(3, 6))
    X = np.c_[np.ones(m), r.normal(size=(m, 3))]
    Y = np.eye(3)[r.integers(0, 3, m)]
    z2 = X @ T1.T
    a2 = np.c_[np.ones(m), 1 / (1 + np.exp(-z2))]
    h = 1 / (1 + np.exp(-(a2 @ T2.T)))
    d3 = h - Y
    g = 1 / (1 + np.exp(-z2))
    slope = {"at a": 1 / (1 + np.exp(-g)) * (1 - 1 / (1 + np.exp(-g)))}.get(bug, g * (1 - g))
    d2 = d3 @ T2[:, 1:] * slope
    G1, G2 = d2.T @ X / m, d3.T @ a2 / m
    for G, T in ((G1, T1), (G2, T2)):
        if bug != "no penalty":
            G[:, 1:] += lam / m * T[:, 1:]
        if bug == "bias penalty":
            G[:, 0] += lam / m * T[:, 0]
    layers = [
        Layer("T1", activation="sigmoid", bias_in_weight="first"),
        Layer("T2", activation="sigmoid", bias_in_weight="first"),
    ]
    options = {"layers": layers, "loss": "bce", "ones_in_x": True, "l2": Penalty(lam, over_samples=True)}
    return {"T1": T1, "T2": T2}, {"T1": G1, "T2": G2}, X, Y, options, expected


AT = "activation_derivative_at_wrong_array"
MISSING, UPDATED = "missing_activation_derivative", "updated_weights_used"
RIGHT = ("right", [])


def wrong(*kinds):
    return ("wrong", list(kinds))


PROGRAMS = {
    "class, right": class_net(1, RIGHT),
    "class, derivative at the sigmoid's value": class_net(2, wrong(AT), derivative="nested"),
    "class, no derivative": class_net(3, wrong("missing_activation_derivative"), derivative="one"),
    "class, f for its derivative": class_net(4, wrong("wrong_activation_derivative"), derivative="f"),
    "class, weights updated first": class_net(5, wrong("updated_weights_used"), early=True),
    "class, updated, no derivative": class_net(6, wrong(UPDATED, MISSING), early=True, derivative="one"),
    "dict, right": dict_net(11, RIGHT),
    "dict, labels, right": dict_net(12, RIGHT),
    "dict, tanh, right": dict_net(13, RIGHT, hidden="tanh", mask="tanh"),
    "dict, not averaged": dict_net(14, ("scaled", ["constant_factor"]), average=False),
    "dict, mask of the upstream": dict_net(15, wrong("activation_derivative_at_wrong_array"), mask="up"),
    "dict, no mask": dict_net(16, wrong("missing_activation_derivative"), mask="none"),
    "dict, 1 - a": dict_net(17, wrong("wrong_activation_derivative"), hidden="tanh", mask="plain"),
    "dict, regularised, right": dict_net(18, RIGHT, lam=0.9),
    "dict, penalty doubled on W1": dict_net(19, wrong("wrong_regulariser"), lam=0.9, double=True),
    "dict, bias not summed": dict_net(20, wrong("bias_not_summed"), summed=False),
    "dict, Jacobian twice": dict_net(21, wrong("wrong_softmax_jacobian"), twice=True),
    "dict, bias kept, no mask": dict_net(22, wrong("bias_not_summed", MISSING), summed=False, mask="none"),
    "script, right": flat_script(31, RIGHT),
    "script, bias averaged twice": flat_script(32, wrong("wrong_bias_reduction"), mean=True),
    "script, squared error's gradient": flat_script(33, ("other_loss", ["loss_mismatch"]), forget="square"),
    "script, labels exchanged": flat_script(34, wrong("label_coding"), upto="labels"),
    "script, bias summed": flat_script(35, wrong("wrong_bias_reduction"), upto="bias"),
    "loop, right": one_sample(41, RIGHT),
    "loop, = for +=": one_sample(42, wrong("overwritten_gradient"), keep="last"),
    "loop, cross-entropy's delta": one_sample(43, ("other_loss", ["loss_mismatch"]), keep="entropy"),
    "folded, right": folded(51, RIGHT),
    "folded, derivative at a": folded(52, wrong("activation_derivative_at_wrong_array"), bug="at a"),
    "folded, penalty forgotten": folded(53, wrong("wrong_regulariser"), bug="no penalty"),
    "folded, penalty on biases": folded(54, wrong("wrong_regulariser"), bug="bias penalty"),
}  # fmt: skip
