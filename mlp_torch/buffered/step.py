"""One step in buffers: for each kind of stage in `manual.chain` the kernels that compute it.

A `Step` is bound to where its batch lies and where its loss goes; everything between is shared by all
steps of one batch size, so nothing is allocated after the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from manual.catalogue import LOSSES
from manual.losses import Reduction
from manual.steps.program import Program, Written, program, terms
from manual.structure.trace import Stage
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.buffered import activations, layers, losses, products
from mlp_torch.buffered.activations import ActivationKernel, Unit
from mlp_torch.buffered.buffers import Buffers, FlatParameters, Op
from mlp_torch.buffered.losses import Ends
from mlp_torch.model import MLP


@dataclass(frozen=True)
class StageKernels:
    """A stage's name in `manual.chain`, its kernels, and the tensor that then holds its value.

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
    reduction: Reduction = "mean"
    recipe: Recipe = PLAIN
    bf16: bool = False


Row = tuple[list[Op], Tensor]  # the kernels of a stage, and the tensor that then holds its value


class Step(Written):
    """The stages of one pass over `x` (N, in) and `y`, weighted by `weights` (N,), the loss in `loss` ().

    In `training`, dropout and batch statistics act; `with_dx` adds ∂L/∂x, which no update needs; `program`
    gives the stages. Raises ValueError for one sample and batch_norm.
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
        program: Program = program,
    ) -> None:
        self.model, self.flat, self.buffers, self.task = model, flat, buffers, task
        self.n, self.training, self.total = len(x), training, loss
        self.ones = buffers.ones(self.n)
        self.rounded = products.Rounded(buffers) if task.bf16 else None
        self.stages: list[StageKernels] = []
        self.rows: dict[int, ActivationKernel] = {}
        self.units: dict[int, Unit] = {}
        self.normalizations: dict[int, layers.Normalization] = {}
        self.masks: dict[int, Tensor] = {}
        architecture = model.architecture
        if architecture.normalization == "batch_norm" and training and self.n < 2:
            raise ValueError("batch_norm needs at least 2 samples in a training batch, got 1")
        self.values: dict[str, Any] = {"x": x, "y": y} | flat.named
        if weights is not None:
            self.values["weights"] = weights.view(-1, 1)
        asked = (architecture, task.loss, task.reduction, training, weights is not None, task.recipe)
        self.write(program(*asked, dx=with_dx))

    def ops(self, *leave_out: str) -> list[Op]:
        """All kernels in order, without those of the kinds to leave out."""
        return [op for stage in self.stages if stage.kind not in leave_out for op in stage.ops]

    def written(self, stage: Stage, result: Row) -> Tensor:
        ops, value = result
        self.stages.append(StageKernels(stage.name, ops, value))
        if stage.kind == "batch_norm":
            tracked: Any = self.model.normalizations[stage.layer - 1].num_batches_tracked
            moves = self.normalizations[stage.layer].move_statistics(tracked)
            self.stages.append(StageKernels(f"statistics{stage.layer}", moves, value, "move"))
        return value

    def _like(self, name: str, layer: int) -> Tensor:
        return self.buffers(name, self.n, self.model.architecture.sizes[layer])

    def _d(self, layer: int) -> Tensor:
        """Where the gradient of that layer's output lies, and of its activation and pre-activation."""
        return self._like(f"d{layer}", layer)

    # z = a Wᵀ + b
    def linear(self, stage: Stage, a: Tensor, weight: Tensor, bias: Tensor) -> Row:
        z = self._like(stage.name, stage.layer)
        return products.forward(a, weight, bias, z, self.rounded), z

    # n = γ x̂ + β
    def normalization(self, stage: Stage, z: Tensor, gamma: Tensor, beta: Tensor, *_: Any) -> Row:
        i, n = stage.layer, self._like(stage.name, stage.layer)
        module = self.model.normalizations[i - 1]
        running = (module.running_mean, module.running_var) if isinstance(module, nn.BatchNorm1d) else ()
        kernels = layers.Normalization(stage.kind, z, n, gamma, beta, self.buffers, str(i), *running)
        self.normalizations[i] = kernels
        return kernels.forward(), n

    # a = f(n)
    def activation(self, stage: Stage, n: Tensor, *slope: Tensor) -> Row:
        i, d = stage.layer, self._d(stage.layer)
        row = self.rows[i] = activations.kernel(self.model.architecture.row(i))
        a = n if row.from_a else self._like(stage.name, i)
        dz = d if row.elementwise else self._like(f"dz{i}", i)
        constant, dslope = float(self.model.architecture.negative_slope), self.values.get(f"dslope{i}")
        learned = (slope[0], dslope) if slope else ()
        unit = self.units[i] = Unit(n, a, d, dz, self.buffers, str(i), constant, *learned)
        return row.forward(unit), a

    # h = a · mask
    def dropout(self, stage: Stage, a: Tensor, _: Any) -> Row:
        i, p, mask_name = stage.layer, self.model.architecture.dropout, stage.reads[1]
        mask = self.values[mask_name] = self.masks[i] = self._like(mask_name, i)
        draw, h = layers.draw_mask(mask, p, self.buffers), self._like(stage.name, i)
        self.stages.append(StageKernels(mask_name, draw, mask, "draw"))
        return layers.dropout(a, mask, h), h

    def loss(self, stage: Stage, output: Tensor, y: Tensor, weights: Tensor | None = None) -> Row:
        mean = self.task.reduction == "mean"
        count = terms(self.task.loss, self.task.reduction, *output.shape)
        share = self._shares(weights, count // self.n) if weights is not None and mean else weights
        ends = Ends(output, y, self.total, self._d(stage.layer), count, self.buffers, share)
        value, self.slope_of_loss = losses.kernel(LOSSES[self.task.loss])(ends)
        return value, self.total

    # wᵢ / (Σ w · terms a sample)
    def _shares(self, weights: Tensor, count: int) -> Tensor:
        total, shares = self.buffers("Σw"), self.buffers("shares", self.n, 1)
        ops: list[Op] = [
            partial(torch.sum, weights, (0, 1), out=total),
            partial(total.mul_, self.buffers.constant(count)),
            partial(torch.div, weights, total, out=shares),
        ]
        self.stages.append(StageKernels("shares", ops, shares, "weigh"))
        return shares

    # L ← L + λ₁ Σ|W| + ½ λ₂ ΣW²
    def penalty(self, stage: Stage, loss: Tensor, *weights: Tensor) -> Row:
        recipe, total, ops = self.task.recipe, self.buffers("Σ|W|"), list[Op]()
        for i, weight in enumerate(weights, start=1):
            if recipe.l1:
                work = self.buffers(f"penalty{i}", *weight.shape)
                ops += [partial(torch.abs, weight, out=work), partial(torch.sum, work, (0, 1), out=total)]
                ops.append(partial(loss.add_, total, alpha=recipe.l1))
            if recipe.l2:
                ops.append(partial(torch.dot, weight.view(-1), weight.view(-1), out=total))
                ops.append(partial(loss.add_, total, alpha=recipe.l2 / 2))
        return ops, loss

    def loss_gradient(self, stage: Stage, *_: Tensor) -> Row:
        return self.slope_of_loss, self._d(stage.layer)

    # h = a · mask, so ∂L/∂a = dh · mask
    def dropout_backward(self, stage: Stage, d: Tensor, mask: Tensor) -> Row:
        return layers.dropout_backward(d, mask), d

    def slope_gradient(self, stage: Stage, *_: Tensor) -> Row:
        kernels: Any = self.rows[stage.layer].slope
        return kernels(self.units[stage.layer]), self.values[stage.name]

    # a = f(n), so dn = da · f′(n), or the product with the Jacobian
    def activation_backward(self, stage: Stage, *_: Tensor) -> Row:
        unit = self.units[stage.layer]
        return self.rows[stage.layer].backward(unit), unit.dz

    jacobian_product = activation_backward

    def normalization_backward_weight(self, stage: Stage, d: Tensor, *_: Any) -> Row:
        gradient = self.values[stage.name]
        ops = self.normalizations[stage.layer].backward_weight(d, self.ones, gradient)
        return ops, gradient

    def normalization_backward_input(self, stage: Stage, d: Tensor, *_: Any) -> Row:
        return self.normalizations[stage.layer].backward_input(d), d

    def linear_backward_weight(self, stage: Stage, dz: Tensor, a: Tensor) -> Row:
        gradient = self.values[stage.name]
        return products.backward_weight(dz, a, gradient, self.rounded), gradient

    # ∂L/∂W ← ∂L/∂W + λ₁ sign W + λ₂ W
    def penalty_gradient(self, stage: Stage, gradient: Tensor, weight: Tensor) -> Row:
        recipe, ops = self.task.recipe, list[Op]()
        if recipe.l1:
            work = self.buffers(f"penalty{stage.layer}", *weight.shape)
            ops = [partial(torch.sign, weight, out=work), partial(gradient.add_, work, alpha=recipe.l1)]
        if recipe.l2:
            ops.append(partial(gradient.add_, weight, alpha=recipe.l2))
        return ops, gradient

    def backward_bias(self, stage: Stage, d: Tensor) -> Row:
        gradient = self.values[stage.name]
        return products.backward_bias(d, self.ones, gradient), gradient

    def linear_backward_input(self, stage: Stage, dz: Tensor, weight: Tensor) -> Row:
        i = stage.layer - 1
        below = self._d(i) if i else self._like("dx", 0)
        return products.backward_input(dz, weight, below, self.rounded), below


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
