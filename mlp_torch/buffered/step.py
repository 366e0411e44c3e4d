"""One step in buffers: `manual.chain` row by row, each stage as the kernels that compute it.

A `Step` is bound to where its batch lies and where its loss goes; everything between is shared by all
steps of one batch size, so nothing is allocated after the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from manual.catalogue import LOSSES
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.buffered import activations, layers, losses, products
from mlp_torch.buffered.activations import ActivationKernel, Unit
from mlp_torch.buffered.buffers import Buffers, FlatParameters, Op
from mlp_torch.buffered.losses import Ends
from mlp_torch.model import MLP


@dataclass(frozen=True)
class StageKernels:
    """One row: its name in `manual.chain`, the kernels, and the tensor that then holds its value.

    `kind` tells what is no stage of the chain rule: to "draw" a mask, to "move" running statistics, to
    "weigh" the samples.
    """

    name: str
    ops: list[Op]
    value: Tensor
    kind: str = "stage"


@dataclass(frozen=True)
class Task:
    """What is to be minimized: the loss, how its terms are put together, and the penalties.

    With `bf16` the products' factors are rounded to bfloat16.
    """

    loss: str
    reduction: str = "mean"
    recipe: Recipe = PLAIN
    bf16: bool = False


class Step:
    """The stages of one pass over `x` (N, in) and `y`, weighted by `weights` (N,), the loss in `loss` ().

    In `training`, dropout and batch statistics act; `with_dx` adds ∂L/∂x, which no update needs. Raises
    ValueError for one sample and batch_norm.
    """

    def __init__(
        self,
        model: MLP,
        flat: FlatParameters,
        buffers: Buffers,
        task: Task,
        x: Tensor,
        y: Tensor,
        loss: Tensor,
        *,
        weights: Tensor | None = None,
        training: bool = True,
        with_dx: bool = False,
    ) -> None:
        self.model, self.flat, self.buffers, self.task = model, flat, buffers, task
        self.n, self.training = len(x), training
        self.depth = model.architecture.depth
        self.ones = buffers.ones(self.n)
        self.rounded = products.Rounded(buffers) if task.bf16 else None
        self.stages: list[StageKernels] = []
        self.units: dict[int, tuple[ActivationKernel, Unit]] = {}
        self.inputs: dict[int, Tensor] = {1: x}
        self.normalizations: dict[int, layers.Normalization] = {}
        self.masks: dict[int, Tensor] = {}
        if model.architecture.normalization == "batch_norm" and self.training and self.n < 2:
            raise ValueError("batch_norm needs at least 2 samples in a training batch, got 1")
        for layer in range(1, self.depth + 1):
            self._forward(layer)
        self._loss(y, loss, weights)
        for layer in range(self.depth, 0, -1):
            self._backward(layer, with_dx or layer > 1)
        if task.recipe.penalized:
            self._penalty(loss)

    def ops(self, *leave_out: str) -> list[Op]:
        """All kernels in order, without those of the kinds to leave out."""
        return [op for stage in self.stages if stage.kind not in leave_out for op in stage.ops]

    def _write(self, name: str, ops: list[Op], value: Tensor, kind: str = "stage") -> None:
        self.stages.append(StageKernels(name, ops, value, kind))

    def _size(self, layer: int) -> int:
        return self.model.architecture.sizes[layer]

    def _like(self, letter: str, layer: int) -> Tensor:
        return self.buffers(f"{letter}{layer}", self.n, self._size(layer))

    def _d(self, layer: int) -> Tensor:
        """Where the gradient of that layer's output lies, and of its activation and pre-activation."""
        return self.buffers(f"d{layer}", self.n, self._size(layer))

    def _forward(self, layer: int) -> None:
        """z = a Wᵀ + b, n = γ x̂ + β, a = f(n), h = a · mask."""
        i, parameter, architecture = layer - 1, self.flat.parameter, self.model.architecture
        z = self._like("z", layer)
        weight, bias = parameter[f"layers.{i}.weight"], parameter[f"layers.{i}.bias"]
        ops = products.forward(self.inputs[layer], weight, bias, z, self.rounded)
        self._write(f"z{layer}", ops, z)
        hidden = layer < self.depth
        if hidden and architecture.normalization != "none":
            z = self._normalize(layer, z)
        row = activations.kernel(architecture.row(layer))
        a = z if row.from_a else self._like("a", layer)
        d = self._d(layer)
        slope = f"activations.{i}.weight"
        unit = Unit(
            *(z, a, d, d if row.elementwise else self._like("dz", layer)),
            self.buffers,
            str(layer),
            float(architecture.negative_slope),
            parameter.get(slope),
            self.flat.gradient.get(slope),
        )
        self._write(f"a{layer}", row.forward(unit), a)
        self.units[layer] = row, unit
        if hidden and self.training and architecture.dropout > 0:
            mask, h = self._like("mask", layer), self._like("h", layer)
            draw = layers.draw_mask(mask, architecture.dropout, self.buffers)
            self._write(f"mask{layer}", draw, mask, "draw")
            self._write(f"h{layer}", layers.dropout(a, mask, h), h)
            self.masks[layer], a = mask, h
        self.inputs[layer + 1] = a

    def _normalize(self, layer: int, z: Tensor) -> Tensor:
        i, module = layer - 1, self.model.normalizations[layer - 1]
        kind, n = self.model.architecture.normalization, self._like("n", layer)
        batch_norm = isinstance(module, nn.BatchNorm1d)
        if batch_norm and not self.training:
            kind = "batch_norm_evaluation"
        gamma, beta = (self.flat.parameter[f"normalizations.{i}.{p}"] for p in ("weight", "bias"))
        running = (module.running_mean, module.running_var) if batch_norm else (None, None)
        normalization = layers.Normalization(kind, z, n, gamma, beta, self.buffers, str(layer), *running)
        self._write(f"n{layer}", normalization.forward(), n)
        if kind == "batch_norm":
            assert isinstance(module.num_batches_tracked, Tensor)
            moves = normalization.move_statistics(module.num_batches_tracked)
            self._write(f"statistics{layer}", moves, n, "move")
        self.normalizations[layer] = normalization
        return n

    def _loss(self, y: Tensor, loss: Tensor, weights: Tensor | None) -> None:
        output, d = self.inputs[self.depth + 1], self._d(self.depth)
        row = LOSSES[self.task.loss]
        mean = self.task.reduction == "mean"
        count = 1 if not mean else len(output) if row.per_sample else output.numel()
        share = None if weights is None else weights.view(-1, 1)
        if share is not None and mean:
            share = self._shares(share, count // len(output))
        ends = Ends(output, y, loss, d, count, self.buffers, share)
        value, gradient = losses.kernel(row)(ends)
        self._write("loss", value, loss)
        self._write("dloss", gradient, d)

    # wᵢ / (Σ w · terms a sample)
    def _shares(self, weights: Tensor, terms: int) -> Tensor:
        total, shares = self.buffers("Σw"), self.buffers("shares", self.n, 1)
        ops: list[Op] = [
            partial(torch.sum, weights, (0, 1), out=total),
            partial(total.mul_, self.buffers.constant(terms)),
            partial(torch.div, weights, total, out=shares),
        ]
        self._write("shares", ops, shares, "weigh")
        return shares

    def _backward(self, layer: int, with_input: bool) -> None:
        """From ∂L/∂h to ∂L/∂(the input of the layer): each row multiplies by one local derivative."""
        i, gradient, d = layer - 1, self.flat.gradient, self._d(layer)
        row, unit = self.units[layer]
        if layer in self.masks:
            self._write(f"da{layer}", layers.dropout_backward(d, self.masks[layer]), d)
        if row.slope is not None and unit.dslope is not None:
            self._write(f"dslope{layer}", row.slope(unit), unit.dslope)
        dz = unit.dz
        letter = "n" if layer in self.normalizations else "z"
        self._write(f"d{letter}{layer}", row.backward(unit), dz)
        if layer in self.normalizations:
            normalization = self.normalizations[layer]
            dgamma, dbeta = (gradient[f"normalizations.{i}.{p}"] for p in ("weight", "bias"))
            self._write(f"dgamma{layer}", normalization.backward_weight(dz, self.ones, dgamma), dgamma)
            self._write(f"dbeta{layer}", products.backward_bias(dz, self.ones, dbeta), dbeta)
            self._write(f"dz{layer}", normalization.backward_input(dz), dz)
        a, dweight, dbias = self.inputs[layer], gradient[f"layers.{i}.weight"], gradient[f"layers.{i}.bias"]
        self._write(f"dW{layer}", products.backward_weight(dz, a, dweight, self.rounded), dweight)
        self._write(f"db{layer}", products.backward_bias(dz, self.ones, dbias), dbias)
        if with_input:
            below = "x" if layer == 1 else f"{'h' if layer - 1 in self.masks else 'a'}{layer - 1}"
            d_below = self._d(layer - 1) if layer > 1 else self.buffers("dx", *a.shape)
            weight = self.flat.parameter[f"layers.{i}.weight"]
            ops = products.backward_input(dz, weight, d_below, self.rounded)
            self._write(f"d{below}", ops, d_below)

    # L ← L + λ₁ Σ|W| + ½ λ₂ ΣW², ∂L/∂W ← ∂L/∂W + λ₁ sign W + λ₂ W
    def _penalty(self, loss: Tensor) -> None:
        recipe, total = self.task.recipe, self.buffers("Σ|W|")
        for layer in range(1, self.depth + 1):
            name = f"layers.{layer - 1}.weight"
            weight, gradient = self.flat.parameter[name], self.flat.gradient[name]
            ops: list[Op] = []
            if recipe.l1:
                work = self.buffers(f"penalty{layer}", *weight.shape)
                ops += [
                    partial(torch.abs, weight, out=work),
                    partial(torch.sum, work, (0, 1), out=total),
                    partial(loss.add_, total, alpha=recipe.l1),
                    partial(torch.sign, weight, out=work),
                    partial(gradient.add_, work, alpha=recipe.l1),
                ]
            if recipe.l2:
                ops += [
                    partial(torch.dot, weight.view(-1), weight.view(-1), out=total),
                    partial(loss.add_, total, alpha=recipe.l2 / 2),
                    partial(gradient.add_, weight, alpha=recipe.l2),
                ]
            self._write(f"gW{layer}", ops, gradient)
        self._write("objective", [], loss)


def run(ops: list[Op]) -> None:
    """One kernel after the other."""
    for op in ops:
        op()


def take_down(step: Step, masks: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """A copy of every stage's value (and mask's) right after its kernels ran: later ones write over it.

    With `masks` given none is drawn. Weights and running statistics do not move.
    """
    found = {}
    for stage in step.stages:
        if stage.kind == "move":
            continue
        if stage.kind == "draw" and masks is not None:
            stage.value.copy_(masks[stage.name])
        else:
            run(stage.ops)
        found[stage.name] = stage.value.clone()
    return found
