"""The derivative of a person's own NumPy function: torch.autograd, complex step or Richardson."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.numbers import Array

Loss = Callable[[dict[str, Any]], Any]


def differentiate(
    loss: Loss, numeric: Loss, values: Mapping[str, Array], value: float
) -> tuple[dict[str, Array], str, float]:
    """(∂loss/∂array by name, the method that worked, its relative accuracy).

    `loss` maps arrays by name to a scalar and may be traced; `numeric` is the same and may be called again
    and again. `value` is what they give in NumPy, and a traced loss that differs from it is not trusted.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _traced(loss, values, value), "torch.autograd through torch.compiler.wrap_numpy", 1e-10
        except Exception as error:  # whatever Dynamo or the author's code raises, the numbers remain
            reason = f"{type(error).__name__}"
        try:
            return _complex_step(numeric, values), f"complex step (tracing failed: {reason})", 1e-9
        except Exception:  # complex numbers are not for every author's code: differences of reals remain
            return _richardson(numeric, values), f"Richardson extrapolation (tracing failed: {reason})", 1e-6


def _traced(loss: Loss, values: Mapping[str, Array], value: float) -> dict[str, Array]:
    import torch

    names = list(values)

    def scalar(*arrays: Any) -> Any:
        return loss(dict(zip(names, arrays, strict=True)))

    torch._dynamo.reset()
    with torch.enable_grad():
        compiler: Any = torch.compiler  # untyped there
        compiled: Any = torch.compile(compiler.wrap_numpy(scalar), fullgraph=True, backend="eager")
        tensors = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values.values()]
        total = compiled(*tensors)
        if abs(float(total.detach()) - value) > 1e-9 * max(abs(value), 1e-12):
            raise ArithmeticError("the traced loss differs")
        found = torch.autograd.grad(total, tensors, allow_unused=True)
    return {
        name: np.zeros_like(v) if g is None else g.numpy().copy()
        for (name, v), g in zip(values.items(), found, strict=True)
    }


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
