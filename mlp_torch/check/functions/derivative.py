"""The derivative of a person's own NumPy function: torch.autograd, complex step or Richardson."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.tracing import Read, TracedLoss, trace

Loss = Callable[[dict[str, Any]], Any]
EXACT = 1e-12  # what autograd and complex step leave, relative to the array


@dataclass(frozen=True)
class Derivative:
    """∂loss/∂array by name, how it was found, and how far from the true one it may lie.

    `accuracy` is relative to the array's norm, `error` an absolute norm by name; `straddled` are the entries
    whose differences lie across a kink, by name where there are any.
    """

    gradient: Mapping[str, Array]
    method: str
    accuracy: float
    error: Mapping[str, float] = field(default_factory=dict)
    traced: TracedLoss | None = None
    straddled: Mapping[str, Array] = field(default_factory=dict)


def differentiate(
    loss: Loss, numeric: Loss, values: Mapping[str, Array], value: float, read: Read | None = None
) -> Derivative:
    """The derivative at `values` in float64, where the loss is `value`.

    `loss` maps arrays by name to what `read` takes (a scalar without it) and is traced; `numeric` maps them
    to the scalar and may be called again and again. A trace whose loss is another, or whose slope along a
    random direction is, is not trusted.
    """
    dtypes = {n: v.dtype for n, v in values.items()}
    values = {n: v.astype(np.float64) for n, v in values.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            traced = trace(loss, values, value, read, dtypes)
            gradient = traced.gradient()
            checked = traced.sites or traced.rounded  # neither a kink nor a step has a slope
            if not checked and not _agrees(numeric, values, gradient, value, traced):
                raise ArithmeticError("the traced slope differs")
            return Derivative(gradient, "autograd of your own forward pass", EXACT, {}, traced)
        except (Exception, SystemExit) as error:  # whatever the author's code raises, the numbers remain
            reason = f"tracing failed: {type(error).__name__}"
        try:
            return Derivative(_complex_step(numeric, values), f"complex step ({reason})", EXACT)
        except (
            Exception,
            SystemExit,
        ):  # complex numbers are not for every author's code: differences of reals remain
            gradient, error_of, across = _richardson(numeric, values, value)
            method = f"Richardson extrapolation ({reason})"
            return Derivative(gradient, method, 1e-7, error_of, None, across)


def _agrees(
    loss: Loss, values: Mapping[str, Array], gradient: Mapping[str, Array], value: float, traced: TracedLoss
) -> bool:
    """The same of steps that cross no kink: smaller and smaller ones, where one is near."""
    unit = traced.run.coarsest
    if _slopes(loss, values, gradient, value, unit):
        return True
    steps = [h for h in (1e-8, 1e-10, 1e-12) if traced.run.margin < 1e-3 and h > 10 * unit]
    if any(_slopes(loss, values, gradient, value, unit, h) for h in steps):
        return True
    return traced.run.margin < 1e-9 and not traced.run.leaks  # no difference resolves that


def _slopes(
    loss: Loss, values: Mapping[str, Array], gradient: Mapping[str, Array], value: float, unit: float,
    step: float = 0.0,
) -> bool:  # fmt: skip
    """Whether central differences along a random direction agree with the gradient, as far as they reach."""
    generator = np.random.default_rng(1)
    size = {n: np.abs(v) + float(np.sqrt(np.mean(v * v))) if v.size else v for n, v in values.items()}
    way = {
        n: np.where(generator.random(v.shape) < 0.5, -1.0, 1.0) * (size[n] + 1e-3) for n, v in values.items()
    }
    slope = sum(float((gradient[n] * w).sum()) for n, w in way.items())
    reach = sum(float(np.abs(gradient[n] * w).sum()) for n, w in way.items())

    def along(h: float) -> float:
        ends = [float(np.real(loss({n: v + s * h * way[n] for n, v in values.items()}))) for s in (1, -1)]
        return (ends[0] - ends[1]) / (2 * h)

    step = step or max(1e-6, 10 * np.sqrt(unit))
    near, far = along(step), along(2 * step)
    if not np.isfinite([near, far, slope]).all():
        return bool(np.isfinite(slope))
    allowed = 10 * abs(near - far) + 1e-4 * reach + 100 * unit / step * abs(value) + 1e-12
    return abs(slope - near) <= allowed


def _complex_step(loss: Loss, values: Mapping[str, Array]) -> dict[str, Array]:
    """Im L(θ + ih)/h for h = 1e-30, where the loss is analytic: checked along a random direction."""
    generator = np.random.default_rng(0)
    directions = {name: generator.normal(size=v.shape) for name, v in values.items()}

    def along(step: Any) -> Any:
        return loss({name: v + step * directions[name] for name, v in values.items()})

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a complex number cast to a real one would lose the derivative
        slope = complex(along(1e-30j)).imag / 1e-30
        true, error = _derivative(lambda t: float(np.real(along(t))))
        if not abs(slope - true) <= 1e-6 * max(abs(true), 1e-9) + 10 * error:
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


def _richardson(
    loss: Loss, values: Mapping[str, Array], value: float
) -> tuple[dict[str, Array], dict[str, float], dict[str, Array]]:
    """(gradient, error by name, entries across a kink).

    The error is the extrapolation's own estimate, and the loss's rounding over the step.
    """
    found, errors = {}, {}
    across: dict[str, Array] = {}
    largest = [abs(value)]  # a loss of 0 has the rounding of those beside it
    for name, v in values.items():
        gradient, error = np.zeros(v.shape), np.zeros(v.shape)
        for index in np.ndindex(v.shape):

            def along(t: float, name: str = name, v: Array = v, index: tuple[int, ...] = index) -> float:
                moved = v.copy()
                moved[index] += t
                found = float(loss({**values, name: moved}))
                largest[0] = max(largest[0], abs(found)) if np.isfinite(found) else largest[0]
                return found

            gradient[index], error[index] = _derivative(along)
            if _straddles(along, value, 2.0**-52 * largest[0]):
                across.setdefault(name, np.zeros(v.shape, dtype=bool))[index] = True
        found[name] = gradient
        rounding = 2.0**-52 * largest[0] / 1e-5 * np.sqrt(v.size)
        errors[name] = float(10 * np.linalg.norm(np.nan_to_num(error)) + rounding)
    return found, errors, across


STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # of the differences, and one below


def _straddles(along: Callable[[float], float], value: float, rounding: float) -> bool:
    """Whether a kink lies within the differences' steps.

    The one-sided slopes part by h·L″ where the loss is smooth, a tenth for a tenth of the step; by the kink's
    jump, for whatever step, where it is nearer than that.
    """
    ends = [(along(h), along(-h)) for h in STEPS]
    parted = [abs(a - 2 * value + b) / h for (a, b), h in zip(ends, STEPS, strict=True)]
    seen = [8 * rounding / h for h in STEPS]  # less is rounding
    slopes = [max(abs(a - value), abs(b - value)) / h for (a, b), h in zip(ends, STEPS, strict=True)]
    if not np.isfinite(parted).all():
        return False
    inside = any(  # nearer than the smaller step, or between the two
        (p > 0.3 * q and p > rounds + 1e-6 * slope) or (q > 30 * (p + rounds) and q > 1e-4 * slope)
        for (q, _, _), (p, rounds, slope) in pairwise(zip(parted, seen, slopes, strict=True))
    )
    return bool(inside)


def _derivative(along: Callable[[float], float]) -> tuple[float, float]:
    """dL/dt at 0 by scipy's extrapolated central differences, and their estimate of the error."""
    from scipy.differentiate import derivative

    result = derivative(np.vectorize(along, otypes=[float]), 0.0, initial_step=1e-3, order=6, maxiter=6)
    return float(result.df), float(result.error)
