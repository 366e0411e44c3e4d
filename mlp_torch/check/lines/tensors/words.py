"""Torch's words for edits: what is written for what, over which axes, and the letters of an einsum."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlp_torch.check.lines.syntax import Span

REDUCTIONS = frozenset({
    "sum", "mean", "amax", "amin", "prod", "cumsum", "softmax", "log_softmax", "logsumexp", "flip", "argmax",
    "norm", "var", "std", "max", "min", "cumprod", "any", "all", "nansum", "logcumsumexp",
})  # fmt: skip
KEEP = frozenset({"sum", "mean", "amax", "amin", "prod", "logsumexp", "norm", "var", "std"})
SPACES = frozenset({"torch", "F", "functional", "nn", "special", "linalg"})
OTHERS = {
    "sum": ("mean", "cumsum", "amax"), "mean": ("sum",), "amax": ("sum", "amin"), "amin": ("amax",),
    "maximum": ("minimum",), "minimum": ("maximum",), "sin": ("cos",), "cos": ("sin",),
    "exp": ("log", "expm1"),
    "log": ("exp", "log1p"), "tanh": ("sigmoid", "cosh"), "sigmoid": ("tanh", "relu"), "sqrt": ("rsqrt",),
    "rsqrt": ("sqrt", "reciprocal"), "relu": ("sigmoid",), "erf": ("exp", "erfc"), "sinh": ("cosh",),
    "cosh": ("sinh",), "triu": ("tril",), "tril": ("triu",), "scatter": ("scatter_add",), "square": ("abs",),
    "scatter_add": ("scatter",), "index_copy": ("index_add",), "index_add": ("index_copy",),
    "scatter_": ("scatter_add_",), "scatter_add_": ("scatter_",), "index_copy_": ("index_add_",),
    "index_add_": ("index_copy_",), "zeros_like": ("ones_like",), "ones_like": ("zeros_like",),
    "add_": ("sub_", "copy_", "mul_"), "sub_": ("add_",), "mul_": ("div_", "add_"), "div_": ("mul_",),
    "copy_": ("add_",), "add": ("sub",), "sub": ("add",), "mul": ("div",), "div": ("mul",), "abs": ("sign",),
    "sign": ("abs",), "cumsum": ("sum",), "cumprod": ("prod",), "gt": ("lt", "ge"), "ge": ("le", "gt"),
    "lt": ("gt", "le"), "le": ("ge", "lt"), "eq": ("ne",), "ne": ("eq",), "floor": ("ceil",),
    "softmax": ("log_softmax", "sigmoid"), "log_softmax": ("softmax",), "neg": ("abs",),
    "argmax": ("argmin",),
    "index_put_": ("index_add_",), "repeat_interleave": ("repeat",), "repeat": ("repeat_interleave",),
}  # fmt: skip
LAYOUTS = frozenset(
    {"t", "transpose", "permute", "contiguous", "flip", "neg", "conj", "abs", "square", "exp"}
)


def together(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes broadcast."""
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


def within(inner: Span, outer: Span) -> bool:
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]


def dims(ndim: int, name: str) -> Iterator[Any]:
    """None, each axis, and what several of them are summed over."""
    yield None
    yield -1
    yield from range(max(ndim, 1))
    yield from range(-2, -ndim - 1, -1)
    if name in KEEP:
        for count in range(2, ndim):
            yield from itertools.combinations(range(ndim), count)
        for count in range(2, ndim):
            yield tuple(range(-count, 0))


def spellings(text: str) -> Iterator[str]:
    """An einsum with two letters in each other's place."""
    if "->" not in text:
        yield from {"sum": ("mean",), "mean": ("sum",)}.get(text, ())
        return
    inside, _, out = text.partition("->")
    parts = [*inside.split(","), out]
    for k, part in enumerate(parts):
        for i, j in itertools.combinations(range(len(part)), 2):
            letters = list(part)
            letters[i], letters[j] = letters[j], letters[i]
            changed = [*parts[:k], "".join(letters), *parts[k + 1 :]]
            yield ",".join(changed[:-1]) + "->" + changed[-1]
    for k, part in enumerate(parts[:-1]):  # one letter for another
        for i, letter in itertools.product(range(len(part)), sorted(set(inside) - {",", " "})):
            if letter != part[i]:
                changed = [*parts[:k], part[:i] + letter + part[i + 1 :], *parts[k + 1 :]]
                yield ",".join(changed[:-1]) + "->" + changed[-1]
