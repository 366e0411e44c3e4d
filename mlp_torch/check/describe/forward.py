"""The author's network, samples in rows and weights (in, out): forward and true backward."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS, chain, moved
from mlp_torch.check.describe.losses import LOSSES, STEPS, fused


@dataclass(frozen=True)
class Part:
    """One piece of an author's array: which layer, what it is ("W", "b" or "slope"), and how it lies there.

    `fold` is None, "first" or "last" where weight and bias share an array; `layout` is the weight's.
    """

    name: str
    layer: int
    role: str
    layout: str = "in,out"
    fold: str | None = None


@dataclass(frozen=True)
class Affine:
    """Layer `index` (from 1): W (in, out), b (out,), (1,) for a scalar, or None; mask (N, out) or None."""

    index: int
    W: Array
    b: Array | None
    activation: str
    constants: Mapping[str, Any]
    mask: Array | None
    keep: float
    scaled: bool
    parts: tuple[Part, ...]

    @property
    def factor(self) -> Array | float:
        """What dropout multiplies the activation with."""
        if self.mask is None:
            return 1.0
        return self.mask if self.scaled else self.mask / self.keep


@dataclass(frozen=True)
class Penalties:
    """l2 and l1 coefficients of one part: the loss holds l2·Σθ² and l1·Σ|θ|."""

    l2: float = 0.0
    l1: float = 0.0

    def gradient(self, theta: Array, at_zero: Array | float = 0.0) -> Array:
        """2 l2 θ + l1 sign(θ), with the sign `at_zero` where θ = 0."""
        return 2 * self.l2 * theta + self.l1 * np.where(theta == 0, at_zero, np.sign(theta))

    def value(self, theta: Array) -> float:
        return float(self.l2 * (theta * theta).sum() + self.l1 * np.abs(theta).sum())


@dataclass
class Network:
    """Everything the diagnosis reads. x (N, in), y (N, K); `weight` (N, 1) multiplies each sample's terms.

    `z`, `f`, `a` hold each layer's pre-activation, activation and output after dropout; a[0] is x.
    `penalties` is keyed by (layer, role). `unit` is the rounding (ε) of the author's arithmetic. `sides`
    says which derivative is taken at a kink, from 0 (that from below) to 1 (from above) and NaN elsewhere: of
    layer number, like its z; of "loss", like its margin; of "l1 2 W", like the weight of layer 2. Torch's
    where nothing is said.
    """

    layers: list[Affine]
    x: Array
    y: Array
    loss: str
    reduction: str
    weight: Array
    sample_weight: Array | None
    penalties: Mapping[tuple[int, str], Penalties]
    choices: Mapping[str, Any]
    unit: float = float(np.finfo(np.float64).eps)
    sides: Mapping[int | str, Array] = field(default_factory=dict)
    z: list[Array] = field(default_factory=list)
    f: list[Array] = field(default_factory=list)
    a: list[Array] = field(default_factory=list)
    kept: dict[float, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.z, self.f, self.a = [self.x], [self.x], [self.x]
        for layer in self.layers:
            # z = a W + b, f = activation(z), a = f · mask
            z = self.a[-1] @ layer.W + (0.0 if layer.b is None else layer.b)
            if layer.index in self.sides:
                z = moved(layer.activation, z, self.sides[layer.index])
            f = FORMS[layer.activation].f(z, layer.constants)
            self.z.append(z)
            self.f.append(f)
            self.a.append(f * layer.factor)

    @property
    def output(self) -> Array:
        return self.a[-1]

    @property
    def samples(self) -> int:
        return len(self.x)

    def theta(self, part: Part) -> Array:
        """The parameter's value in canonical form."""
        layer = self.layers[part.layer - 1]
        if part.role == "W":
            return layer.W
        if part.role == "b":
            assert layer.b is not None
            return layer.b
        return np.atleast_1d(np.asarray(layer.constants["alpha"], dtype=float)).reshape(-1)

    def regulariser(self, part: Part) -> Array:
        """The penalty's gradient for a part, zero where there is none."""
        at_zero: Array | float = 0.0
        if (side := self.sides.get(f"l1 {part.layer} {part.role}")) is not None:
            at_zero = np.where(np.isnan(side), 0.0, 2 * side - 1)
        return self.penalties.get((part.layer, part.role), Penalties()).gradient(self.theta(part), at_zero)

    def loss_value(self, loss: str | None = None, weight: Array | None = None, penalty: bool = True) -> float:
        """The loss with its penalties, or another standard loss on the same forward pass."""
        with np.errstate(all="ignore"):
            terms = LOSSES[loss or self.loss].terms(self.output, self.y)
            total = float((terms * (self.weight if weight is None else weight)).sum())
        if penalty:
            for layer in self.layers:
                for part in layer.parts:
                    given = self.penalties.get((part.layer, part.role))
                    if given is not None:
                        total += given.value(self.theta(part))
        return total

    def loss_gradient(self) -> Array:
        """G = ∂L/∂ŷ (N, K)."""
        with np.errstate(all="ignore"):
            if "loss" not in self.sides:
                return self.weight * LOSSES[self.loss].derivative(self.output, self.y)
            steps, side = STEPS[self.loss], self.sides["loss"]
            active = np.where(np.isnan(side), steps.margin(self.output, self.y) > 0, side)
            return self.weight * steps.derivative(active, self.output, self.y)

    def top(self) -> Array:
        """dz of the last layer, from G through dropout and activation."""
        last = self.layers[-1]
        if last.mask is None:
            short = fused(self.loss, last.activation, self.output, self.y, self.z[-1])
            if short is not None:
                return self.weight * short
        with np.errstate(all="ignore"):
            da = self.loss_gradient() * last.factor
            return self._through(last, da)

    def down(self, number: int, upstream: Array) -> Array:
        """dz of layer number from the gradient at its output: dropout's mask, then f′."""
        layer = self.layers[number - 1]
        return self._through(layer, upstream * layer.factor)

    def _through(self, layer: Affine, da: Array) -> Array:
        """dz = da · f′(z); a share of the way between both sides of a kink is that much of their f′."""
        number, name = layer.index, layer.activation
        dz = chain(name, da, self.z[number], self.f[number], layer.constants)
        side = self.sides.get(number)
        if side is None or not (part := ~np.isnan(side) & ~np.isin(side, (0.0, 1.0))).any():
            return dz
        form = FORMS[name]
        assert form.from_z is not None
        below, above = (
            form.from_z(moved(name, self.z[number], np.where(part, end, np.nan)), layer.constants)
            for end in (0.0, 1.0)
        )
        return np.where(part, da * (below + (above - below) * side), dz)

    def deltas(self, absolute: bool = False) -> list[Array]:
        """dz of every layer, [0] unused; `absolute` propagates magnitudes, the scale of the rounding."""
        dz = [np.zeros(0)] * (len(self.layers) + 1)
        dz[-1] = self.top()
        if absolute:
            dz[-1] = np.abs(dz[-1])
        for number in range(len(self.layers) - 1, 0, -1):
            W = self.layers[number].W
            dz[number] = self.down(number, dz[number + 1] @ W.T)
            if absolute:
                layer = self.layers[number - 1]
                form = FORMS[layer.activation]
                da = (dz[number + 1] @ np.abs(W).T) * np.abs(layer.factor)
                if form.from_z is None:
                    s = self.f[number]
                    dz[number] = s * (da + (da * s).sum(axis=1, keepdims=True))
                else:
                    dz[number] = da * np.abs(form.from_z(self.z[number], layer.constants))
        return dz

    def leaf(self, part: Part, dz: Array, da: Array | None = None, a: Array | None = None) -> Array:
        """The data's gradient of one part from dz of its layer: aᵀdz, Σ dz, or prelu's Σ da z [z ≤ 0]."""
        number = part.layer
        if part.role == "W":
            return (self.a[number - 1] if a is None else a).T @ dz
        if part.role == "b":
            b = self.layers[number - 1].b
            total = dz.sum(axis=0)
            return total if b is not None and b.size == total.size else total.sum().reshape(1)
        assert da is not None
        terms = da * np.where(self.z[number] > 0, 0.0, self.z[number])
        theta = self.theta(part)
        return (
            terms.sum(axis=0) if theta.size == terms.shape[1] and theta.size > 1 else terms.sum().reshape(1)
        )

    def upstream(self, number: int, dz_above: Array | None) -> Array:
        """The gradient at layer number's activation, before f′ (after dropout's mask was multiplied in)."""
        da = self.loss_gradient() if dz_above is None else dz_above @ self.layers[number].W.T
        return da * self.layers[number - 1].factor

    def true(self) -> dict[Part, Array]:
        """The true gradient of every part, penalties included."""
        return self._gradients(absolute=False)

    def scales(self) -> dict[Part, Array]:
        """The same sums over magnitudes: what rounding is relative to."""
        return self._gradients(absolute=True)

    def _gradients(self, absolute: bool) -> dict[Part, Array]:
        dz = self.deltas(absolute)
        found: dict[Part, Array] = {}
        for layer in self.layers:
            number = layer.index
            above = None if number == len(self.layers) else dz[number + 1]
            for part in layer.parts:
                da = None
                if part.role == "slope":
                    da = self.upstream(number, above)
                value = self.leaf(
                    part,
                    dz[number],
                    np.abs(da) if absolute and da is not None else da,
                    np.abs(self.a[number - 1]) if absolute else None,
                )
                extra = self.regulariser(part)
                found[part] = np.abs(value) + np.abs(extra) if absolute else value + extra
        return found
