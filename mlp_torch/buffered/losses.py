"""The losses as kernels: the value and ∂L/∂ŷ, one beside the other, one row a loss.

A row has its kernel from its record. Those of `LOSSES` couple the entries of a sample, or are faster by hand:
made from the record the squared losses take 1.6 to 1.8 times as long, smooth_l1 2.2 to 2.6, hinge and l1 1.1
to 1.3, bce_with_logits 1.0 to 1.1 (64 to 2,048 entries, one thread of an Intel Xeon).

A row's first list leaves the loss in a tensor without dimensions, its second ∂L/∂ŷ in `d`; the second
may use what the first computed. `count` is what the mean divides by (1 for a sum).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from manual.losses import Loss
from manual.recorded.formula import recorded
from manual.recorded.simplify import simplified
from mlp_torch.buffered.buffers import Buffers, Op
from mlp_torch.buffered.recorded import OPAQUE, RecordedLoss

aten = torch.ops.aten


@dataclass(frozen=True)
class Ends:
    """Where the network ends: ŷ = `output` (N, K), the target y, the loss () and d = ∂L/∂ŷ (N, K).

    With weights, `share` (N, 1) is what a term of each sample counts.
    """

    output: Tensor
    y: Tensor
    loss: Tensor
    d: Tensor
    count: int
    buffers: Buffers
    share: Tensor | None = None

    def scratch(self, name: str) -> Tensor:
        """A further buffer (N, K)."""
        return self.buffers(f"{name} of the loss", *self.output.shape)

    def value(self, terms: Tensor, factor: float = 1) -> list[Op]:
        """Σ terms over count · factor, or Σ share · terms over factor, as the loss."""
        work = self._weighted(terms)
        return [
            *work[1],
            partial(torch.sum, work[0], (0, 1), out=self.loss),
            *self._divided(self.loss, factor),
        ]

    def value_of_product(self, a: Tensor, b: Tensor, factor: float = 1) -> list[Op]:
        """The same with terms a · b."""
        work = self._weighted(a)
        dot = partial(torch.dot, work[0].view(-1), b.view(-1), out=self.loss)
        return [*work[1], dot, *self._divided(self.loss, factor)]

    def gradient(self, factor: float = 1) -> list[Op]:
        """d over count · factor, or times share over factor: what makes a mean of a sum."""
        share = [] if self.share is None else [partial(self.d.mul_, self.share)]
        return [*share, *self._divided(self.d, factor)]

    def _divided(self, tensor: Tensor, factor: float) -> list[Op]:
        if self.share is None:
            return [partial(tensor.div_, self.buffers.constant(self.count * factor))]
        return [] if factor == 1 else [partial(tensor.div_, self.buffers.constant(factor))]

    def _weighted(self, terms: Tensor) -> tuple[Tensor, list[Op]]:
        if self.share is None:
            return terms, []
        work = self.buffers("weighted terms", *terms.shape)
        return work, [partial(torch.mul, terms, self.share, out=work)]

    def column(self, name: str) -> Tensor:
        """A further buffer (N, 1)."""
        return self.buffers(f"{name} of the loss", len(self.output), 1)


LossKernel = Callable[[Ends], tuple[list[Op], list[Op]]]


# ℓ = (ŷ − y)², ∂ℓ/∂ŷ = 2 (ŷ − y)
def mse(e: Ends) -> tuple[list[Op], list[Op]]:
    value: list[Op] = [
        partial(torch.sub, e.output, e.y, out=e.d),
        *e.value_of_product(e.d, e.d),
    ]
    return value, e.gradient(1 / 2)


# ℓ = ½ (y − ŷ)², ∂ℓ/∂ŷ = ŷ − y
def half_squared_error(e: Ends) -> tuple[list[Op], list[Op]]:
    value: list[Op] = [
        partial(torch.sub, e.output, e.y, out=e.d),
        *e.value_of_product(e.d, e.d, 2),
    ]
    return value, e.gradient()


# ℓ = |ŷ − y|, ∂ℓ/∂ŷ = sign(ŷ − y)
def l1(e: Ends) -> tuple[list[Op], list[Op]]:
    size = e.scratch("size")
    value: list[Op] = [
        partial(torch.sub, e.output, e.y, out=e.d),
        partial(torch.abs, e.d, out=size),
        *e.value(size),
    ]
    return value, [partial(torch.sign, e.d, out=e.d), *e.gradient()]


# ∂ℓ/∂ŷ = c = min(max(d, −1), 1), d = ŷ − y; ℓ = c (d − c/2): ½ d² where |d| < 1, else |d| − ½
def smooth_l1(e: Ends) -> tuple[list[Op], list[Op]]:
    rest = e.scratch("rest")
    value: list[Op] = [
        partial(torch.sub, e.output, e.y, out=rest),
        partial(torch.clamp, rest, -1, 1, out=e.d),
        partial(rest.add_, e.d, alpha=-0.5),
        *e.value_of_product(e.d, rest),
    ]
    return value, e.gradient()


# ℓ = max(0, 1 − y ŷ), ∂ℓ/∂ŷ = −y, and 0 where 1 − y ŷ ≤ 0
def hinge(e: Ends) -> tuple[list[Op], list[Op]]:
    margin = e.scratch("margin")
    value: list[Op] = [
        partial(torch.mul, e.output, e.y, out=margin),
        margin.neg_,
        partial(margin.add_, e.buffers.constant(1)),
        partial(margin.clamp_min_, 0),
        *e.value(margin),
    ]
    gradient: list[Op] = [
        partial(torch.neg, e.y, out=e.d),
        partial(aten.threshold_backward.grad_input, e.d, margin, 0, grad_input=e.d),
        *e.gradient(),
    ]
    return value, gradient


# ℓ = Σ_{j≠y} max(0, 1 − ŷ_y + ŷ_j) / K, ∂ℓ/∂ŷ_j = [margin_j > 0] / K, minus their sum at y
def multi_margin(e: Ends) -> tuple[list[Op], list[Op]]:
    margin, one, label = e.scratch("margin"), e.column("one"), e.y.view(-1, 1)
    classes = e.output.shape[1]
    value: list[Op] = [
        partial(torch.gather, e.output, 1, label, out=one),
        one.neg_,
        partial(one.add_, e.buffers.constant(1)),
        partial(torch.add, e.output, one, out=margin),
        partial(margin.scatter_, 1, label, 0),
        partial(margin.clamp_min_, 0),
        *e.value(margin, classes),
    ]
    gradient: list[Op] = [
        partial(torch.sign, margin, out=e.d),
        partial(torch.sum, e.d, 1, keepdim=True, out=one),
        one.neg_,
        partial(e.d.scatter_, 1, label, one),
        *e.gradient(classes),
    ]
    return value, gradient


# ℓ = (1 − y) ŷ − log s(ŷ), log s(ŷ) = min(ŷ, 0) − log(1 + e^−|ŷ|), ∂ℓ/∂ŷ = s(ŷ) − y
def bce_with_logits(e: Ends) -> tuple[list[Op], list[Op]]:
    log_s, work, terms = e.scratch("log s"), e.scratch("work"), e.scratch("terms")
    value: list[Op] = [
        partial(aten.log_sigmoid_forward.output, e.output, output=log_s, buffer=work),
        partial(torch.sub, e.buffers.constant(1), e.y, out=terms),
        partial(terms.mul_, e.output),
        partial(terms.sub_, log_s),
        *e.value(terms),
    ]
    gradient: list[Op] = [
        partial(torch.sigmoid, e.output, out=e.d),
        partial(e.d.sub_, e.y),
        *e.gradient(),
    ]
    return value, gradient


# ℓ = −Σₖ yₖ log pₖ, p = e^s / S, S = Σ e^s, s = ŷ − max ŷ; ∂ℓ/∂ŷⱼ = pⱼ Σₖ yₖ − yⱼ
# with few classes a third of the time of torch's log_softmax, which goes through the rows one by one
def cross_entropy(e: Ends) -> tuple[list[Op], list[Op]]:
    shifted, top, total, log_total = e.scratch("s"), e.column("max"), e.column("S"), e.column("log S")
    softmax: list[Op] = [
        partial(torch.amax, e.output, 1, keepdim=True, out=top),
        partial(torch.sub, e.output, top, out=shifted),
        partial(torch.exp, shifted, out=e.d),
        partial(torch.sum, e.d, 1, keepdim=True, out=total),
        partial(torch.log, total, out=log_total),
    ]
    normalized: list[Op] = [partial(e.d.div_, total)]
    value, gradient = (_labels if e.y.ndim == 1 else _probabilities)(e, shifted, log_total)
    return [*softmax, *value], [*normalized, *gradient, *e.gradient()]


# y a label: ℓ = log S − s_y, ∂ℓ/∂ŷ = p, minus 1 at y
def _labels(e: Ends, shifted: Tensor, log_total: Tensor) -> tuple[list[Op], list[Op]]:
    label, term = e.y.view(-1, 1), e.column("term")
    minus_one = e.buffers.constant(-1).expand(label.shape)
    value: list[Op] = [
        partial(torch.gather, shifted, 1, label, out=term),
        partial(torch.sub, log_total, term, out=term),
        *e.value(term),
    ]
    return value, [partial(e.d.scatter_add_, 1, label, minus_one)]


# y a row of probabilities: ℓ = Σₖ yₖ (log S − sₖ), ∂ℓ/∂ŷ = p Σₖ yₖ − y
def _probabilities(e: Ends, shifted: Tensor, log_total: Tensor) -> tuple[list[Op], list[Op]]:
    weight = e.column("Σy")
    value: list[Op] = [
        partial(torch.sub, log_total, shifted, out=shifted),
        partial(shifted.mul_, e.y),
        *e.value(shifted),
    ]
    gradient: list[Op] = [
        partial(torch.sum, e.y, 1, keepdim=True, out=weight),
        partial(e.d.mul_, weight),
        partial(e.d.sub_, e.y),
    ]
    return value, gradient


LOSSES: dict[str, LossKernel] = {
    "half_squared_error": half_squared_error,
    "mse": mse,
    "l1": l1,
    "smooth_l1": smooth_l1,
    "hinge": hinge,
    "multi_margin": multi_margin,
    "bce_with_logits": bce_with_logits,
    "cross_entropy": cross_entropy,
}


def kernel(row: Loss) -> LossKernel:
    """The kernel of a row, from its record where none stands above; ValueError where it has none."""
    if row.name in LOSSES:
        return LOSSES[row.name]
    formula = recorded(row, simplify=simplified, opaque=OPAQUE)
    if formula is None:
        raise ValueError(f"the torch step has no kernel for {row.name}")
    return RecordedLoss(formula)
