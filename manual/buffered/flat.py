"""All parameters in one flat array, with views by name: of the weights, the gradients, the moments.

A layer's weight and bias are one block (in + 1, out) in it, which the products take whole.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.architecture import Architecture


class FlatArray:
    """`array` (parameters,), `blocks` [(in + 1, out) a layer], `views` by `state_dict` name and shape."""

    def __init__(self, architecture: Architecture, array: Array) -> None:
        self.array = array
        self.blocks: list[Array] = []
        self.views: dict[str, Array] = {}
        shapes = architecture.parameter_shapes()
        start = 0
        for i, (inputs, outputs) in enumerate(pairwise(architecture.sizes)):
            end = start + (inputs + 1) * outputs
            block = array[start:end].reshape(inputs + 1, outputs)
            self.blocks.append(block)
            self.views[f"layers.{i}.weight"], self.views[f"layers.{i}.bias"] = block[:-1].T, block[-1]
            start = end
        for name, shape in shapes.items():
            if name not in self.views:
                end = start + int(np.prod(shape))
                self.views[name] = array[start:end].reshape(shape)
                start = end
        self.views = {name: self.views[name] for name in shapes}

    @classmethod
    def zeros(cls, architecture: Architecture, dtype: Any) -> "FlatArray":
        """One for gradients or moments."""
        return cls(architecture, np.zeros(architecture.counts().parameters, dtype))

    @classmethod
    def taking(cls, architecture: Architecture, parameters: Mapping[str, Array], dtype: Any) -> "FlatArray":
        """One that holds these values."""
        flat = cls.zeros(architecture, dtype)
        for name, view in flat.views.items():
            view[...] = parameters[name]
        return flat
