"""One step as a program: for each kind of stage in `manual.chain` its calls, for batches of one size.

Samples are columns. x and y lie in chunks of several batches. The calls that read them are bound once for
every place in the chunk; all other arrays serve every batch.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from manual.buffered import activations, layers
from manual.buffered.losses import kernel
from manual.buffered.program import Call, Program, Workspace, borrows
from manual.catalogue import LOSSES
from manual.losses import Reduction
from manual.numbers import Array
from manual.steps.flat import FlatArray
from manual.steps.program import Program as Stages
from manual.steps.program import Written, named, program, terms
from manual.structure.architecture import Architecture
from manual.structure.trace import Stage


class Step(Written):
    """The calls of one step on batches of n samples, `places` of them in a chunk.

    `calls[place]` compute every gradient from the batch at that place. With `keep` every stage has an
    array of its own, dx is computed too, and `stages` holds all of them by name. With `weighted`, `shares`
    (places, 1, n) says what each sample counts in its batch's mean. `program` gives the stages.
    """

    def __init__(
        self,
        architecture: Architecture,
        loss: str,
        parameters: FlatArray,
        gradients: FlatArray,
        n: int,
        *,
        places: int = 1,
        probabilities: bool = False,
        reduction: Reduction = "mean",
        buffers: Mapping[str, Array] | None = None,
        generator: np.random.Generator | None = None,
        keep: bool = False,
        weighted: bool = False,
        program: Stages = program,
    ) -> None:
        self.architecture, self.parameters, self.gradients = architecture, parameters, gradients
        self.n, self.keep, self.buffers, self.probabilities = n, keep, buffers, probabilities
        self.do = do = Program(Workspace(parameters.array.dtype))
        sizes, new = architecture.sizes, do.workspace.new
        self.kernel, self.count = kernel(LOSSES[loss]), terms(loss, reduction, n, sizes[-1])
        self.x, self.sums = new(places, n, sizes[0] + 1), new(places)
        self.x[..., -1] = 1
        self.y, self.output, self.terms = (new(places, sizes[-1], n) for _ in range(3))
        self.shares = new(places, 1, n) if weighted else None
        chunks = {"x": self.x.transpose(0, 2, 1), "y": self.y, "output": self.output}
        chunks |= {} if self.shares is None else {"weights": self.shares}
        bound = list(zip(*chunks.values(), strict=True))
        first = dict(zip(chunks, bound[0], strict=True))
        # what comes into each layer (in + 1, n): its bias is one more row of its weights, for a row of ones
        self.inputs = [first["x"], *(new(size + 1, n) for size in sizes[1:-1])]
        for hidden in self.inputs[1:]:
            hidden[-1] = 1
        self.outputs = [*(hidden[:-1] for hidden in self.inputs[1:]), first["output"]]
        self.normalizations: dict[int, layers.Normalization] = {}
        self.saved: dict[int, Any] = {}
        self.masks = self._draw(generator) if architecture.dropout else {}
        self.values: dict[str, Any] = named("", parameters.views) | self.masks | first
        rows = program(architecture, loss, reduction, weighted=weighted, dx=keep)
        self.write(rows)
        found = {row.name: self.values[row.name] for row in rows}
        self.stages = {name: array.T for name, array in found.items() if array is not None}
        self.calls = [do.rebound(dict(zip(map(id, bound[0]), at, strict=True))) for at in bound]
        self.value_calls = self._value()

    def losses(self) -> Array:
        """The loss of each place's batch (places,), from the outputs that its calls left."""
        for call in self.value_calls:
            call()
        return self.sums

    def _value(self) -> list[Call]:
        do = Program(self.do.workspace)
        assert self.kernel.value is not None
        self.kernel.value(do, self.output, self.y, self.terms)
        if self.shares is not None:
            do(np.multiply, self.terms, do.broadcast(self.shares, self.terms), out=self.terms)
        do(np.add.reduce, self.terms, axis=(1, 2), out=self.sums)
        if self.shares is None:
            do(np.divide, self.sums, self.count, out=self.sums)
        return do.calls

    def _draw(self, generator: np.random.Generator | None) -> dict[str, Array]:
        """mask ← [random ≥ p] / (1 − p), drawn as (N, size) like the plain network's; or they are given."""
        do, p, masks = self.do, self.architecture.dropout, {}
        kept = np.asarray(1 - do.workspace.dtype.type(p), do.workspace.dtype)
        for i, size in enumerate(self.architecture.sizes[1:-1], start=1):
            mask = masks[f"mask{i}"] = do.workspace.new(size, self.n)
            if generator is None:
                continue
            drawn = np.empty((self.n, size))
            do.calls.append(partial(generator.random, out=drawn))
            do.copy(do.mask(np.greater_equal, drawn, np.asarray(p), like=drawn).T, mask)
            do(np.divide, mask, kept, out=mask)
        return masks

    def _place(self, layer: int, taken: Array | None = None) -> Array:
        """Where a stage of that layer's width lies: in the array it may take over, or in a new one."""
        if taken is None or self.keep:
            return self.do.workspace.new(self.architecture.sizes[layer], self.n)
        return taken

    def _kernel(self, stage: Stage) -> Any:
        return activations.kernel(self.architecture.row(stage.layer))

    # z = W a + b
    def linear(self, stage: Stage, *_: Array) -> Array:
        i, kind = stage.layer - 1, self.architecture
        acts = stage.layer < kind.depth and (kind.normalization != "none" or self.masks)
        same = kind.activation_of(stage.layer) == "identity" and not acts  # a is z
        z = self._place(stage.layer, self.outputs[i] if same else None)
        layers.linear(self.do, self.inputs[i], self.parameters.blocks[i], z)
        return z

    # n = γ x̂ + β
    def normalization(self, stage: Stage, z: Array, gamma: Array, beta: Array) -> Array:
        n, normalization = self._place(stage.layer), layers.Normalization(self.do, stage.kind, z)
        self.normalizations[stage.layer] = normalization
        normalization.forward(self.do, z, gamma, beta, n)
        if stage.kind == "batch_norm" and self.buffers is not None:
            running = f"normalizations.{stage.layer - 1}.running_"
            normalization.update(self.do, self.buffers[f"{running}mean"], self.buffers[f"{running}var"])
        return n

    # a = f(n)
    def activation(self, stage: Stage, n: Array, *slope: Array) -> Array:
        i, kernel = stage.layer, self._kernel(stage)
        a = self._place(i) if f"mask{i}" in self.masks else self.outputs[i - 1]
        if a is not n:
            self.saved[i] = kernel.forward(self.do, n, a, slope[0] if slope else None)
        return a

    # h = a · mask
    def dropout(self, stage: Stage, a: Array, mask: Array) -> Array:
        return self.do(np.multiply, a, mask, out=self.outputs[stage.layer - 1])

    def loss(self, stage: Stage, *_: Array) -> None:
        """Nothing yet: the losses of a whole chunk are computed at once."""

    def loss_gradient(self, stage: Stage, output: Array, y: Array, *share: Array) -> Array:
        do, delta = self.do, self._place(stage.layer)
        gradient: Any = self.kernel.probabilities if self.probabilities else self.kernel.gradient
        gradient(do, output, y, delta)
        if share:
            do(np.multiply, delta, do.broadcast(share[0], delta), out=delta)
        elif self.count != 1:
            do(np.divide, delta, self.count, out=delta)
        return delta

    # h = a · mask, so da = dh · mask
    def dropout_backward(self, stage: Stage, dh: Array, mask: Array) -> Array:
        return self.do(np.multiply, dh, mask, out=self._place(stage.layer, dh))

    # ∂a/∂slope = min(0, n), so dslope = Σ da · min(0, n)
    @borrows
    def slope_gradient(self, stage: Stage, da: Array, n: Array) -> None:
        do, s = self.do, self.do.scratch(da)
        do(np.minimum, n, 0, out=s)
        do(np.multiply, s, da, out=s)
        do(np.add.reduce, s, axis=(0, 1), out=self.gradients.views[str(stage.parameter)].reshape(()))

    # a = f(n), so dn = da · f′(n), or the product with the Jacobian
    @borrows
    def activation_backward(self, stage: Stage, da: Array, n: Array, a: Array, *slope: Array) -> Array:
        do, dn, kernel = self.do, self._place(stage.layer, da), self._kernel(stage)
        if kernel.product is not None:
            kernel.product(do, da, n, a, dn)
        elif kernel.derivative is not None:
            f, saved = do.scratch(dn), self.saved.get(stage.layer)
            kernel.derivative(do, n, a, f, slope[0] if slope else None, saved)
            do(np.multiply, da, f, out=dn)
        elif dn is not da:
            do.copy(da, dn)
        return dn

    jacobian_product = activation_backward

    def normalization_backward_weight(self, stage: Stage, dn: Array, *_: Array) -> None:
        gradients = (
            self.gradients.views[f"normalizations.{stage.layer - 1}.{k}"] for k in ("weight", "bias")
        )
        self.normalizations[stage.layer].backward_parameters(self.do, dn, *gradients)

    def backward_bias(self, stage: Stage, *_: Array) -> None:
        """Nothing: it comes with the weight's gradient."""

    def normalization_backward_input(self, stage: Stage, dn: Array, z: Array, gamma: Array) -> Array:
        dz = self._place(stage.layer, dn)
        self.normalizations[stage.layer].backward_input(self.do, dn, gamma, dz)
        return dz

    def linear_backward_weight(self, stage: Stage, dz: Array, *_: Array) -> None:
        i = stage.layer - 1
        layers.linear_backward_weight(self.do, dz, self.inputs[i], self.gradients.blocks[i])

    def linear_backward_input(self, stage: Stage, dz: Array, *_: Array) -> Array:
        i, da = stage.layer - 1, self._place(stage.layer - 1)
        layers.linear_backward_input(self.do, dz, self.parameters.blocks[i], da)
        return da
