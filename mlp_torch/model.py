"""The same network as a torch module: same constructor, same parameter names, weights bit for bit."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import manual
from manual.catalogue.activations import NEGATIVE_SLOPE
from manual.numbers import Array
from manual.structure.architecture import Architecture, Counts
from manual.training.recipe import Recipe, is_weight
from mlp_torch.by_formula import ByFormula
from mlp_torch.errors import UserError

# One row an activation, under the same name as in `manual`. torch's own defaults are manual's options.
ACTIVATIONS: dict[str, Any] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "hardtanh": nn.Hardtanh,
    "softmax": lambda: nn.Softmax(dim=-1),
    "mish": nn.Mish,
}

NORMALIZATIONS: dict[str, Any] = {"batch_norm": nn.BatchNorm1d, "layer_norm": nn.LayerNorm}


def row_of(kind: str, table: Mapping[str, Any], name: str) -> Any:
    """torch's side of a row of `manual`. Raises UserError, which says where it belongs, if there is none."""
    if name not in table:
        raise UserError(
            f"{kind} {name}: torch's side has no row, in mlp_torch/model.py; .github/CONTRIBUTING.md says how"
        )
    return table[name]


def activation_module(architecture: Architecture, layer: int) -> nn.Module:
    """The module of a layer's activation, with this network's constants."""
    name = architecture.activation_of(layer)
    if name == "leaky_relu":
        return nn.LeakyReLU(float(architecture.negative_slope))
    module: nn.Module = row_of("activation", ACTIVATIONS, name)()
    return module


class Dropout(nn.Module):
    """h = a · mask in training, a in evaluation; the mask holds 0 and 1 / (1 − p).

    The mask is drawn from torch's generator, or given in `next_mask` for one pass; the last one used
    stays in `mask`, so that a second engine can take the very same.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.mask: Tensor | None = None
        self.next_mask: Tensor | None = None

    def forward(self, a: Tensor) -> Tensor:
        if not self.training:
            return a
        given, self.next_mask = self.next_mask, None
        if given is None:
            given = torch.empty_like(a, requires_grad=False).bernoulli_(1 - self.p).div_(1 - self.p)
        self.mask = given
        return a * given

    def extra_repr(self) -> str:
        return f"p={self.p}"


class MLP(nn.Module):
    """manual.MLP as an nn.Module; the same arguments and seed give the same initial weights.

    Hidden layers are Linear, normalization, activation, dropout. x (N, in) gives (N, out).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        output_activation: str = "identity",
        dropout: float = 0.0,
        normalization: str | None = None,
        negative_slope: float | str = NEGATIVE_SLOPE,
        initialization: str = "torch",
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.architecture = Architecture(
            tuple(sizes), activation, output_activation, dropout, normalization or "none", negative_slope
        )
        hidden, depth = self.architecture.sizes[1:-1], self.architecture.depth
        with torch.random.fork_rng(devices=[]):  # nn.Linear's own initialisation, which is not used
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.normalizations = nn.ModuleList(
            NORMALIZATIONS[normalization](size) for size in hidden if normalization not in (None, "none")
        )
        self.activations = nn.ModuleList(
            activation_module(self.architecture, layer) for layer in range(1, depth + 1)
        )
        self.dropouts = nn.ModuleList(Dropout(dropout) for _ in hidden if dropout > 0)
        self.to(dtype)
        generator = np.random.default_rng([seed, 0])
        numpy_dtype = np.float64 if dtype == torch.float64 else np.float32
        load_arrays(
            self,
            self.architecture.initial_parameters(generator, initialization, numpy_dtype),
        )

    def forward(self, x: Tensor) -> Tensor:
        a = x
        for i, linear in enumerate(self.layers):
            z = linear(a)
            if i < len(self.normalizations):
                z = self.normalizations[i](z)
            a = self.activations[i](z)
            if i < len(self.dropouts):
                a = self.dropouts[i](a)
        return a

    @property
    def counts(self) -> Counts:
        """Neurons, weights and parameters: 6, 20 and 26 for the lecture's 3-4-2 network."""
        return self.architecture.counts()


def state_arrays(model: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """A copy of every parameter and running statistic as a NumPy array, bit for bit."""
    return {
        name: value.detach().cpu().numpy().copy()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def load_arrays(model: nn.Module, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays into a module's parameters and buffers, bit for bit.

    Raises KeyError for an unknown name and ValueError for another shape or dtype.
    """
    state = model.state_dict()
    with torch.no_grad():
        for name, value in arrays.items():
            if name not in state:
                raise KeyError(f"no parameter {name!r}; there are {', '.join(state)}")
            source = torch.from_numpy(np.ascontiguousarray(value))
            if source.shape != state[name].shape or source.dtype != state[name].dtype:
                raise ValueError(
                    f"{name} is {tuple(state[name].shape)} {state[name].dtype}, "
                    f"the array {tuple(source.shape)} {source.dtype}"
                )
            state[name].copy_(source)


def to_manual(model: MLP) -> manual.MLP:
    """The NumPy network with the same weights and mode; float32 stays float32, bit for bit."""
    a, arrays = model.architecture, state_arrays(model)
    twin = manual.MLP(a.sizes, **a.options(), dtype=arrays["layers.0.weight"].dtype)
    for name, value in arrays.items():
        (twin.parameters if name in twin.parameters else twin.buffers)[name] = value
    twin.training = model.training
    return twin


def to_torch(model: manual.MLP) -> MLP:
    """The torch module with the same weights and mode, bit for bit."""
    a = model.architecture
    dtype = torch.float64 if model.dtype == np.float64 else torch.float32
    twin = MLP(a.sizes, **a.options(), dtype=dtype)
    load_arrays(twin, model.parameters | model.buffers)
    return twin.train(model.training)


def _hinge(output: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """max(0, 1 − y ŷ), which torch lacks; through relu, so that the derivative at y ŷ = 1 is 0."""
    terms = F.relu(1 - y * output)
    return terms if reduction == "none" else terms.mean() if reduction == "mean" else terms.sum()


def _half_squared_error(output: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """½ (y − ŷ)², the lecture's loss."""
    return F.mse_loss(output, y, reduction=reduction) / 2


# One row a loss, under the same name as in `manual`.
LOSSES: dict[str, Any] = {
    "half_squared_error": _half_squared_error,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth_l1": F.smooth_l1_loss,
    "hinge": _hinge,
    "multi_margin": F.multi_margin_loss,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "cross_entropy": F.cross_entropy,
    "huber": F.huber_loss,
}


def generators(device: torch.device) -> dict[str, Array]:
    """Where torch's generators stand from which masks are drawn, by `generator/` and the kind of device."""
    found = {"generator/cpu": torch.get_rng_state().numpy().copy()}
    if device.type == "cuda":
        found["generator/cuda"] = torch.cuda.get_rng_state(device).numpy().copy()
    return found


def set_generators(states: Mapping[str, Array], device: torch.device) -> None:
    """What `generators` gave, without `generator/`, written back."""
    torch.set_rng_state(torch.from_numpy(states["cpu"].copy()))
    if device.type == "cuda":
        torch.cuda.set_rng_state(torch.from_numpy(states["cuda"].copy()), device)


def loss_value(
    loss: str, output: Tensor, y: Tensor, reduction: str = "mean", weights: Tensor | None = None
) -> Tensor:
    """The loss (); with weights (N,) Σ wᵢ ℓᵢ / Σ wᵢ, where ℓᵢ is the mean over a sample's entries."""
    row = manual.LOSSES[loss]
    function = partial(
        row_of("loss", LOSSES, row.name), **{name: float(value) for name, value in row.options.items()}
    )
    if weights is None:
        value: Tensor = function(output, y, reduction=reduction)
        return value
    terms = function(output, y, reduction="none")
    weighted = terms * (weights if terms.ndim == 1 else weights[:, None])
    if reduction == "sum":
        return weighted.sum()
    return weighted.sum() / (weights.sum() * (terms.numel() // len(weights)))


def penalty(model: nn.Module, recipe: Recipe) -> Tensor:
    """λ₁ Σ|W| + ½ λ₂ Σ W² over the weights of the layers."""
    weights = [p for name, p in model.named_parameters() if is_weight(name)]
    total: Tensor = torch.zeros((), dtype=weights[0].dtype, device=weights[0].device)
    for weight in weights:
        if recipe.l1:
            total = total + recipe.l1 * weight.abs().sum()
        if recipe.l2:
            total = total + recipe.l2 / 2 * (weight * weight).sum()
    return total


# One row an optimizer, under the same name as in `manual`.
OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "lion": partial(ByFormula, manual.OPTIMIZERS["lion"]),  # torch has none
}
