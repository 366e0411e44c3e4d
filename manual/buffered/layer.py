"""One layer of a step: its arrays, and the calls of its forward and its backward pass.

z = W a + b, n = γ x̂ + β, a = f(n), h = a · mask, and back again; samples are columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.buffered import activations, layers
from manual.buffered.flat import FlatArray
from manual.buffered.program import Program, Workspace, borrows
from manual.numbers import Array
from manual.structure.architecture import Architecture


@dataclass
class Arrays:
    """What the layers of one step share. `stages` are (N, features) views by the trace's names.

    With `keep` no stage takes over another's array, so that each can be read after the pass.
    """

    architecture: Architecture
    parameters: FlatArray
    gradients: FlatArray
    workspace: Workspace
    n: int
    keep: bool
    buffers: Mapping[str, Array] | None
    masks: dict[str, Array] = field(default_factory=dict)
    stages: dict[str, Array] = field(default_factory=dict)

    def stage(self, name: str, layer: int, taken: Array | None = None) -> Array:
        """The array of a stage of that layer: the one it may take over, or a new one."""
        if taken is None or self.keep:
            taken = self.workspace.new(self.architecture.sizes[layer], self.n)
        self.stages[f"{name}{layer}"] = taken.T
        return taken


class BufferedLayer:
    """Layer number `layer`, from `below` (in + 1, N), whose last row is 1, to `out` (out, N)."""

    def __init__(self, arrays: Arrays, layer: int, below: Array, out: Array) -> None:
        self.arrays, self.layer, self.below, self.out = arrays, layer, below, out
        a, i = arrays.architecture, layer - 1
        hidden = layer < a.depth
        self.row = a.row(layer)
        self.kernel = activations.kernel(self.row)
        self.mask = arrays.masks.get(f"mask{layer}")
        self.normal = a.normalization if hidden and a.normalization != "none" else None
        views = arrays.parameters.views
        self.slope = None if self.row.slope is None else views[f"activations.{i}.weight"]
        same = self.row.name == "identity" and self.normal is None and self.mask is None  # a is z
        self.z = arrays.stage("z", layer, out if same else None)
        self.n = self.z if self.normal is None else arrays.stage("n", layer)
        self.a = out if self.mask is None else arrays.stage("a", layer)
        arrays.stages[f"{'a' if self.mask is None else 'h'}{layer}"] = out.T
        self.saved: Any = None

    def forward(self, do: Program) -> None:
        arrays, i = self.arrays, self.layer - 1
        layers.linear(do, self.below, arrays.parameters.blocks[i], self.z)
        if self.normal is not None:
            self.normalization = layers.Normalization(do, self.normal, self.z)
            self.normalization.forward(do, self.z, *self._views(arrays.parameters), self.n)
            if self.normal == "batch_norm" and arrays.buffers is not None:
                names = (f"normalizations.{i}.running_{kind}" for kind in ("mean", "var"))
                self.normalization.update(do, *(arrays.buffers[name] for name in names))
        if self.a is not self.z:
            assert self.kernel.forward is not None
            self.saved = self.kernel.forward(do, self.n, self.a, self.slope)
        if self.mask is not None:  # h = a · mask
            do(np.multiply, self.a, self.mask, out=self.out)

    def backward(self, do: Program, delta: Array, input_too: bool) -> Array:
        """From ∂L/∂out to the parameters' gradients and, with `input_too`, ∂L/∂below, which is returned."""
        arrays, i = self.arrays, self.layer - 1
        if self.mask is not None:  # h = a · mask, so da = dh · mask
            delta = do(np.multiply, delta, self.mask, out=arrays.stage("da", self.layer, delta))
        if self.row.slope is not None:
            self._slope(do, delta)
        dn = arrays.stage("dz" if self.normal is None else "dn", self.layer, delta)
        self._through_activation(do, delta, dn)
        dz = dn
        if self.normal is not None:
            dz = arrays.stage("dz", self.layer, dn)
            self.normalization.backward_parameters(do, dn, *self._views(arrays.gradients))
            self.normalization.backward_input(do, dn, self._views(arrays.parameters)[0], dz)
        layers.linear_backward_weight(do, dz, self.below, arrays.gradients.blocks[i])
        if not input_too:
            return dz
        below = arrays.workspace.new(arrays.architecture.sizes[i], arrays.n)
        name = "dx" if i == 0 else f"d{'h' if f'mask{i}' in arrays.masks else 'a'}{i}"
        arrays.stages[name] = below.T
        layers.linear_backward_input(do, dz, arrays.parameters.blocks[i], below)
        return below

    # a = f(n), so dn = da · f′(n), or the product with the Jacobian
    @borrows
    def _through_activation(self, do: Program, da: Array, dn: Array) -> None:
        if self.kernel.product is not None:
            self.kernel.product(do, da, self.n, self.a, dn)
        elif self.kernel.derivative is not None:
            derivative = do.scratch(dn)
            self.kernel.derivative(do, self.n, self.a, derivative, self.slope, self.saved)
            do(np.multiply, da, derivative, out=dn)
        elif dn is not da:
            do.copy(da, dn)

    # ∂a/∂slope = min(0, n), so dslope = Σ da · min(0, n)
    @borrows
    def _slope(self, do: Program, da: Array) -> None:
        s = do.scratch(da)
        do(np.minimum, self.n, 0, out=s)
        do(np.multiply, s, da, out=s)
        slope = self.arrays.gradients.views[f"activations.{self.layer - 1}.weight"]
        do(np.add.reduce, s, axis=(0, 1), out=slope.reshape(()))

    def _views(self, flat: FlatArray) -> tuple[Array, Array]:
        """γ and β of the layer's normalization, or their gradients."""
        weight, bias = (flat.views[f"normalizations.{self.layer - 1}.{k}"] for k in ("weight", "bias"))
        return weight, bias
