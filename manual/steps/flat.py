"""All parameters in one array, or their gradients or a moment: one update moves them all at once.

A layer's weight and bias are one block, so that one product computes z = W a + b and one gives both
gradients; after the layers come the normalizations' weights and biases and the learned slopes.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.architecture import Architecture

LINE = 64  # bytes of a cache line


def aligned(size: int, dtype: Any) -> Array:
    """Zeros that start on a cache line, so that no vector of them lies on two."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size * np.dtype(dtype).itemsize].view(dtype)


class FlatArray:
    """`array` (parameters,), `blocks` [W b] (out, in + 1) a layer, `views` by `state_dict` name and shape.

    In memory the entries of one output lie side by side with `rows`, else those of one input.
    """

    def __init__(self, architecture: Architecture, array: Array, *, rows: bool = False) -> None:
        self.array, self.blocks, start = array, [], 0
        shapes, views = architecture.parameter_shapes(), {}
        for i, (inputs, outputs) in enumerate(pairwise(architecture.sizes)):
            end = start + (inputs + 1) * outputs
            piece = array[start:end]
            block = piece.reshape(outputs, inputs + 1) if rows else piece.reshape(inputs + 1, outputs).T
            self.blocks.append(block)
            views[f"layers.{i}.weight"], views[f"layers.{i}.bias"] = block[:, :-1], block[:, -1]
            start = end
        for name, shape in shapes.items():
            if name not in views:
                end = start + int(np.prod(shape))
                views[name] = array[start:end].reshape(shape)
                start = end
        self.views: dict[str, Array] = {name: views[name] for name in shapes}

    @classmethod
    def zeros(cls, architecture: Architecture, dtype: Any, *, rows: bool = False) -> "FlatArray":
        """One for gradients or moments."""
        return cls(architecture, aligned(architecture.counts().parameters, dtype), rows=rows)

    def take(self, values: Mapping[str, Array]) -> "FlatArray":
        """These values by name, written into the views; the array itself."""
        for name, view in self.views.items():
            view[...] = values[name]
        return self
