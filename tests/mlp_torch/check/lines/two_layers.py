"""A network of two layers, its activation and what stands before it to be filled in, and slips."""

from mlp_torch.check.functions.calling.adapters import adapt
from mlp_torch.check.lines.guilty import guilty_lines
from mlp_torch.check.lines.program import Program, Sources

NET = """import ctypes, math, sys
import numpy as np
import scipy.linalg, scipy.ndimage, scipy.special
BEFORE
def f(P, x, y):
    z1 = x @ P["W1"] + P["b1"]
    a1 = ACTIVATION
    z2 = a1 @ P["W2"] + P["b2"]
    e = z2 - y
    loss = np.mean(e**2)
    dz2 = 2 * e / e.size
    dW2 = a1.T @ dz2
    db2 = dz2.sum(axis=0)
    da1 = dz2 @ P["W2"].T
    dz1 = da1 * (DERIVATIVE)
    dW1 = x.T @ dz1
    db1 = dz1.sum(axis=0)
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}

P = {"W1": n(3, 5), "b1": n(5), "W2": n(5, 2), "b2": n(2)}
D = (n(SAMPLES, 3), n(SAMPLES, 2))
"""
TANH = "1 - a1**2"
C_TANH = """
libm = ctypes.CDLL(None)
libm.tanh.restype, libm.tanh.argtypes = ctypes.c_double, [ctypes.c_double]
def tanh(z):
    return np.array([libm.tanh(float(v)) for v in z.ravel()]).reshape(z.shape)
"""
# what torch has not: (lines before, activation, its derivative)
BEYOND = {
    "a C library": (C_TANH, "tanh(z1)", TANH),
    "a number as text": (
        "",
        "np.array([float('%.17g' % math.tanh(v)) for v in z1.flat]).reshape(7, 5)",
        TANH,
    ),
    "a special function": ("", "scipy.special.dawsn(z1)", "1 - 2 * z1 * a1"),
    "an object array": ("t = np.frompyfunc(math.tanh, 1, 1)", "t(z1).astype(float)", TANH),
    "a filter": ("", "np.tanh(scipy.ndimage.correlate1d(z1, [0.0, 1.0, 0.0]))", TANH),
    "bytes": ("", "np.tanh(np.frombuffer(z1.tobytes()).reshape(z1.shape))", TANH),
}
SLIPS = (("dz2 @ P", "2 * dz2 @ P"), ("a1.T @ dz2", "z1.T @ dz2"), ("x.T @ dz1", "x.T @ da1"))


def net(before="", activation="np.tanh(z1)", derivative=TANH, samples=7):
    source = NET.replace("BEFORE", before).replace("ACTIVATION", activation)
    return source.replace("DERIVATIVE", derivative).replace("SAMPLES", str(samples))


def program_of(module):
    author = adapt(module.f, module.P, module.D, {})
    return Program(author.fresh, author.loss, Sources()), author.parameters, author.data


def lines_of(module, seconds=20.0):
    author = adapt(module.f, module.P, module.D, {})
    return guilty_lines(author.fresh, author.loss, author.parameters, author.data, {}, seconds)
