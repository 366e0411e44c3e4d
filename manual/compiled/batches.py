"""What is laid out anew for each batch: its rows, the ones beside them, and dropout's masks."""

from typing import Any

from manual.compiled import layout as col
from manual.compiled.memory import at, loops, pointer
from manual.compiled.products import transpose


@loops
def ones(layers: Any, w: Any, n: int) -> None:
    """The feature that is 1 in every layer's input, for batches of n samples."""
    one = w.dtype.type(1)
    for i in range(len(layers)):
        feature = at(w, layers[i, col.BELOW] + layers[i, col.INPUTS] * n, n)
        for r in range(n):
            feature[r] = one


@loops
def gather(layers: Any, x: Any, w: Any, indices: Any, start: int, n: int) -> None:
    """The rows of a batch as (n, in) and as (in, n)."""
    inputs, stride, transposed = layers[0, col.INPUTS], layers[0, col.STRIDE], layers[0, col.TRANSPOSED]
    for r in range(n):
        source, row = at(x, indices[start + r] * inputs, inputs), at(w, transposed + r * stride, inputs)
        for j in range(inputs):
            row[j] = source[j]
    transpose(pointer(w, transposed), stride, pointer(w, layers[0, col.BELOW]), n, n, inputs)


@loops
def draw(w: Any, layers: Any, uniforms: Any, start: int, whole: int, first: int, n: int, p: float) -> int:
    """mask = [u ≥ p] / (1 − p), layer by layer, for n samples of a whole batch; where its numbers end.

    u (whole, size) as the plain network draws it.
    """
    T = w.dtype.type
    scale = T(1) / (T(1) - T(p))
    for i in range(len(layers) - 1):
        size = layers[i, col.OUTPUTS]
        mask = at(w, layers[i, col.MASK], size * n)
        for r in range(n):
            u = at(uniforms, start + (first + r) * size, size)
            for j in range(size):
                mask[j * n + r] = scale if u[j] >= p else T(0)
        start += whole * size
    return start


@loops
def multiply(w: Any, a_at: int, mask_at: int, h_at: int, size: int) -> None:
    """h = a · mask; backward the same with the gradients."""
    a, mask, h = at(w, a_at, size), at(w, mask_at, size), at(w, h_at, size)
    for i in range(size):
        h[i] = a[i] * mask[i]
