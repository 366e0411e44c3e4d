"""What is laid out anew for each batch: its rows, the ones beside them, and dropout's masks."""

from typing import Any

from manual.compiled.layout import INPUTS, MASK, NARROW, OUTPUTS, TURNED, A, H, X
from manual.compiled.memory import at, loops, pointer


@loops
def fill(w: Any, start: int, stride: int, n: int) -> None:
    """n ones, every `stride` entries."""
    one = w.dtype.type(1)
    for i in range(n):
        w[start + i * stride] = one


@loops
def ones(spec: Any, layers: Any, w: Any, n: int) -> None:
    """The feature that is 1 in every layer's input, for batches of n samples."""
    inputs = layers[0, INPUTS]
    fill(w, spec[X] + inputs, inputs + 1, n)
    if inputs <= NARROW:
        fill(w, spec[TURNED] + inputs * n, 1, n)
    for i in range(len(layers) - 1):
        fill(w, layers[i, A] + layers[i, OUTPUTS] * n, 1, n)
        fill(w, layers[i, H] + layers[i, OUTPUTS] * n, 1, n)


@loops
def gather(spec: Any, x: Any, w: Any, inputs: int, indices: Any, start: int, n: int) -> None:
    """The rows of a batch, each followed by its 1; narrow ones also as (in + 1, n), as forward likes them."""
    for r in range(n):
        source = at(x, indices[start + r] * inputs, inputs)
        row, column = at(w, spec[X] + r * (inputs + 1), inputs), pointer(w, spec[TURNED] + r)
        for j in range(inputs):
            row[j] = source[j]
        if inputs <= NARROW:
            for j in range(inputs):
                column[j * n] = source[j]


@loops
def draw(w: Any, layers: Any, uniforms: Any, start: int, n: int, p: float) -> int:
    """mask = [u ≥ p] / (1 − p), layer by layer; u (n, size) as the plain network draws it."""
    T = w.dtype.type
    scale = T(1) / (T(1) - T(p))
    for i in range(len(layers) - 1):
        size = layers[i, OUTPUTS]
        mask = at(w, layers[i, MASK], size * n)
        for r in range(n):
            for j in range(size):
                mask[j * n + r] = scale if uniforms[start + j] >= p else T(0)
            start += size
    return start


@loops
def multiply(w: Any, a_at: int, mask_at: int, h_at: int, size: int) -> None:
    """h = a · mask; backward the same with the gradients."""
    a, mask, h = at(w, a_at, size), at(w, mask_at, size), at(w, h_at, size)
    for i in range(size):
        h[i] = a[i] * mask[i]
