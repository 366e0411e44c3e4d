"""Normalization and dropout as kernels, forward beside backward: `manual.layers` in buffers.

x̂ and √(σ² + ε) of the forward pass are kept, so the backward pass does not compute them again. The
gradient arrives in `d` (N, F) and leaves it in the same place.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from manual.catalogue.layers import NORMALIZATION_EPS
from mlp_torch.buffered.buffers import Buffers, Op

EPS = float(NORMALIZATION_EPS)


@dataclass(frozen=True)
class Normalization:
    """n = γ x̂ + β of one layer; `kind` is batch_norm, batch_norm_evaluation or layer_norm.

    `mean` and `variance` are the running statistics of batch_norm, (F,).
    """

    kind: str
    z: Tensor
    n: Tensor
    gamma: Tensor
    beta: Tensor
    buffers: Buffers
    name: str
    mean: Tensor | None = None
    variance: Tensor | None = None

    def _statistic(self, name: str) -> Tensor:
        """A buffer for one number a feature (1, F), or for layer_norm one a sample (N, 1)."""
        n, features = self.z.shape
        return self.buffers(name + self.name, *((n, 1) if self.kind == "layer_norm" else (1, features)))

    def _like_z(self, name: str) -> Tensor:
        return self.buffers(name + self.name, *self.z.shape)

    # x̂ = (z − μ) / √(σ² + ε), σ² = mean((z − μ)²); n = γ x̂ + β
    def forward(self) -> list[Op]:
        """n from z; μ and σ² are the batch's, the sample's, or in evaluation the running ones."""
        x, squares = self._like_z("x̂"), self._like_z("squares")
        mean, variance, deviation = (self._statistic(s) for s in ("μ", "σ²", "deviation"))
        axis = 1 if self.kind == "layer_norm" else 0
        ops: list[Op] = [
            partial(torch.mean, self.z, axis, keepdim=True, out=mean),
            partial(torch.sub, self.z, mean, out=x),
            partial(torch.mul, x, x, out=squares),
            partial(torch.mean, squares, axis, keepdim=True, out=variance),
        ]
        if self.kind == "batch_norm_evaluation":
            assert self.mean is not None
            assert self.variance is not None
            ops = [partial(torch.sub, self.z, self.mean, out=x), partial(variance[0].copy_, self.variance)]
        return [
            *ops,
            partial(torch.add, variance, self.buffers.constant(EPS), out=deviation),
            deviation.sqrt_,
            partial(x.div_, deviation),
            partial(torch.addcmul, self.beta, x, self.gamma, out=self.n),
        ]

    # running ← (1 − momentum) running + momentum · the batch's μ and σ² N / (N − 1)
    def move_statistics(self, tracked: Tensor, momentum: float = 0.1) -> list[Op]:
        """What batch_norm's running statistics do after a training pass, as in torch."""
        assert self.mean is not None
        assert self.variance is not None
        n, kept = len(self.z), self.buffers.constant(1 - momentum)
        return [
            partial(self.mean.mul_, kept),
            partial(self.mean.add_, self._statistic("μ")[0], alpha=momentum),
            partial(self.variance.mul_, kept),
            partial(self.variance.add_, self._statistic("σ²")[0], alpha=momentum * n / (n - 1)),
            partial(tracked.add_, torch.ones_like(tracked)),
        ]

    # n = γ x̂ + β, so ∂L/∂γ = Σ dn x̂
    def backward_weight(self, d: Tensor, ones: Tensor, dgamma: Tensor) -> list[Op]:
        """dγ (F,) from dn (N, F)."""
        terms = self._like_z("squares")
        return [
            partial(torch.mul, d, self._like_z("x̂"), out=terms),
            partial(torch.mv, terms.t(), ones, out=dgamma),
        ]

    # dz = (g − mean(g) − x̂ mean(g x̂)) / √(σ² + ε), g = dn γ
    def backward_input(self, d: Tensor) -> list[Op]:
        """dz over dn; in evaluation μ and σ² are constants, and dz = g / √(σ² + ε)."""
        x, terms = self._like_z("x̂"), self._like_z("squares")
        mean, deviation = self._statistic("mean g"), self._statistic("deviation")
        axis = 1 if self.kind == "layer_norm" else 0
        through: list[Op] = [
            partial(torch.mul, d, x, out=terms),
            partial(torch.mean, d, axis, keepdim=True, out=mean),
            partial(d.sub_, mean),
            partial(torch.mean, terms, axis, keepdim=True, out=mean),
            partial(torch.mul, x, mean, out=terms),
            partial(d.sub_, terms),
        ]
        if self.kind == "batch_norm_evaluation":
            through = []
        return [partial(d.mul_, self.gamma), *through, partial(d.div_, deviation)]


def draw_mask(mask: Tensor, p: float, buffers: Buffers) -> list[Op]:
    """0 with probability p, else 1 / (1 − p), from torch's generator as `model.Dropout` draws it."""
    return [partial(mask.bernoulli_, 1 - p), partial(mask.div_, buffers.constant(1 - p))]


# h = a · mask
def dropout(a: Tensor, mask: Tensor, h: Tensor) -> list[Op]:
    """h (N, F) from a and mask."""
    return [partial(torch.mul, a, mask, out=h)]


# h = a · mask, so ∂L/∂a = dh · mask
def dropout_backward(d: Tensor, mask: Tensor) -> list[Op]:
    """da over dh."""
    return [partial(d.mul_, mask)]
