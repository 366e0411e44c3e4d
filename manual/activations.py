"""The activation functions f of the lecture, each with its derivative f′ beside it: one row a function.

z is the pre-activation (the lecture's a), a = f(z) the activation. An elementwise row gives f(z) and
f′(z) from z and a; the backward line is always the same, dz = da · f′(z). At a kink the derivative is
the one torch takes, named beside it. Source: the slide "Let's use a Sigmoid function". Further functions
are in `manual.catalogue.activations`, all of them by name in `manual.catalogue.ACTIVATIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array, indicator, named, number


@dataclass(frozen=True)
class Activation:
    """One row: f, and either f′ (elementwise) or the product with the Jacobian.

    `function(z, **options)` and `derivative(z, a, **options)` keep z's shape and dtype. `options`
    holds torch's default constants, as text where torch's documentation gives decimals. `slope` is
    the initial value of a learned parameter, or None. `kinks` are the points where f′ jumps.
    """

    name: str
    function: Callable[..., Array]
    derivative: Callable[..., Array] | None = None
    jacobian_product: Callable[..., Array] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    slope: float | None = None
    kinks: tuple[int, ...] = ()

    def forward(self, z: Array, *slope: Array) -> Array:
        """a = f(z); `slope` is the learned parameter of prelu, of shape (1,)."""
        return self.function(z, *slope, **self.options)

    def backward(self, da: Array, z: Array, a: Array, *slope: Array) -> Array:
        """dz from da = ∂L/∂a, where the forward line was a = f(z)."""
        if self.jacobian_product is not None:
            return self.jacobian_product(da, z, a)
        assert self.derivative is not None
        return da * self.derivative(z, a, *slope, **self.options)


# a = z
def identity(z: Array) -> Array:
    return z


def d_identity(z: Array, a: Array) -> Array:
    return np.ones_like(z)


# a = 1 / (1 + e^−z), written with e^−|z| so that nothing overflows
@named
def sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1) / (1 + e)


# ds(z)/dz = s(z) (1 − s(z))
def d_sigmoid(z: Array, a: Array) -> Array:
    return a * (1 - a)


# a = (e^z − e^−z) / (e^z + e^−z)
def tanh(z: Array) -> Array:
    return np.tanh(z)


def d_tanh(z: Array, a: Array) -> Array:
    return 1 - a * a


# a = max(0, z); f′(0) = 0
def relu(z: Array) -> Array:
    return np.maximum(z, number(0, z))


def d_relu(z: Array, a: Array) -> Array:
    return indicator(~(z <= 0), z)  # not z > 0: torch passes the gradient where z is NaN


ROWS: tuple[Activation, ...] = (
    Activation("identity", identity, d_identity),
    Activation("sigmoid", sigmoid, d_sigmoid),
    Activation("tanh", tanh, d_tanh),
    Activation("relu", relu, d_relu, kinks=(0,)),
)
