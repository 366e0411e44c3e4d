"""Objects that hold their parameters, in the styles of real classes; each backward pass is right."""

import numpy as np

from tests.mlp_torch.check.functions.calling.styles import P, by_name, core


class Base:
    def __init__(self):
        for name, value in P.items():
            setattr(self, name, value.copy())

    def core(self, x, y, reg=0.0):
        return core(self.W1, self.b1, self.W2, self.b2, x, y, reg)


class ReturnsBoth(Base):
    def loss_and_gradients(self, x, y):
        loss, g = self.core(x, y)
        return loss, by_name(g)


class Course:
    """CS231n's: params in a dict, loss(X, y, reg) gives both."""

    def __init__(self):
        self.params = {n: v.copy() for n, v in P.items()}

    def loss(self, X, y=None, reg=0.0):
        loss, g = core(*self.params.values(), X, y, reg)
        return loss, by_name(g)


class Stores(Base):
    """forward keeps what backward needs; backward(y) leaves dW1 … in the object."""

    def forward(self, x):
        self.x = x
        self.a = np.tanh(x @ self.W1 + self.b1)
        self.out = self.a @ self.W2 + self.b2
        return self.out

    def loss(self, y_hat, y):
        return ((y_hat - y) ** 2).sum() / len(y)

    def backward(self, y):
        d = 2 * (self.out - y) / len(y)
        self.dW2, self.db2 = self.a.T @ d, d.sum(axis=0)
        h = d @ self.W2.T * (1 - self.a**2)
        self.dW1, self.db1 = self.x.T @ h, h.sum(axis=0)


class StoresInGrads(Stores):
    def backward(self, x, y):
        Stores.backward(self, y)
        self.grads = {n: getattr(self, f"d{n}") for n in P}
        for n in P:
            delattr(self, f"d{n}")


class ReturnsGradients(Stores):
    def compute_loss(self, y, y_hat):
        return self.__class__.loss(self, y_hat, y)

    def backward(self, x, y, output):
        Stores.backward(self, y)
        return {f"d{n}": getattr(self, f"d{n}") for n in P}


class TakesUpstream(Stores):
    loss = None

    def backward(self, dout):
        self.dW2, self.db2 = self.a.T @ dout, dout.sum(axis=0)
        h = dout @ self.W2.T * (1 - self.a**2)
        self.dW1, self.db1 = self.x.T @ h, h.sum(axis=0)


class LossFromForward(Stores):
    loss = None

    def forward(self, x, y):
        self.y = y
        return ((Stores.forward(self, x) - y) ** 2).sum() / len(y)

    def backward(self):
        Stores.backward(self, self.y)


class LossThenStored(Base):
    """loss(x, y) gives the loss alone and leaves the gradients behind."""

    def loss(self, x, y):
        loss, g = self.core(x, y)
        self.grads = by_name(g)
        return loss


class Lists:
    """Nielsen's: weights and biases in lists."""

    def __init__(self):
        self.weights, self.biases = [P["W1"].copy(), P["W2"].copy()], [P["b1"].copy(), P["b2"].copy()]
        self.grad_weights, self.grad_biases = [0, 0], [0, 0]

    def forward(self, x):
        self.x, self.a = x, np.tanh(x @ self.weights[0] + self.biases[0])
        return self.a @ self.weights[1] + self.biases[1]

    def cost(self, output, y):
        return ((output - y) ** 2).sum() / len(y)

    def backward(self, output, y):
        d = 2 * (output - y) / len(y)
        h = d @ self.weights[1].T * (1 - self.a**2)
        self.grad_weights = [self.x.T @ h, self.a.T @ d]
        self.grad_biases = [h.sum(axis=0), d.sum(axis=0)]


class Dense:
    def __init__(self, W, b):
        self.W, self.b = W.copy(), b.copy()
        self.dW, self.db = np.zeros_like(W), np.zeros_like(b)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, d):
        self.dW, self.db = self.x.T @ d, d.sum(axis=0)
        return d @ self.W.T


class Tanh:
    def forward(self, z):
        self.a = np.tanh(z)
        return self.a

    def backward(self, d):
        return d * (1 - self.a**2)


class Sequential:
    """Layers with W, b and dW, db of their own; backward takes the upstream gradient."""

    def __init__(self):
        self.layers = [Dense(P["W1"], P["b1"]), Tanh(), Dense(P["W2"], P["b2"])]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad):
        for layer in reversed(self.layers):
            grad = layer.backward(grad)


NETS = {c.__name__: c for c in (ReturnsBoth, Course, Stores, StoresInGrads, ReturnsGradients, TakesUpstream,
                                LossFromForward, LossThenStored, Lists, Sequential)}  # fmt: skip
