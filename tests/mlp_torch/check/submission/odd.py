"""Files that are no submission: a name, the file's bytes, and what the one line says of it."""

HEAD = """import numpy as np
parameters = {"w": np.array([0.3, -0.2, 0.5, 0.1])}
x, y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6.0)
def right(p, x, y):
    e = x @ p["w"] - y
    return (e**2).mean(), {"w": 2 * x.T @ e / len(y)}
"""
F = HEAD + "def f(p, x, y):\n    "

ODD = {
    "empty": ("", "has no function 'f'"),
    "no python": ("def f(:\n", "is no Python: line 1"),
    "bytes": (b"\x89PNG\r\n\x1a\n\x00\x00", "is no Python"),
    "zeros": (b"\x00" * 100, "is no Python"),
    "latin-1 undeclared": (b"x = 'caf\xe9'\n", "is no Python"),
    "utf-16": ("def f(): pass\n".encode("utf-16"), "is no Python"),
    "unknown coding": (b"# -*- coding: klingon -*-\nx = 1\n", "is no Python"),
    "nested too deep": ("f = " + "(" * 3000 + ")" * 3000 + "\n", "is no Python"),
    "long chain": ("f = " + "+".join(["1"] * 200_000) + "\n", "raised RecursionError"),
    "missing import": ("import not_there_at_all\n", "raised ModuleNotFoundError"),
    "missing name": ("f = missing\n", "raised NameError"),
    "a number": (HEAD + "f = 3\n", "f is a int, no function"),
    "a module": (HEAD + "import math as f\n", "'module' object is not callable"),
    "None": (HEAD + "f = None\n", "no function"),
    "returns None": (F + "pass\n", "must return"),
    "returns text": (F + "return 'loss', 'gradients'\n", "the loss is a str"),
    "returns one number": (F + "return 1.0\n", "must return"),
    "returns a set": (F + "return {1.0, 2.0}\n", "must return"),
    "returns objects": (F + "return object(), object()\n", "no number is among"),
    "returns itself": (F + "a = []\n    a.append(a)\n    return 1.0, a\n", "hold itself"),
    "a loss that is an array": (F + "return x, {'w': p['w']}\n", "the loss has shape"),
    "a loss of text": (F + "return '1.0', {'w': p['w']}\n", "the loss is a str"),
    "a loss of NaN": (F + "return np.nan, {'w': p['w']}\n", "the loss is nan"),
    "gradients of text": (F + "return 1.0, {'w': 'abcd'}\n", "w is the text"),
    "gradients of objects": (
        F + "return 1.0, {'w': np.array([object()] * 4)}\n", "has the dtype object",
    ),
    "ragged gradients": (
        F + "return 1.0, {'w': [[1.0], [2.0, 3.0], 4.0, 5.0]}\n", "gradients are named",
    ),
    "a generator": (F + "yield 1.0\n", "it returns a generator"),
    "a coroutine": (HEAD + "async def f(p, x, y):\n    return 1.0, {'w': p['w']}\n", "returns a coroutine"),
    "too many arguments": (HEAD + "def f(a, b, c, d, e, g):\n    return 1.0\n", "cannot be called"),
    "any arguments": (HEAD + "def f(*a, **k):\n    raise TypeError('no')\n", "raised TypeError"),
    "a class": (HEAD + "class f:\n    pass\n", "f is a class"),
    "a class that cannot be made": (
        HEAD + "class f:\n    def __init__(self):\n        raise OSError('x')\n", "f is a class",
    ),
    "parameters of text": (F + "return 1, p\nparameters = 'abc'\n", "a str without any"),
    "parameters of objects": (
        F + "return 1.0, p\nparameters = {'w': object()}\n", "a dict without any",
    ),
    "parameters that hold themselves": (
        HEAD + "parameters['p'] = parameters\ndef f(p, x, y):\n    return right(p, x, y)\n", "no gradient",
    ),
    "parameters that cannot be copied": (
        HEAD + "import threading\nparameters['lock'] = threading.Lock()\nf = right\n", "cannot be copied",
    ),
    "data that explode": (
        HEAD + "class X:\n    def __deepcopy__(self, memo):\n        raise ValueError('boom')\nx = X()\n"
        "def f(p, x, y):\n    return 1.0, {'w': p['w']}\n", "cannot be copied",
    ),
    "no data": ("parameters = {}\ndef f(p, x, y):\n    return 1.0, {}\n", "needs `x`"),
    "data of None": (HEAD + "data = None\nf = right\n", "cannot be called"),
    "a getattr that explodes": (
        HEAD + "def __getattr__(name):\n    raise RuntimeError('boom ' + name)\nf = right\ndel x\n", "boom",
    ),
    "input": (F + "return input(), 0\n", "raised EOFError"),
    "an argument parser": ("import argparse\nargparse.ArgumentParser().add_argument('n')\n"
                           "p = argparse.ArgumentParser()\np.add_argument('n')\np.parse_args()\n",
                           "sys.exit(2)"),
    "an error whose text fails": (
        HEAD + "class E(Exception):\n    def __str__(self):\n        raise ValueError\n"
        "def f(p, x, y):\n    raise E\n", "raised ValueError",
    ),
    "an error of many lines": (F + "raise ValueError('a\\nb\\x1b[31m')\n", "raised ValueError: a b"),
    "a group of errors": (
        F + "raise ExceptionGroup('g', [ValueError('a')])\n", "raised ExceptionGroup",
    ),
    "stops an iteration": (F + "raise StopIteration\n", "raised StopIteration"),
    "an error when it is called again": (
        HEAD + "n = 0\ndef f(p, x, y):\n    global n\n    n += 1\n"
        "    if n > 1:\n        raise OSError('no')\n    return right(p, x, y)\n", "raised OSError: no at",
    ),
    "another form when it is called again": (
        HEAD + "n = 0\ndef f(p, x, y):\n    global n\n    n += 1\n"
        "    return right(p, x, y) if n < 3 else None\n", "of another form",
    ),
    "a dict that holds a function": (HEAD + "def f():\n    return {'x': print}\n", "cannot be handed"),
    "a dict of nonsense": (HEAD + "def f():\n    return {'nonsense': 1}\n", "cannot be called with"),
    "a tuple of too little": (HEAD + "def f():\n    return right, parameters\n", "cannot be called"),
    "a tuple of nonsense": (HEAD + "def f():\n    return print, 1, 2, 3\n", "it returns None"),
    "an unknown dtype of data": (HEAD + "x = np.array([object()] * 6)\nf = right\n", "ValueError: matmul"),
}  # fmt: skip
