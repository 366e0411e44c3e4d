"""The derivative of a person's own NumPy function: torch.autograd, complex step or Richardson."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.tracing import TracedLoss, trace

Loss = Callable[[dict[str, Any]], Any]


def differentiate(
    loss: Loss, numeric: Loss, values: Mapping[str, Array], value: float
) -> tuple[dict[str, Array], str, float, TracedLoss | None]:
    """(∂loss/∂array by name, the method that worked, its relative accuracy, the forward pass if traced).

    `loss` maps arrays by name to a scalar and may be traced; `numeric` is the same and may be called again
    and again. `value` is what they give in NumPy, and a traced loss that differs from it is not trusted.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            traced = trace(loss, values, value)
            method = "torch.autograd through torch.compiler.wrap_numpy"
            return traced.gradient(), method, 1e-10, traced
        except Exception as error:  # whatever Dynamo or the author's code raises, the numbers remain
            reason = f"{type(error).__name__}"
        try:
            method = f"complex step (tracing failed: {reason})"
            return _complex_step(numeric, values), method, 1e-9, None
        except Exception:  # complex numbers are not for every author's code: differences of reals remain
            method = f"Richardson extrapolation (tracing failed: {reason})"
            return _richardson(numeric, values), method, 1e-6, None


def _complex_step(loss: Loss, values: Mapping[str, Array]) -> dict[str, Array]:
    """Im L(θ + ih)/h for h = 1e-30, where the loss is analytic: checked along a random direction."""
    generator = np.random.default_rng(0)
    directions = {name: generator.normal(size=v.shape) for name, v in values.items()}

    def along(step: Any) -> Any:
        return loss({name: v + step * directions[name] for name, v in values.items()})

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a complex number cast to a real one would lose the derivative
        slope = complex(along(1e-30j)).imag / 1e-30
        true = _derivative(lambda t: float(np.real(along(t))))
        if not abs(slope - true) <= 1e-6 * max(abs(true), 1e-9):
            raise ArithmeticError("the loss is not analytic in complex numbers")
        found = {}
        for name, v in values.items():
            gradient = np.zeros(v.shape)
            for index in np.ndindex(v.shape):
                moved = v.astype(complex)
                moved[index] += 1e-30j
                gradient[index] = complex(loss({**values, name: moved})).imag / 1e-30
            found[name] = gradient
    return found


def _richardson(loss: Loss, values: Mapping[str, Array]) -> dict[str, Array]:
    found = {}
    for name, v in values.items():
        gradient = np.zeros(v.shape)
        for index in np.ndindex(v.shape):

            def along(t: float, name: str = name, v: Array = v, index: tuple[int, ...] = index) -> float:
                moved = v.copy()
                moved[index] += t
                return float(loss({**values, name: moved}))

            gradient[index] = _derivative(along)
        found[name] = gradient
    return found


def _derivative(along: Callable[[float], float]) -> float:
    """dL/dt at 0 by scipy's extrapolated central differences."""
    from scipy.differentiate import derivative

    result = derivative(np.vectorize(along, otypes=[float]), 0.0, initial_step=1e-3, order=6, maxiter=6)
    return float(result.df)
